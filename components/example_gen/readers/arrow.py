"""Arrow batches, from Parquet files or from BigQuery, as blocks of text columns."""

from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa

from components.example_gen.readers.block import Block

BLOCK_ROWS = 128 * 1024


def batch_block(batch: pa.RecordBatch, columns: tuple[str, ...]) -> Block:
    """The rows of `batch`; timestamps become epoch milliseconds, bytes that are not UTF-8 rejects.

    Args:
      batch: some of `columns`, each of a type that has a text, or a list of such.
      columns: the wanted ones; one that the batch does not have is all null.

    Raises:
      pa.ArrowException, PolarsError: a column of another type.
    """
    texts: dict[str, pa.Array] = {}
    lists: dict[str, pl.Series] = {}
    for name in batch.schema.names:
        column = batch.column(name)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            lists[name] = pl.Series(name, pl.from_arrow(column)).cast(pl.List(pl.String))
        else:
            texts[name] = _as_bytes(column)
    good = ~_not_utf8(texts.values(), batch.num_rows)
    rejects = [("not_utf8", _raw(texts, row)) for row in np.flatnonzero(~good).tolist()]
    kept = pa.array(good)
    frame = pl.DataFrame(
        [_text(name, texts[name].filter(kept)) for name in texts]
        + [values.filter(pl.Series(good)) for values in lists.values()]
        + [
            pl.Series(name, [None] * int(good.sum()), dtype=pl.String)
            for name in columns
            if name not in batch.schema.names
        ]
    )
    return Block(frame.select(columns), rejects)


def milliseconds(column: pa.Array) -> pa.Array:
    """Epoch milliseconds of a timestamp column; one without a zone is UTC."""
    return column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False).cast(pa.int64())


def _as_bytes(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        column = milliseconds(column)
    elif pa.types.is_decimal(column.type):
        # Arrow has no cast of these, and a float would make one of two long ids.
        column = pa.array([None if value is None else f"{value:f}" for value in column.to_pylist()], pa.string())
    if pa.types.is_binary(column.type):
        return column
    if pa.types.is_large_binary(column.type):
        return column.cast(pa.binary())
    return column.cast(pa.string()).cast(pa.binary())


def _not_utf8(columns: Iterable[pa.Array], rows: int) -> np.ndarray:
    """Which rows [rows] hold bytes that are not UTF-8 in any of the bytes columns."""
    bad = np.zeros(rows, bool)
    for column in columns:
        try:
            column.cast(pa.string())
        except pa.ArrowInvalid:
            bad |= [value is not None and not _is_utf8(value) for value in column.to_pylist()]
    return bad


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text(name: str, column: pa.Array) -> pl.Series:
    return pl.Series(name, pl.from_arrow(column.cast(pa.string())), dtype=pl.String)


def _raw(columns: dict[str, pa.Array], row: int) -> str:
    values = (column[row].as_py() or b"" for column in columns.values())
    return ",".join(value.decode("utf-8", "backslashreplace") for value in values)
