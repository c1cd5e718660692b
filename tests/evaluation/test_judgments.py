import gzip
import json

import pytest

from evaluation.judgments import Judgment, read_judgments
from schema.settings import InputError


@pytest.fixture
def write(tmp_path):
    def write(text, name="judgments.jsonl"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


ROWS = [["red shoes", "a", "E"], ["red shoes", "b", "S"], ["lamp", "a", "I"], ["lamp", "c", "C"], ["lamp", "d", "E"]]
EXPECTED = {
    "red shoes": (Judgment("a", 1.0, True), Judgment("b", 0.1, False)),
    "lamp": (Judgment("a", 0.0, False), Judgment("c", 0.01, False), Judgment("d", 1.0, True)),
}


def test_esci_rows_and_objects_give_the_same(write):
    rows = write("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    objects = write(
        "\n".join(json.dumps(dict(zip(("query", "item_id", "grade"), row, strict=True))) for row in ROWS), "o.jsonl"
    )
    names = {"E": "exact", "S": "Substitute", "C": "c", "I": "irrelevant"}
    original = write(
        "\n".join(json.dumps({"query": q, "product_id": i, "esci_label": names[g]}) for q, i, g in ROWS), "n.jsonl"
    )
    for path in (rows, objects, original):
        assert read_judgments(path).by_query == EXPECTED


def test_gzip_is_read(tmp_path):
    path = tmp_path / "j.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in ROWS).encode()))
    assert read_judgments(path).by_query == EXPECTED


def test_trec_qrels_take_their_query_texts_from_the_queries_file(write):
    qrels = write("q1 0 a 2\nq1 0 b 0\nq2 Q0 c -2\nq2 0 a 1\n", "qrels.txt")
    queries = write("q1\tred shoes\nq2\tlamp\nq3\tnot judged\n", "queries.tsv")
    judged = read_judgments(qrels, queries=queries)
    assert judged.right_name == "items judged relevant"
    assert judged.by_query == {
        "red shoes": (Judgment("a", 2.0, True), Judgment("b", 0.0, False)),
        "lamp": (Judgment("c", 0.0, False), Judgment("a", 1.0, True)),
    }


def test_a_judgment_that_is_repeated_as_it_was_counts_once(write):
    judged = read_judgments(write('["q", "a", "E"]\n["q", "a", "E"]\n'))
    assert judged.by_query == {"q": (Judgment("a", 1.0, True),)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is empty; give one judgment per line"),
        ("\n \n", r"is empty"),
        ("hello\n", r"the first line is neither JSON \(ESCI\) nor four columns"),
        ('["q", "a", "E"]\n{broken\n', r"line 2 is not JSON"),
        ('["q", "a"]\n', r"line 1 is not \[query, item_id, grade\]"),
        ('{"query": "q", "item_id": "a"}\n', r"line 1 is not \[query, item_id, grade\]"),
        ('["q", 3, "E"]\n', r"line 1 is not \[query, item_id, grade\]"),
        ('["", "a", "E"]\n', r"line 1 is not \[query, item_id, grade\]"),
        ('["q", "a", "X"]\n', r"line 1: the grade is 'X'; grades are E, S, C and I"),
        ('["q", "a", "E"]\n\n["q", "a", "S"]\n', r"line 3: item 'a' was already judged otherwise for 'q'"),
        ('["q", "a", "S"]\n', r"no query has any of the E items"),
        (b'["q", "\xff", "E"]\n', r"is not UTF-8 text"),
    ],
)
def test_bad_esci_is_named_with_its_line(write, text, message):
    with pytest.raises(InputError, match=message):
        read_judgments(write(text))


@pytest.mark.parametrize(
    ("qrels", "queries", "message"),
    [
        ("q1 0 a 1\n", None, r"name queries by id only; give their texts with --queries"),
        ("q1 0 a 1\nq1 0 b high\n", "q1\tx\n", r"line 2 is not `query-id 0 item-id relevance`"),
        ("q1 0 a 1\nq9 0 b 1\n", "q1\tx\n", r"line 2: the query id 'q9' is not in the queries file"),
        ("q1 0 a 1\n", "q1 x\n", r"line 1 is not `query-id <tab> query`"),
        ("q1 0 a 1\n", "q1\tx\nq1\ty\n", r"line 2: the query id 'q1' stands for another query"),
        ("q1 0 a 0\n", "q1\tx\n", r"no query has any of the items judged relevant"),
    ],
)
def test_bad_qrels_are_named_with_their_line(write, qrels, queries, message):
    path = write(qrels, "qrels.txt")
    with pytest.raises(InputError, match=message):
        read_judgments(path, queries=write(queries, "queries.tsv") if queries is not None else None)


def test_a_missing_file_a_broken_archive_and_needless_queries_are_named(write, tmp_path):
    with pytest.raises(InputError, match="there is no judgments file"):
        read_judgments(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="is no whole gzip file"):
        read_judgments(write("not gzip", "x.jsonl.gz"))
    with pytest.raises(InputError, match="leave --queries out"):
        read_judgments(write('["q", "a", "E"]'), queries=tmp_path / "q.tsv")


def test_a_form_given_by_hand_is_taken_at_its_word(write):
    with pytest.raises(InputError, match="line 1 is not JSON"):
        read_judgments(write("q1 0 a 1\n"), form="esci")
