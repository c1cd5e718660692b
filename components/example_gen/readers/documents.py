"""Rows of CSV and Parquet files as JSON documents, for formats whose fields may be nested."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as arrow_parquet
from polars.exceptions import PolarsError

from components.example_gen.files import FileSplit, open_raw
from components.example_gen.readers import csv, jsonl, parquet
from schema.settings import InputError

_ROW = "__row"
# How tools that flatten the hits of a search call the columns.
_HIT = "_source."


def read_documents(source: FileSplit, names: tuple[str, ...]) -> Iterator[tuple[bytes, list[tuple[str, str]]]]:
    """The rows of a file as JSON lines, whole lines at a time, and what is no row, as (reason, raw text).

    Args:
      source: of a file of any format.
      names: the top-level fields to read; of JSON lines all come.

    Raises:
      InputError: the file cannot be read as what its name says.
    """
    if source.file.documents:
        for data in jsonl.line_batches(source):
            yield data, []
        return
    module = csv if source.file.format == "csv" else parquet
    columns = tuple(name for name in module.columns_of(source.file) if name.removeprefix(_HIT) in names)
    if module is parquet:
        yield from _of_parquet(source, columns)
        return
    for batch in csv.read_batches(source, columns):
        yield _lines(batch.frame), batch.rejects


def _of_parquet(source: FileSplit, columns: tuple[str, ...]) -> Iterator[tuple[bytes, list[tuple[str, str]]]]:
    with open_raw(source.file.path) as stream:
        try:
            file = arrow_parquet.ParquetFile(stream)
            schema = file.schema_arrow
            nested = [name for name in columns if _is_nested(schema.field(name).type)]
            flat = [name for name in columns if name not in nested]
            for batch in file.iter_batches(batch_size=parquet.BATCH_ROWS, columns=list(columns)):
                numbered = pa.RecordBatch.from_arrays(
                    [*(batch.column(name) for name in flat), pa.array(range(batch.num_rows), pa.int64())],
                    names=[*flat, _ROW],
                )
                read = parquet.from_arrow(numbered, (*flat, _ROW))
                kept = read.frame[_ROW].cast(pl.Int64)
                structs = [pl.Series(name, pl.from_arrow(batch.column(name))).gather(kept) for name in nested]
                yield _lines(read.frame.drop(_ROW).with_columns(structs)), read.rejects
        except (pa.ArrowException, PolarsError, OSError) as error:
            raise InputError(f"{source.file.path} cannot be read as Parquet: {error}") from error


def _is_nested(kind: pa.DataType) -> bool:
    """Whether `kind` is more than a value or a list of values."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return pa.types.is_nested(kind.value_type if is_list else kind)


def _lines(rows: pl.DataFrame) -> bytes:
    return rows.rename(lambda name: name.removeprefix(_HIT)).write_ndjson().encode()
