"""Parquet files."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as arrow_parquet
from polars.exceptions import PolarsError

from components.example_gen.files import FileRange, InputFile, open_raw
from components.example_gen.readers.arrow import BLOCK_ROWS, batch_block
from components.example_gen.readers.block import Block
from schema.settings import InputError


def read_blocks(source: FileRange, columns: tuple[str, ...]) -> Iterator[Block]:
    """Blocks of the file's rows; timestamps become epoch milliseconds, bytes that are not UTF-8 rejects."""
    with open_raw(source.file.path) as stream:
        try:
            file = arrow_parquet.ParquetFile(stream)
            present = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=BLOCK_ROWS, columns=present):
                yield batch_block(batch, columns)
        except (pa.ArrowException, PolarsError, OSError) as error:
            raise InputError(f"{source.file.path} cannot be read as Parquet: {error}") from error


def columns_of(file: InputFile, head_bytes: int = 0) -> tuple[str, ...]:
    """The names of the top-level columns, which the file's end holds, whatever `head_bytes` says."""
    with open_raw(file.path) as stream:
        try:
            return tuple(arrow_parquet.ParquetFile(stream).schema_arrow.names)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file.path} cannot be read as Parquet: {error}") from error
