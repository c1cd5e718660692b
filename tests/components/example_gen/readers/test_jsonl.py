import gzip
import itertools
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen import inputs
from components.example_gen.files import FileSplit, InputFile, find_files, split_files
from components.example_gen.readers import columns_of, jsonl, read_batches
from schema.settings import InputError

SCHEMA = {"id": pl.String(), "n": pl.String()}


def _file(path, data: bytes) -> InputFile:
    path.write_bytes(data)
    (file,) = find_files((str(path),), "events")
    return file


def _read(file: InputFile, columns: tuple[str, ...] = ("id", "n")) -> tuple[list, list]:
    batches = [batch for split in split_files([file]) for batch in read_batches(split, columns)]
    return [row for batch in batches for row in batch.frame.rows()], [r for batch in batches for r in batch.rejects]


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".jsonl.gz"])
def test_values_come_as_text_and_missing_ones_as_null(tmp_path, suffix: str) -> None:
    lines = b'{"id":"a","n":3,"more":[1]}\r\n\n{"n":null}\n{"id":7,"n":true}'
    data = gzip.compress(lines) if suffix.endswith("gz") else lines
    rows, rejects = _read(_file(tmp_path / f"rows{suffix}", data))
    assert rows == [("a", "3"), (None, None), ("7", "true")]
    assert rejects == []


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path) -> None:
    assert _read(_file(tmp_path / "rows.jsonl", b'\xef\xbb\xbf{"id":"a"}\n'))[0] == [("a", None)]


def test_lines_that_are_no_json_object_are_rejected_alone(tmp_path) -> None:
    bad = [b'{"id":"x\xff"}', b"nope", b'{"id":"c"', b"[1]", b'"text"', b"3", b'{"id":"\\ud800"}']
    good = [b'{"id":"a","n":1}', b'{"id":"b","n":"2"}']
    rows, rejects = _read(_file(tmp_path / "rows.jsonl", b"\n".join([good[0], *bad, good[1]])))
    assert rows == [("a", "1"), ("b", "2")]
    assert [reason for reason, _ in rejects] == ["not_utf8"] + ["not_json"] * 6
    assert rejects[0][1] == '{"id":"x\\xff"}'


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\\ud83d", r"\ud83d"),
        (r"x\ud83d", None),
        (r"\uDE00", None),
        (r"\ud83d\\ude00", None),
    ],
)
def test_half_of_a_character_is_rejected_alone(tmp_path, text: str, read: str | None) -> None:
    rows, rejects = _read(_file(tmp_path / "rows.jsonl", f'{{"id":"a"}}\n{{"id":"{text}"}}\n'.encode()))
    assert rows == [("a", None), *([(read, None)] if read else [])]
    assert [reason for reason, _ in rejects] == ([] if read else ["not_json"])


def test_nan_and_infinity_are_null(tmp_path) -> None:
    lines = b'{"id":"NaN, -Infinity","n":NaN}\nnope\n{"id":"a","n":-Infinity}\n{"id":Infinity,"n":1}\n'
    file = _file(tmp_path / "rows.jsonl", lines)
    assert columns_of(file) == ("id", "n")
    assert _read(file) == ([("NaN, -Infinity", None), ("a", None), (None, "1")], [("not_json", "nope")])


def test_documents_of_search_hits_are_rows(tmp_path) -> None:
    lines = [
        {"_index": "p", "_id": "7", "_source": {"n": ["x", 'é\n"'], "o": {"p": 5}}},
        {"id": "plain", "n": 2, "_source": "web"},
        {"_id": "8", "_source": {"id": "own", "n": None}, "n": 3},
    ]
    file = _file(tmp_path / "rows.jsonl", "\n".join(map(json.dumps, lines)).encode())
    assert columns_of(file) == ("n", "o", "_id", "id", "_source")
    rows, rejects = _read(file, ("id", "n", "_id", "o.p"))
    assert rows == [(None, '["x", "é\\n\\""]', "7", "5"), ("plain", "2", None, None), ("own", "3", "8", None)]
    assert rejects == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'[{"id":1}]', "one JSON array"),
        (b'{\n"id":1\n}', "JSON over many lines"),
        ('{"id":1}\n'.encode("utf-16"), "is UTF-16"),
    ],
)
def test_what_is_no_json_lines_of_utf8_is_told(tmp_path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"rows\.json.* {message}"):
        columns_of(_file(tmp_path / "rows.json.gz", gzip.compress(data)))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.text(max_size=8), st.integers(-5, 5)), max_size=30),
    cuts=st.lists(st.integers(0, 400), max_size=4),
    size=st.integers(1, 200),
    final_newline=st.booleans(),
)
def test_splits_and_batches_have_every_line_once(tmp_path_factory, rows, cuts, size, final_newline) -> None:
    lines = [json.dumps({"id": text, "n": n}, ensure_ascii=False).encode("utf-8", "ignore") for text, n in rows]
    data = b"\n".join(lines) + (b"\n" if final_newline else b"")
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_bytes(data)
    file = InputFile(str(path), "jsonl", gzipped=False, size=len(data))
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    batches = [
        batch
        for index, (start, end) in enumerate(itertools.pairwise(edges))
        for batch in jsonl.line_batches(FileSplit(file, start, end, index), size)
    ]
    assert b"".join(batches) == data
    assert all(batch.endswith(b"\n") for batch in batches[:-1])
    shares = [list(jsonl.line_batches(FileSplit(file, 0, len(data), 0, part, parts=3), size)) for part in range(3)]
    in_turn = itertools.chain(*itertools.zip_longest(*shares, fillvalue=b""))
    assert b"".join(in_turn) == data


def test_a_truncated_gzip_file_is_an_error_that_names_it(tmp_path) -> None:
    data = gzip.compress(b"".join(b'{"id":"%d"}\n' % n for n in range(10_000)))
    file = _file(tmp_path / "cut.jsonl.gz", data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.jsonl\.gz cannot be read to its end"):
        _read(file)


def test_the_columns_are_the_keys_of_the_first_rows(tmp_path) -> None:
    file = _file(tmp_path / "rows.jsonl", b'{"id":1}\nnope\n{"n":2,"id":3}\n')
    assert columns_of(file) == ("id", "n")


def test_lines_in_memory_name_their_columns() -> None:
    lines = inputs.Lines(b'{"event_id": "a", "item_id": 1}\n{"query": "x", "event_id": "b"}\n', "a stream")
    assert inputs.columns_of(lines, 1000) == ("event_id", "item_id", "query")
