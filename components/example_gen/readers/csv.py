"""CSV with a header line (RFC 4180) or as spreadsheets, Spark and MySQL write it, plain or gzipped; quoted values may
hold line ends.

Columnar parsers refuse a whole file for one byte that is not UTF-8. So such a byte becomes one marked character, and
the rows that hold a mark are rejected afterwards, alone. Nor do they tell a quote that is never closed, which makes
one value of all that follows. So a last row is added, which must come out of the parser.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO, Final

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from components.example_gen.columns import RecordBatch
from components.example_gen.files import FileSplit, InputFile, open_stream
from schema.file_head import CsvForm, csv_form, escaped_quote, without_mark
from schema.settings import InputError

BATCH_BYTES = 16 << 20
# From so much of a file its form is told.
_HEAD_BYTES: Final = 1 << 20
# Characters of the last private-use plane, one per byte from 0x80 up; no text uses them.
_MARK = 0x10FF00
_MARKED = r"[\x{10FF80}-\x{10FFFF}]"
# How marks begin in UTF-8.
_MARK_PREFIXES = (b"\xf4\x8f\xbe", b"\xf4\x8f\xbf")
_ERRORS = "souk-mark"
# Each value of the row that is added at the end.
_END: Final = chr(_MARK)
_ESCAPE: Final = re.compile(rb'\\(["\\])')
_SHOWN_CHARACTERS: Final = 80
# Prose with lists in it has lines of a few commas, one after another.
_FEWEST_COLUMNS: Final = 6


def read_batches(source: FileSplit, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
    """Batches of the file's rows; lines with too few or too many values become rejects."""
    form, names = _header(source.file)
    # What the file calls each column, spaces around the name and all.
    header = {name.strip(): name for name in names}
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

    ended = False
    with open_stream(source.file) as raw:
        stream = RepairedStream(raw, form, end=f"\n{form.delimiter.join([_END] * len(names))}\n")
        try:
            reader = arrow_csv.open_csv(
                stream,
                read_options=arrow_csv.ReadOptions(block_size=BATCH_BYTES, skip_rows=form.skipped_lines),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=form.delimiter, newlines_in_values=True, invalid_row_handler=reject
                ),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=present,
                    column_types=dict.fromkeys(present, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            for batch in reader:
                frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
                if present and len(frame) and frame[present[0]][-1] == _END:
                    frame, ended = frame[:-1], True
                swallowed = _swallowed(frame, form.delimiter, len(names))
                if swallowed is not None:
                    raise _unclosed(source.file, swallowed)
                rejects: list[tuple[str, str]] = []
                if stream.marks:
                    frame, rejects = without_marked(frame)
                rejects += _wrong_rows(wrong)
                yield RecordBatch(frame.select([_column(header.get(name), name) for name in columns]), rejects)
                if stream.has_late_escapes:
                    raise InputError(
                        f'{source.file.path} has quotes as \\" far from its beginning, and none there; double the '
                        'quotes within values, as in "19"" screen"'
                    )
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise InputError(f"{source.file.path} cannot be read as CSV: {error}") from error
    if present and not ended:
        raise _unclosed(source.file, stream.tail.decode("utf-8", "replace").rpartition('"')[2])
    if wrong:
        yield RecordBatch(pl.DataFrame(schema=dict.fromkeys(columns, pl.String())), _wrong_rows(wrong))


def columns_of(file: InputFile, head_bytes: int = 0) -> tuple[str, ...]:
    """The names in the header line, which is read whatever `head_bytes` says; a column without a name has none."""
    return tuple(name.strip() for name in _header(file)[1] if name.strip())


def _header(file: InputFile) -> tuple[CsvForm, list[str]]:
    with open_stream(file) as stream:
        try:
            head = without_mark(stream.read(_HEAD_BYTES), file.path)
            form = csv_form(head)
            # Only the header is judged here; bad bytes further down must not fail it.
            text = io.StringIO(head.decode("utf-8", "surrogateescape"), newline="")
            rows = csv.reader(text, delimiter=form.delimiter)
            header = next(islice(rows, form.skipped_lines, None), None)
            "".join(header or ()).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{file.path}: its header line is not UTF-8; save it as UTF-8, or convert it, for example: "
                f"iconv -f WINDOWS-1252 -t UTF-8 {file.path} > new_file"
            ) from error
        except (csv.Error, OSError, EOFError) as error:
            raise InputError(f"{file.path}: its header line cannot be read: {error}") from error
    if not header:
        raise InputError(f"{file.path} has no header line that names its columns")
    # A data frame writes its index as a column without a name.
    names = [name.strip() for name in header if name.strip()]
    if len(set(names)) < len(names):
        raise InputError(f"{file.path} names a column twice: {', '.join(names)}")
    return form, header


def _wrong_rows(wrong: list[str]) -> list[tuple[str, str]]:
    """Takes what was collected so far. A row over many lines may be many rows that a stray quote made one."""
    texts = [wrong.pop(0) for _ in range(len(wrong))]
    lines = (line for text in texts for line in text.split("\n") if line and _END not in line)
    return [("wrong_number_of_values", unmarked(line)) for line in lines]


def _swallowed(frame: pl.DataFrame, delimiter: str, columns: int) -> str | None:
    """A value that holds several whole rows, since it begins with a quote that was meant as one; None if none does."""
    if columns < _FEWEST_COLUMNS:
        return None
    no_line = rf"[^\n{re.escape(delimiter)}]*"
    line = rf"\n{no_line}(?:{re.escape(delimiter)}{no_line}){{{columns - 1}}}"
    for texts in frame.select(pl.col(pl.String)):
        several = texts.filter(texts.str.contains("\n", literal=True).fill_null(value=False))
        found = several.filter(several.str.contains(rf"{line}\r?{line}\r?\n")) if len(several) else several
        if len(found):
            return str(found[0])
    return None


def _unclosed(file: InputFile, after: str) -> InputError:
    return InputError(
        f"{file.path} has a quote that is not closed where its value ends, so that the rows after it would be one "
        f"value; close it, or double the quotes within values. It comes before {_first_line(after)!r}"
    )


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:_SHOWN_CHARACTERS]


def _column(source: str | None, name: str) -> pl.Expr:
    return (pl.lit(None, pl.String) if source is None else pl.col(source)).alias(name)


class RepairedStream(io.RawIOBase):
    """`stream` as valid UTF-8 with its quotes doubled, and `end` after it.

    `marks` tells whether any byte was marked so far, `has_late_escapes` whether quotes come after backslashes though
    `form` has none; `tail` is the last that was read.
    """

    def __init__(self, stream: BinaryIO, form: CsvForm | None = None, end: str = ""):
        form = form or CsvForm()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(_ERRORS)
        self._ready = b""
        self._ended = False
        self._end = end.encode()
        self._has_escapes = form.has_escapes
        self._escaped_quote = escaped_quote(form.delimiter.encode())
        self._held = b""
        self.marks = False
        self.has_late_escapes = False
        self.tail = b""

    def readable(self) -> bool:
        """Always; the rest of the file protocol follows from `read`."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all there is if negative, none at the end."""
        while not self._ended and (size < 0 or len(self._ready) < size):
            data = self._stream.read(size if size > 0 else -1)
            self._ended = not data
            self._ready += self._repaired(self._doubled(data)) + (b"" if data else self._end)
        end = len(self._ready) if size < 0 else size
        taken, self._ready = self._ready[:end], self._ready[end:]
        self.tail = taken or self.tail
        return taken

    def _doubled(self, data: bytes) -> bytes:
        """`data` with escaped quotes doubled; what ends in a backslash waits for what comes after it."""
        if self._has_escapes:
            whole = self._held + data
            kept = whole.rstrip(b"\\") if data else whole
            self._held = whole[len(kept) :]
            return _ESCAPE.sub(lambda pair: b'""' if pair[1] == b'"' else pair[1], kept)
        if b'\\"' in data and self._escaped_quote.search(data):
            self.has_late_escapes = True
        return data

    def _repaired(self, data: bytes) -> bytes:
        repaired = self._decoder.decode(data, final=self._ended).encode()
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
