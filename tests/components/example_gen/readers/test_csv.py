import gzip

import pytest

from components.example_gen.files import InputFile, cut_ranges, find_files
from components.example_gen.readers import columns_of, read_blocks
from schema.settings import InputError


def _file(path, data: bytes) -> InputFile:
    path.write_bytes(data)
    (file,) = find_files((str(path),), "events")
    return file


def _read(file: InputFile, columns: tuple[str, ...] = ("id", "query")) -> tuple[list, list]:
    blocks = [block for source in cut_ranges([file]) for block in read_blocks(source, columns)]
    return [row for block in blocks for row in block.frame.rows()], [r for block in blocks for r in block.rejects]


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


def test_rows_that_are_not_utf8_or_too_short_are_rejected_alone(tmp_path) -> None:
    rows, rejects = _read(_file(tmp_path / "rows.csv", b"id,query\na,b\nc,\xff\xfe\nshort\nd,\xffe,f\ng,h\n"))
    assert rows == [("a", "b"), ("g", "h")]
    assert sorted(rejects) == [
        ("not_utf8", "c,\\xff\\xfe"),
        ("wrong_number_of_values", "d,\\xffe,f"),
        ("wrong_number_of_values", "short"),
    ]


def test_a_file_of_only_a_header_has_no_rows(tmp_path) -> None:
    assert _read(_file(tmp_path / "rows.csv", b"id,query\n")) == ([], [])


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"id,id\n1,2\n", "names a column twice"), (b"\n1,2\n", "no header"), (b"\xff\n", "header line")],
)
def test_a_bad_header_is_an_error(tmp_path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        columns_of(_file(tmp_path / "rows.csv", data))
