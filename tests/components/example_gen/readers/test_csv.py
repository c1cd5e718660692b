import gzip
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen.files import InputFile, find_files, split_files
from components.example_gen.readers import columns_of, read_batches
from components.example_gen.readers.csv import RepairedStream, unmarked, without_marked
from schema.settings import InputError


def _file(path, data: bytes) -> InputFile:
    path.write_bytes(data)
    (file,) = find_files((str(path),), "events")
    return file


def _read(file: InputFile, columns: tuple[str, ...] = ("id", "query")) -> tuple[list, list]:
    batches = [batch for split in split_files([file]) for batch in read_batches(split, columns)]
    return [row for batch in batches for row in batch.frame.rows()], [r for batch in batches for r in batch.rejects]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_quotes_line_ends_and_empty_values_are_understood(tmp_path, suffix: str) -> None:
    text = 'query,other,id\n"red, ""big""\nshoes",1,a\n,2,b\n鞋,3,NULL\n'.encode()
    data = gzip.compress(text) if suffix.endswith("gz") else text
    rows, rejects = _read(_file(tmp_path / f"rows{suffix}", data))
    assert rows == [("a", 'red, "big"\nshoes'), ("b", None), ("NULL", "鞋")]
    assert rejects == []


def test_a_column_that_the_file_lacks_is_null(tmp_path) -> None:
    assert _read(_file(tmp_path / "rows.csv", b"id\na\n"))[0] == [("a", None)]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path) -> None:
    file = _file(tmp_path / "rows.csv", b"\xef\xbb\xbfid,query\na,b\n")
    assert columns_of(file) == ("id", "query")
    assert _read(file)[0] == [("a", "b")]


def test_unnamed_columns_and_spaces_around_names_do_not_matter(tmp_path) -> None:
    file = _file(tmp_path / "rows.csv", b", id , query,,Unnamed: 0\n0,a,b,c,0\n1, d ,e,f,1\n")
    assert columns_of(file) == ("id", "query", "Unnamed: 0")
    assert _read(file) == ([("a", "b"), (" d ", "e")], [])


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_utf_16_is_told_by_name(tmp_path, suffix: str) -> None:
    text = "id,query\na,b\n".encode("utf-16")
    file = _file(tmp_path / f"rows{suffix}", gzip.compress(text) if suffix.endswith("gz") else text)
    with pytest.raises(InputError, match=r"rows\.csv.* is UTF-16 by its first bytes"):
        columns_of(file)


def test_rows_that_are_not_utf8_or_too_short_are_rejected_alone(tmp_path) -> None:
    rows, rejects = _read(_file(tmp_path / "rows.csv", b"id,query\na,b\nc,\xff\xfe\nshort\nd,\xffe,f\ng,h\n"))
    assert rows == [("a", "b"), ("g", "h")]
    assert sorted(rejects) == [
        ("not_utf8", "c,\\xff\\xfe"),
        ("wrong_number_of_values", "d,\\xffe,f"),
        ("wrong_number_of_values", "short"),
    ]


@pytest.mark.parametrize("data", [b"id,query\n", b"id,query", b"id,query\r\n\r\n"])
def test_a_file_of_only_a_header_has_no_rows(tmp_path, data: bytes) -> None:
    assert _read(_file(tmp_path / "rows.csv", data)) == ([], [])


@pytest.mark.parametrize(
    "data",
    [
        b"id;query\na;b, c\n",
        b'\xef\xbb\xbfsep=;\r\n"id";query\r\na;b, c\r\n',
        b"id\tquery\na\tb, c",
        b"id|query\na|b, c",
    ],
)
def test_values_may_be_between_other_characters_than_commas(tmp_path, data: bytes) -> None:
    file = _file(tmp_path / "rows.csv", data)
    assert columns_of(file) == ("id", "query")
    assert _read(file) == ([("a", "b, c")], [])


def test_quotes_may_come_after_backslashes(tmp_path) -> None:
    data = rb"""id,query
"a\\","{\"k\": \"v\"}"
"tv 19\"",\N
"""
    assert _read(_file(tmp_path / "rows.csv", data)) == ([("a\\", '{"k": "v"}'), ('tv 19"', "\\N")], [])


def test_a_backslash_is_one_where_quotes_are_doubled(tmp_path) -> None:
    data = rb'''id,query
"C:\","{""k"": ""19\"""", ""p"": ""C:\\"", ""x"": 1}"
'''
    assert _read(_file(tmp_path / "rows.csv", data)) == ([("C:\\", r'{"k": "19\"", "p": "C:\\", "x": 1}')], [])


def test_escaped_quotes_that_come_late_are_told(tmp_path) -> None:
    rows = b"x,%s\n" % (b"y" * 100) * 11_000
    with pytest.raises(InputError, match="far from its beginning"):
        _read(_file(tmp_path / "rows.csv", b"id,query\n" + rows + b'a,"19\\" tv"\n'))


@pytest.mark.parametrize("rest", [b"", b'd,"e",f,7,8,9\n'])
def test_a_quote_that_is_not_closed_is_told(tmp_path, rest: bytes) -> None:
    data = b'id,query,x,y,z,u\na,"b,c,4,5,6\n' + b"1,2,3,4,5,6\n" * 3 + rest
    with pytest.raises(InputError, match=r"a quote that is not closed .* comes before 'b,c,4,5,6'"):
        _read(_file(tmp_path / "rows.csv", data))


def test_lists_within_a_quoted_text_are_a_text(tmp_path) -> None:
    story = "Comes in\nred, blue, green\nsmall, medium, large\nand more"
    assert _read(_file(tmp_path / "rows.csv", f'id,query,x\na,"{story}",1\n'.encode())) == ([("a", story)], [])


def test_a_row_of_many_lines_is_rejected_line_by_line(tmp_path) -> None:
    rows, rejects = _read(_file(tmp_path / "rows.csv", b'id,query\na,"b\nc,d\ne",f,g\nh,i\n'))
    assert rows == [("h", "i")]
    assert rejects == [("wrong_number_of_values", line) for line in ('a,"b', "c,d", 'e",f,g')]


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"id,id\n1,2\n", "names a column twice"), (b"\n1,2\n", "no header"), (b"\xff\n", "header line is not UTF-8")],
)
def test_a_bad_header_is_an_error(tmp_path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        columns_of(_file(tmp_path / "rows.csv", data))


some_bytes = st.lists(
    st.sampled_from([b"a", "é".encode(), "鞋".encode(), "👟".encode(), b"\xff", b"\xe9\x9e", b"\x80", b"\n"]),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(some_bytes.map(b"".join), st.integers(1, 7))
def test_any_bytes_become_valid_text_that_can_be_turned_back(data: bytes, size: int) -> None:
    stream = RepairedStream(io.BytesIO(data))
    parts = []
    while part := stream.read(size):
        assert len(part) <= size
        parts.append(part)
    text = b"".join(parts).decode("utf-8")
    assert unmarked(text) == data.decode("utf-8", "backslashreplace")
    assert stream.marks == (text != data.decode("utf-8", "replace"))


def test_reading_all_at_once_gives_all() -> None:
    assert RepairedStream(io.BytesIO("鞋".encode() * 9)).read() == "鞋".encode() * 9


def test_only_rows_with_marks_are_rejected() -> None:
    marked = RepairedStream(io.BytesIO(b"b\xff")).read().decode()
    frame = pl.DataFrame({"id": ["1", "2", None], "text": ["鞋", marked, None]})
    good, rejects = without_marked(frame)
    assert good.rows() == [("1", "鞋"), (None, None)]
    assert rejects == [("not_utf8", "2,b\\xff")]
