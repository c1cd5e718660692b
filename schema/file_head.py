"""What the first bytes of a file say of it, whatever its name says: how it is packed, whether it is UTF-8 and JSON
lines.
"""

import gzip
import json
import re
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import Final

import orjson

from schema.settings import InputError

MARK: Final = b"\xef\xbb\xbf"
_GZIP: Final = b"\x1f\x8b"
# What may be between the values of a CSV file whose header has no comma, by preference.
_DELIMITERS: Final = (b";", b"\t", b"|")
# Excel's first line that names the delimiter.
_SEPARATOR_LINE: Final = re.compile(rb"sep=(.)\r?\n")
_QUOTED: Final = re.compile(rb'"(?:[^"]|"")*"')
# What else a file may be, by its first bytes, whatever its name says.
_OTHER_KINDS: Final = {
    b"PAR1": "Parquet: name it .parquet",
    b"PK\x03\x04": "a zip archive, as Excel's workbooks are: unpack it, or save it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save it as CSV (UTF-8)",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it, or pack it by gzip",
    b"BZh91AY&SY": "packed by bzip2: unpack it, or pack it by gzip",
    b"\xfd7zXZ": "packed by xz: unpack it, or pack it by gzip",
    b"Obj\x01": "Avro: write it as Parquet or JSON lines",
}


def is_gzip(head: bytes, path: str) -> bool:
    """Whether a text file is gzipped.

    Raises:
      InputError: it is no text file, but something else that is known by its first bytes.
    """
    for magic, kind in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise InputError(f"{path} is, by its first bytes, {kind}")
    return head.startswith(_GZIP)


def holds_nothing(data: bytes) -> bool:
    """Whether a whole gzipped file is one of no bytes."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        return not unpacker.decompress(data) and unpacker.eof
    except zlib.error:
        return False


def without_mark(head: bytes, path: str) -> bytes:
    """`head` without the byte order mark of UTF-8.

    Raises:
      InputError: it is UTF-16 or UTF-32, which many zero bytes tell, too.
    """
    encoding = json.detect_encoding(head).upper()
    if not encoding.startswith("UTF-8"):
        name = encoding[:6]
        raise InputError(
            f"{path} is {name} by its first bytes, as a spreadsheet's 'Unicode text' is, and not UTF-8; save it as "
            f"UTF-8, or convert it: iconv -f {name} -t UTF-8 {path} > new_file"
        )
    return head.removeprefix(MARK)


def unpacked(data: bytes, path: str) -> bytes:
    """A whole text file out of its bytes: unpacked if they are gzip, and without the byte order mark.

    Raises:
      InputError: it is no text, or not of UTF-8 by its first bytes.
      OSError, EOFError, zlib.error: it is no whole gzip.
    """
    return without_mark(gzip.decompress(data) if is_gzip(data, path) else data, path)


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written.

    Attributes:
      delimiter: one character, between the values.
      skipped_lines: before the header.
      has_escapes: whether a quote within quotes is `\\"`, as Spark and MySQL write it, and not doubled.
    """

    delimiter: str = ","
    skipped_lines: int = 0
    has_escapes: bool = False


def csv_form(head: bytes) -> CsvForm:
    """The form of a CSV file that begins with `head`."""
    head = head.removeprefix(MARK)
    named = _SEPARATOR_LINE.match(head)
    delimiter, skipped = b",", 0
    if named:
        delimiter, skipped = named[1], 1
    else:
        header = re.split(rb"[\r\n]", _QUOTED.sub(b"", head), maxsplit=1)[0]
        if b"," not in header:
            delimiter = max(_DELIMITERS, key=header.count) if any(map(header.count, _DELIMITERS)) else b","
    return CsvForm(delimiter.decode("latin-1"), skipped, bool(escaped_quote(delimiter).search(head)))


def escaped_quote(delimiter: bytes) -> re.Pattern[bytes]:
    """What is in no CSV file that doubles its quotes: a quote after one backslash that neither ends a value nor is
    doubled, or that ends one together with the next.
    """
    end = b"\r\n" + re.escape(delimiter)
    return re.compile(rb'(?<!\\)\\"(?=[^"' + end + rb']|"[' + end + rb"])")


class SearchResponseError(InputError):
    """A file is the response of a search engine to one search, not JSON lines."""


def check_json_lines(lines: list[bytes], path: str) -> None:
    """Checks the first lines of a file.

    Raises:
      InputError: it is one JSON array or one document over many lines.
      SearchResponseError: it is the response to a search.
    """
    told = list(islice((line.strip() for line in lines if line.strip()), 2))
    first = told[0] if told else b""
    if first.startswith(b"["):
        raise InputError(
            f"{path} is one JSON array, not JSON lines, which have one object a line; convert it: "
            f"jq -c '.[]' {path} > new_file.jsonl"
        )
    if len(told) > 1 and first.startswith(b"{") and first.endswith((b"{", b"[", b",")):
        raise InputError(
            f"{path} is JSON over many lines, not JSON lines, which have one object a line; convert it: "
            f"jq -c . {path} > new_file.jsonl, or with jq -c '.items[]' where the rows are a list named `items` in it"
        )
    if len(told) == 1 and first.startswith(b"{") and b'"hits"' in first:
        _check_response(first, path)


def _check_response(line: bytes, path: str) -> None:
    try:
        hits = orjson.loads(line).get("hits")
    except orjson.JSONDecodeError:
        return
    if isinstance(hits, dict | list):
        where = ".hits.hits[]" if isinstance(hits, dict) else ".hits[]"
        raise SearchResponseError(
            f"{path} is the response to one search, not JSON lines, which have one object a line; convert it: "
            f"jq -c '{where}' {path} > new_file.jsonl"
        )
