"""Readers: JSONL, CSV and Parquet files, and tables of BigQuery, as record batches.

Every reader yields the requested columns as text (lists as lists where the format has them), so that one validation
serves all formats. What cannot even be read as a row comes out as a reject.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

import polars as pl

from components.example_gen.columns import RecordBatch
from components.example_gen.files import FileSplit, InputFile
from components.example_gen.readers import csv, jsonl, parquet

HEAD_BYTES = 128 << 10

# What Hive calls the folder of rows that have no value.
_NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
_READERS = {"jsonl": jsonl, "csv": csv, "parquet": parquet}


def read_batches(source: FileSplit, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
    """The rows of `source` in batches of bounded size; a column that the file does not have is all null.

    Raises:
      InputError: if the file as a whole cannot be read as what its name says.
    """
    named = {name: value for name, value in columns_of_folders(source.path).items() if name in columns and value}
    for batch in _READERS[source.file.format].read_batches(source, columns):
        yield replace(batch, frame=_filled(batch.frame, named)) if named else batch


def columns_of(file: InputFile, head_bytes: int = HEAD_BYTES) -> tuple[str, ...]:
    """The names of the columns that `file` has, or its folders say; of JSONL, those that the rows in its first bytes
    name.
    """
    return tuple(dict.fromkeys((*_READERS[file.format].columns_of(file, head_bytes), *columns_of_folders(file.path))))


def columns_of_folders(path: str) -> dict[str, str]:
    """Columns that the names of folders hold, as Hive and Spark leave them out of partitioned files: `brand=Acme/`."""
    pairs = [part.split("=", 1) for part in path.split("/")[:-1] if "=" in part]
    return {unquote(name): "" if value == _NO_VALUE else unquote(value) for name, value in pairs if name}


def _filled(rows: pl.DataFrame, named: dict[str, str]) -> pl.DataFrame:
    return rows.with_columns(
        rows[name].fill_null(value) for name, value in named.items() if rows[name].dtype == pl.String
    )
