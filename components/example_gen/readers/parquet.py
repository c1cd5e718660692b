"""Parquet files."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as arrow_parquet

from components.example_gen.files import FileRange, InputFile, open_raw
from components.example_gen.readers.block import Block
from schema.settings import InputError

BLOCK_ROWS = 128 * 1024


def read_blocks(source: FileRange, columns: tuple[str, ...]) -> Iterator[Block]:
    """Blocks of the file's rows; timestamps become epoch milliseconds, bytes that are not UTF-8 rejects."""
    with open_raw(source.file.path) as stream:
        try:
            file = arrow_parquet.ParquetFile(stream)
            present = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=BLOCK_ROWS, columns=present):
                yield _block(batch, columns)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{source.file.path} cannot be read as Parquet: {error}") from error


def columns_of(file: InputFile) -> tuple[str, ...]:
    """The names of the top-level columns."""
    with open_raw(file.path) as stream:
        try:
            return tuple(arrow_parquet.ParquetFile(stream).schema_arrow.names)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file.path} cannot be read as Parquet: {error}") from error


def _block(batch: pa.RecordBatch, columns: tuple[str, ...]) -> Block:
    names, arrays = [], []
    lists: dict[str, pl.Series] = {}
    for name in batch.schema.names:
        column = batch.column(name)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            lists[name] = pl.Series(name, pl.from_arrow(column)).cast(pl.List(pl.String))
            column = pa.nulls(batch.num_rows, pa.binary())
        names.append(name)
        arrays.append(_as_bytes(column))
    block = _decode(pa.RecordBatch.from_arrays(arrays, names=names), columns)
    if not lists:
        return block
    if len(block.frame) < batch.num_rows:
        raise InputError("a Parquet file with list columns holds text that is not UTF-8; write it as UTF-8")
    return Block(block.frame.with_columns(list(lists.values())), block.rejects)


def _as_bytes(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_timestamp(kind):
        # A timestamp without a zone is UTC; `floor` of a negative never matters after 1970.
        column = column.cast(pa.timestamp("ms", tz=kind.tz), safe=False).cast(pa.int64())
    if pa.types.is_binary(column.type):
        return column
    if pa.types.is_large_binary(column.type):
        return column.cast(pa.binary())
    return column.cast(pa.string()).cast(pa.binary())


def _decode(batch: pa.RecordBatch, columns: tuple[str, ...]) -> Block:
    """Text out of a batch of bytes columns; rows that are not UTF-8 become rejects."""
    bad: set[int] = set()
    rejects: list[tuple[str, str]] = []
    for name in batch.schema.names:
        try:
            batch.column(name).cast(pa.string())
        except pa.ArrowInvalid:
            bad.update(_not_utf8(batch.column(name)))
    if bad:
        rejects = [("not_utf8", _raw(batch, row)) for row in sorted(bad)]
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
