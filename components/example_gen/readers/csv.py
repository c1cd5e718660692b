"""CSV with a header line (RFC 4180), plain or gzipped; quoted values may hold line ends."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from components.example_gen.files import FileRange, InputFile, open_stream
from components.example_gen.readers.block import Block
from components.example_gen.readers.repaired import RepairedStream, unmarked, without_marked
from schema.settings import InputError

BLOCK_BYTES = 16 << 20


def read_blocks(source: FileRange, columns: tuple[str, ...]) -> Iterator[Block]:
    """Blocks of the file's rows; lines with too few or too many values become rejects."""
    header = columns_of(source.file)
    present = [name for name in columns if name in header]
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
                read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
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
                yield Block(frame.select([_column(frame, name) for name in columns]), rejects)
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise InputError(f"{source.file.path} cannot be read as CSV: {error}") from error
    if wrong:
        yield Block(pl.DataFrame(schema=dict.fromkeys(columns, pl.String())), _wrong_rows(wrong))


def columns_of(file: InputFile, head_bytes: int = 0) -> tuple[str, ...]:
    """The names in the header line, which is read whatever `head_bytes` says."""
    with open_stream(file) as stream:
        # Only the header is judged here; bad bytes further down must not fail it.
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        try:
            header = next(islice(csv.reader(text), 1), None)
            "".join(header or ()).encode()
        except (UnicodeEncodeError, csv.Error, OSError, EOFError) as error:
            raise InputError(f"{file.path}: its header line cannot be read: {error}") from error
    if not header:
        raise InputError(f"{file.path} has no header line that names its columns")
    if len(set(header)) < len(header):
        raise InputError(f"{file.path} names a column twice: {', '.join(header)}")
    return tuple(header)


def _wrong_rows(wrong: list[str]) -> list[tuple[str, str]]:
    """Takes what was collected so far."""
    return [("wrong_number_of_values", unmarked(wrong.pop(0))) for _ in range(len(wrong))]


def _column(frame: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in frame.columns else pl.lit(None, pl.String).alias(name)
