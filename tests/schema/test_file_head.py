import gzip

import pytest

from schema.file_head import check_json_lines, holds_nothing, is_gzip, without_mark
from schema.settings import InputError


@pytest.mark.parametrize("text", ["item_id,title\n", '{"item_id": 1}\n', "id\n"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_utf_16_and_32_are_told_by_name(text: str, encoding: str) -> None:
    with pytest.raises(InputError, match=rf"a\.csv is {encoding[:6].upper()} by its first bytes.*iconv -f "):
        without_mark(text.encode(encoding), "a.csv")


@pytest.mark.parametrize("head", [b"", b"a", b"id,n\n", "é鞋,n\n".encode(), b"\xff\xff\xff\xff"])
def test_what_is_no_other_encoding_is_as_it_was(head: bytes) -> None:
    assert without_mark(head, "a.csv") == head
    assert without_mark(b"\xef\xbb\xbf" + head, "a.csv") == head


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"PAR1\x15\x04", "Parquet: name it .parquet"),
        (b"PK\x03\x04\x14", "a zip archive, as Excel's workbooks are"),
        (b"\x28\xb5\x2f\xfd\x04", "packed by zstd"),
    ],
)
def test_what_is_no_text_is_told_by_its_first_bytes(head: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        is_gzip(head, "a.csv")


def test_gzip_is_known_by_its_first_bytes() -> None:
    assert is_gzip(gzip.compress(b"x"), "a.csv")
    assert not is_gzip(b"item_id,title\n", "a.csv")
    assert holds_nothing(gzip.compress(b""))
    assert not any(map(holds_nothing, (gzip.compress(b"x"), gzip.compress(b"")[:-1], b"\x1f\x8bno")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": 1},\n{"id": 2}]', r"one JSON array.*jq -c '\.\[\]' a\.json"),
        ("\n [\n", "one JSON array"),
        ('{\n  "id": 1\n}', r"JSON over many lines.*jq -c \. a\.json"),
        ('{"items": [\n{"id": 1}\n]}', r"JSON over many lines.*'\.items\[\]'"),
        ('{"took": 1, "hits": {"hits": [{"_source": {}}]}}', r"response to one search.*'\.hits\.hits\[\]'"),
    ],
)
def test_json_that_is_no_lines_is_told_with_the_way_out(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_json_lines(text.encode().splitlines(), "a.json")


@pytest.mark.parametrize("text", ["", '{"id": 1}\n[1]', '{"id": "cut\n{"id": 2}', '{"hits": 3}', '{"long": "x,'])
def test_json_lines_pass(text: str) -> None:
    check_json_lines(text.encode().splitlines(), "a.json")
