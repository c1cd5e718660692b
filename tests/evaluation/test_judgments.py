import gzip
import json
from pathlib import Path

import pytest

from evaluation.judgments import Judgment, check_overlap, read_judgments
from schema.settings import InputError

CASE = Path(__file__).parents[2] / ".." / "shared" / "cases" / "evaluate_bom"


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


@pytest.mark.parametrize("name", ["j.jsonl.gz", "j.jsonl"])
def test_gzip_is_read(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in ROWS).encode()))
    assert read_judgments(path).by_query == EXPECTED


def test_a_byte_order_mark_is_no_part_of_any_file(write):
    qrels = write("\ufeffq1 0 a 2\nq2 0 c 1\n", "qrels.txt")
    queries = write("\ufeffq1\tred shoes\nq2\tlamp\n", "queries.tsv")
    assert list(read_judgments(qrels, queries=queries).by_query) == ["red shoes", "lamp"]
    assert read_judgments(write("\ufeffquery,docid,rating\nred shoes,a,2\n", "case.csv")).grades == {"2": 1}
    packed = write(gzip.compress(b"\xef\xbb\xbf" + json.dumps(ROWS[0]).encode()), "j.jsonl.gz")
    assert read_judgments(packed).grades == {"E": 1}


def test_the_case_of_files_with_a_byte_order_mark_is_read():
    if not CASE.is_dir():
        pytest.skip("the case is not at ../shared/cases/evaluate_bom")
    judged = read_judgments(CASE / "q3.trec", queries=CASE / "qs3.tsv")
    assert sum(judged.grades.values()) == 2
    assert list(read_judgments(CASE / "esci_bom.jsonl").by_query) == ["red shoes"]


def test_trec_qrels_take_query_texts_from_the_queries_file(write):
    qrels = write("q1 0 a 2\nq1 0 b 0\nq2 Q0 c -2\nq2 0 a 1\n", "qrels.txt")
    queries = write("q1\tred shoes\nq2\tlamp\nq3\tnot judged\n", "queries.tsv")
    judged = read_judgments(qrels, queries=queries)
    assert judged.right_name == "items of grade 1 or more"
    assert judged.grades == {"2": 1, "1": 1, "0": 1, "-2": 1}
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
        ("hello\n", r"the first line is neither JSON \(ESCI\) nor four columns .* nor query,docid,rating"),
        ('["q", "a", "E"]\n{broken\n', r"line 2 is not JSON"),
        ('["q", "a"]\n', r"line 1 is not \[query, item_id, grade\]"),
        ('{"query": "q", "item_id": "a"}\n', r"line 1 is not \[query, item_id, grade\]"),
        ('["q", true, "E"]\n', r"line 1 is not \[query, item_id, grade\]"),
        ('["", "a", "E"]\n', r"line 1 is not \[query, item_id, grade\]"),
        ('["q", "a", "X"]\n', r"line 1: the grade is 'X'; grades are E, S, C and I"),
        ('["q", "a", "E"]\n\n["q", "a", "S"]\n', r"line 3: item 'a' was already judged otherwise for 'q'"),
        ('["q", "a", "S"]\n', r"no query has any of the E items .* the file has the grades S. --relevant-from says"),
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
        ("q1 0 a 0\n", "q1\tx\n", r"no query has any of the items of grade 1 or more"),
    ],
)
def test_bad_qrels_are_named_with_their_line(write, qrels, queries, message):
    path = write(qrels, "qrels.txt")
    with pytest.raises(InputError, match=message):
        read_judgments(path, queries=write(queries, "queries.tsv") if queries is not None else None)


def test_missing_broken_and_needless_files_are_named(write, tmp_path):
    with pytest.raises(InputError, match="there is no judgments file"):
        read_judgments(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="is no whole gzip file"):
        read_judgments(write(gzip.compress(b"cut")[:-1], "x.jsonl.gz"))
    with pytest.raises(InputError, match="is UTF-16 by its first bytes"):
        read_judgments(write('["q", "i1", "E"]'.encode("utf-16")))
    with pytest.raises(InputError, match="leave --queries out"):
        read_judgments(write('["q", "a", "E"]'), queries=tmp_path / "q.tsv")


def test_a_form_given_by_hand_is_taken_at_its_word(write):
    with pytest.raises(InputError, match="line 1 is not JSON"):
        read_judgments(write("q1 0 a 1\n"), form="esci")


QUEPID = 'query,docid,rating\nred shoes,a,3\nred shoes,b,1\n"lamp, red",a,0\n -5 degrees,c,10\nno judge yet\nlamp,d,\n'


def test_quepids_ratings_are_read_without_the_unrated_rows(write):
    judged = read_judgments(write(QUEPID, "case.csv"))
    assert judged.by_query == {
        "red shoes": (Judgment("a", 3.0, True), Judgment("b", 1.0, True)),
        "lamp, red": (Judgment("a", 0.0, False),),
        "-5 degrees": (Judgment("c", 10.0, True),),
    }
    assert (judged.right_name, judged.grades) == ("items rated 1 or more", {"10": 1, "3": 1, "1": 1, "0": 1})


def test_of_quepids_book_the_mean_of_the_raters_counts(write):
    text = "query,docid,Ann,Ben B.\nq,a,3,2\nq,b,,1\nq,c,,\n"
    judged = read_judgments(write(text, "book.csv"), relevant_from="2")
    assert judged.by_query == {"q": (Judgment("a", 2.5, True), Judgment("b", 1.0, False))}
    assert judged.right_name == "items rated 2 or more"


@pytest.mark.parametrize(
    ("text", "name", "relevant_from", "right", "right_name"),
    [
        ('["q","a","E"]\n["q","b","S"]\n["q","c","C"]\n', "j", None, "a", "E items"),
        ('["q","a","E"]\n["q","b","S"]\n["q","c","C"]\n', "j", "s", "ab", "E and S items"),
        ('["q","a","E"]\n["q","b","S"]\n["q","c","C"]\n', "j", "complement", "abc", "E, S and C items"),
        ("query,docid,rating\nq,a,10\nq,b,6\nq,c,5\n", "c.csv", "6", "ab", "items rated 6 or more"),
        ("query,docid,rating\nq,a,1\nq,b,0.5\n", "c.csv", "0.5", "ab", "items rated 0.5 or more"),
    ],
)
def test_relevant_from_says_what_is_right(write, text, name, relevant_from, right, right_name):
    judged = read_judgments(write(text, name), relevant_from=relevant_from)
    assert "".join(one.item_id for one in judged.by_query["q"] if one.right) == right
    assert judged.right_name == right_name


@pytest.mark.parametrize(
    ("text", "relevant_from", "message"),
    [
        ("query,docid\nq,a\n", None, "has no column rating, nor one of a rater; it has query, docid"),
        ("query,docid,rating\nq,a,good\n", None, "line 2: the rating is 'good'; give a number"),
        ("query,docid,rating\nq,a,nan\n", None, "line 2: the rating is 'nan'"),
        ("query,docid,rating\n,a,1\n", None, "line 2: item 'a' is rated for no query"),
        (f"query,docid,rating\nq,{'a' * 200_000},1\n", None, r"line 2 is not CSV \(field larger"),
        ("query,docid,rating\nq,a,1\nq,a,2\n", None, "line 3: item 'a' was already judged otherwise"),
        ("query,docid,rating\nq,a,\nq2\n", None, "no query has any of the items rated 1 or more .* grades none"),
        ("query,docid,rating\nq,a,3\n", "good", "--relevant-from is 'good', but the grades are numbers"),
        ("query,docid,rating\nq,a,3\n", "0", "--relevant-from is '0'.*above 0"),
        ('["q","a","E"]\n', "2", "--relevant-from is '2', but the grades are ESCI's; give E, S or C"),
        ('["q","a","E"]\n', "I", "give E, S or C"),
    ],
)
def test_bad_ratings_and_thresholds_are_named(write, text, relevant_from, message):
    with pytest.raises(InputError, match=message):
        read_judgments(write(text, "x"), relevant_from=relevant_from)


def test_a_form_given_by_hand_names_the_columns_a_csv_lacks(write):
    with pytest.raises(InputError, match=r"has no column docid; its first line is query, item, rating"):
        read_judgments(write("query,item,rating\nq,a,1\n"), form="quepid")
    with pytest.raises(InputError, match="Quepid's ratings, which have the query texts; leave --queries out"):
        read_judgments(write(QUEPID), queries=write("1\tq\n", "q.tsv"))


def test_a_byte_order_mark_is_no_part_of_the_text(write):
    mark = b"\xef\xbb\xbf"
    qrels, queries = write(mark + b"1 0 a 1\n", "q.trec"), write(mark + b"1\tred shoes\n", "qs.tsv")
    assert read_judgments(qrels, queries=queries).by_query == {"red shoes": (Judgment("a", 1.0, True),)}
    for text in (b'["red shoes", "a", "E"]\n', b"query,docid,rating\nred shoes,a,1\n"):
        assert read_judgments(write(mark + text)).by_query == {"red shoes": (Judgment("a", 1.0, True),)}


def test_the_overlap_counts_right_items_outside_of_the_catalog(write):
    judged = read_judgments(write('["q","a","E"]\n["q","b","E"]\n["q","c","S"]\n'))
    assert check_overlap(judged, ["a", "c"]) == 1
    with pytest.raises(InputError, match=r"none of the judged items is in the catalog: 'a' is not, one of 2 E items"):
        check_overlap(judged, ["c"])


def test_item_ids_are_read_as_ingestion_reads_them(write):
    lines = [
        '["q", 12, "E"]',
        '["q", 22.0, "S"]',
        '["q", "007", "I"]',
        '{"query": "q", "item_id": " 5.0 ", "grade": "E"}',
    ]
    read = read_judgments(write("\n".join(lines)))
    assert [one.item_id for one in read.by_query["q"]] == ["12", "22", "007", "5"]
    with pytest.raises(InputError, match="line 1: there is no item id"):
        read_judgments(write('["q", "NULL", "E"]'))


@pytest.mark.parametrize("line", ['["\\ud83d", "i1", "E"]', "[" * 100_000, '["q", "i1", NaN]'])
def test_what_no_json_has_is_told_with_its_line(write, line: str):
    with pytest.raises(InputError, match="line 1 is not JSON"):
        read_judgments(write(line))
