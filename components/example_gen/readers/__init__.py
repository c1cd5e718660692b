"""Readers: JSONL, CSV and Parquet files as blocks of columns.

Every reader gives the asked-for columns as text (lists as lists where the format has them), so that one
validation serves all formats. What cannot even be read as a row comes out as a reject.
"""

from collections.abc import Iterator

from components.example_gen.files import FileRange, InputFile
from components.example_gen.readers import csv, jsonl, parquet
from components.example_gen.readers.block import Block

__all__ = ["HEAD_BYTES", "Block", "columns_of", "read_blocks"]

HEAD_BYTES = 128 << 10

_READERS = {"jsonl": jsonl, "csv": csv, "parquet": parquet}


def read_blocks(source: FileRange, columns: tuple[str, ...]) -> Iterator[Block]:
    """The rows of `source` in blocks of bounded size; a column that the file does not have is all null.

    Raises:
      InputError: if the file as a whole cannot be read as what its name says.
    """
    return _READERS[source.file.format].read_blocks(source, columns)


def columns_of(file: InputFile, head_bytes: int = HEAD_BYTES) -> tuple[str, ...]:
    """The names of the columns that `file` has; of JSONL, those that the rows in its first bytes name."""
    return _READERS[file.format].columns_of(file, head_bytes)
