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
from schema.settings import InputError

BLOCK_BYTES = 16 << 20


def read_blocks(source: FileRange, columns: tuple[str, ...]) -> Iterator[Block]:
    """Blocks of the file's rows; lines with too few or too many values become rejects."""
    header = columns_of(source.file)
    present = [name for name in columns if name in header]
    rejects: list[tuple[str, str]] = []

    def reject(row: Any) -> str:
        text = row.text if isinstance(row.text, str) else repr(row.text)
        rejects.append(("wrong_number_of_values", text))
        return "skip"

    with open_stream(source.file) as stream:
        try:
            reader = arrow_csv.open_csv(
                stream,
                read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=reject),
                # Bytes, not text: one bad byte must cost one row, not the file.
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=present,
                    column_types=dict.fromkeys(present, pa.binary()),
                    check_utf8=False,
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            for batch in reader:
                block = decode(batch, columns, list(rejects))
                rejects.clear()
                yield block
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise InputError(f"{source.file.path} cannot be read as CSV: {error}") from error
    if rejects:
        yield Block(pl.DataFrame(schema=dict.fromkeys(columns, pl.String())), rejects)


def columns_of(file: InputFile) -> tuple[str, ...]:
    """The names in the header line."""
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


def decode(batch: pa.RecordBatch, columns: tuple[str, ...], rejects: list[tuple[str, str]]) -> Block:
    """Text out of a batch of bytes columns; rows that are not UTF-8 become rejects."""
    bad: set[int] = set()
    for name in batch.schema.names:
        try:
            batch.column(name).cast(pa.string())
        except pa.ArrowInvalid:
            bad.update(_not_utf8(batch.column(name)))
    if bad:
        rejects = rejects + [("not_utf8", _raw(batch, row)) for row in sorted(bad)]
        batch = batch.filter(pa.array([row not in bad for row in range(batch.num_rows)]))
    present = {name: batch.column(name).cast(pa.string()) for name in batch.schema.names}
    arrays = [present.get(name, pa.nulls(batch.num_rows, pa.string())) for name in columns]
    frame = pl.DataFrame(
        {
            name: pl.Series(name, pl.from_arrow(array), dtype=pl.String)
            for name, array in zip(columns, arrays, strict=True)
        }
    )
    return Block(frame, rejects)


def _not_utf8(column: pa.Array) -> Iterator[int]:
    for row, value in enumerate(column.to_pylist()):
        if value is not None:
            try:
                value.decode("utf-8")
            except UnicodeDecodeError:
                yield row


def _raw(batch: pa.RecordBatch, row: int) -> str:
    values = (batch.column(name)[row].as_py() or b"" for name in batch.schema.names)
    return ",".join(value.decode("utf-8", "backslashreplace") for value in values)
