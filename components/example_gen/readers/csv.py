"""CSV with a header line (RFC 4180), plain or gzipped; quoted values may hold line ends.

Columnar parsers refuse a whole file for one byte that is not UTF-8. So such a byte becomes one marked character, and
the rows that hold a mark are rejected afterwards, alone.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from components.example_gen.columns import RecordBatch
from components.example_gen.files import FileSplit, InputFile, open_stream
from schema.file_head import without_mark
from schema.settings import InputError

BATCH_BYTES = 16 << 20
_ENCODING_BYTES = 16
# Characters of the last private-use plane, one per byte from 0x80 up; no text uses them.
_MARK = 0x10FF00
_MARKED = r"[\x{10FF80}-\x{10FFFF}]"
# How marks begin in UTF-8.
_MARK_PREFIXES = (b"\xf4\x8f\xbe", b"\xf4\x8f\xbf")
_ERRORS = "souk-mark"


def read_batches(source: FileSplit, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
    """Batches of the file's rows; lines with too few or too many values become rejects."""
    # What the file calls each column, spaces around the name and all.
    header = {name.strip(): name for name in _header(source.file)}
    present = [header[name] for name in columns if name in header]
    for name in columns:
        top = name.partition(".")[0]
        if name not in header and top in header:
            raise InputError(
                f"{source.file.path} has no column {name}, and {top} has no fields, for it is CSV; name {top} itself, "
                "or write what it holds to a column of its own"
            )
    # Arrow reads ahead in a thread of its own and calls `reject` from there.
    wrong: list[str] = []

    def reject(row: Any) -> str:
        wrong.append(row.text)
        return "skip"

    with open_stream(source.file) as raw:
        stream = RepairedStream(raw)
        try:
            reader = arrow_csv.open_csv(
                stream,
                read_options=arrow_csv.ReadOptions(block_size=BATCH_BYTES),
                parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=reject),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=present,
                    column_types=dict.fromkeys(present, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            for batch in reader:
                frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
                rejects: list[tuple[str, str]] = []
                if stream.marks:
                    frame, rejects = without_marked(frame)
                rejects += _wrong_rows(wrong)
                yield RecordBatch(frame.select([_column(header.get(name), name) for name in columns]), rejects)
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise InputError(f"{source.file.path} cannot be read as CSV: {error}") from error
    if wrong:
        yield RecordBatch(pl.DataFrame(schema=dict.fromkeys(columns, pl.String())), _wrong_rows(wrong))


def columns_of(file: InputFile, head_bytes: int = 0) -> tuple[str, ...]:
    """The names in the header line, which is read whatever `head_bytes` says; a column without a name has none."""
    return tuple(name.strip() for name in _header(file) if name.strip())


def _header(file: InputFile) -> list[str]:
    with open_stream(file) as stream:
        # Only the header is judged here; bad bytes further down must not fail it.
        try:
            without_mark(stream.read(_ENCODING_BYTES), file.path)
            stream.seek(0)
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
            header = next(islice(csv.reader(text), 1), None)
            "".join(header or ()).encode()
        except (UnicodeEncodeError, csv.Error, OSError, EOFError) as error:
            raise InputError(f"{file.path}: its header line cannot be read: {error}") from error
    if not header:
        raise InputError(f"{file.path} has no header line that names its columns")
    # A data frame writes its index as a column without a name.
    names = [name.strip() for name in header if name.strip()]
    if len(set(names)) < len(names):
        raise InputError(f"{file.path} names a column twice: {', '.join(names)}")
    return header


def _wrong_rows(wrong: list[str]) -> list[tuple[str, str]]:
    """Takes what was collected so far."""
    return [("wrong_number_of_values", unmarked(wrong.pop(0))) for _ in range(len(wrong))]


def _column(source: str | None, name: str) -> pl.Expr:
    return (pl.lit(None, pl.String) if source is None else pl.col(source)).alias(name)


class RepairedStream(io.RawIOBase):
    """`stream` as valid UTF-8; `marks` tells whether any byte was marked so far."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(_ERRORS)
        self._ready = b""
        self._ended = False
        self.marks = False

    def readable(self) -> bool:
        """Always; the rest of the file protocol follows from `read`."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all there is if negative, none at the end."""
        while not self._ended and (size < 0 or len(self._ready) < size):
            data = self._stream.read(size if size > 0 else -1)
            self._ended = not data
            self._ready += self._repaired(data)
        end = len(self._ready) if size < 0 else size
        taken, self._ready = self._ready[:end], self._ready[end:]
        return taken

    def _repaired(self, data: bytes) -> bytes:
        repaired = self._decoder.decode(data, final=not data).encode()
        self.marks = self.marks or any(prefix in repaired for prefix in _MARK_PREFIXES)
        return repaired


def without_marked(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """The rows of text columns that hold no mark, and the others as rejects with their bytes escaped."""
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    marked = frame.select(pl.any_horizontal(pl.col(texts).str.contains(_MARKED).fill_null(value=False))).to_series()
    rejects = [
        ("not_utf8", unmarked(",".join(value or "" for value in row)))
        for row in frame.filter(marked).select(texts).rows()
    ]
    return frame.filter(~marked), rejects


def unmarked(text: str) -> str:
    """`text` with each mark as the byte that it stands for, written as in `\\xff`."""
    return "".join(f"\\x{ord(c) - _MARK:02x}" if ord(c) > _MARK else c for c in text)


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_MARK + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ERRORS, _mark)
