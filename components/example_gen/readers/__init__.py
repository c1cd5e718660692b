"""Readers: JSONL, CSV and Parquet files, and tables of BigQuery, as record batches.

Every reader yields the requested columns as text (lists as lists where the format has them), so that one validation
serves all formats. What cannot even be read as a row comes out as a reject.
"""

from collections.abc import Iterator

from components.example_gen.columns import RecordBatch
from components.example_gen.files import FileSplit, InputFile
from components.example_gen.readers import csv, jsonl, parquet

HEAD_BYTES = 128 << 10

_READERS = {"jsonl": jsonl, "csv": csv, "parquet": parquet}


def read_batches(source: FileSplit, columns: tuple[str, ...]) -> Iterator[RecordBatch]:
    """The rows of `source` in batches of bounded size; a column that the file does not have is all null.

    Raises:
      InputError: if the file as a whole cannot be read as what its name says.
    """
    return _READERS[source.file.format].read_batches(source, columns)


def columns_of(file: InputFile, head_bytes: int = HEAD_BYTES) -> tuple[str, ...]:
    """The names of the columns that `file` has; of JSONL, those that the rows in its first bytes name."""
    return _READERS[file.format].columns_of(file, head_bytes)
