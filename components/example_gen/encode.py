"""Columns into serialised tf.Examples, by tfx_bsl's C++ encoder.

A feature that has no value for a row has no value in the example. Lists keep their type even if they are empty
everywhere, so that statistics know what the feature would hold.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.example_gen.behaviour import Lists

_ROWS_AT_ONCE = 4096


def encode_examples(columns: dict[str, pa.Array]) -> Iterator[list[bytes]]:
    """Serialised tf.Examples of aligned list columns [rows], some thousands at a time."""
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    encoder = RecordBatchToExamplesEncoder()
    for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
        yield encoder.encode(batch.slice(start, _ROWS_AT_ONCE))


def single_values(series: pl.Series) -> pa.Array:
    """A feature with one value per row, or none where it is null. Text becomes bytes, numbers keep their kind."""
    values = _arrow(series.drop_nulls())
    present = series.is_not_null().to_numpy()
    offsets = np.concatenate([[0], np.cumsum(present)])
    # A null offset makes a null list: a feature of no kind, which counts as missing in statistics.
    nulls = np.concatenate([~present, [False]])
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64(), mask=nulls), values)


def value_lists(series: pl.Series) -> pa.Array:
    """A feature with any number of values per row, out of a column of lists."""
    lengths = series.list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = series.explode(empty_as_null=False, keep_nulls=False)
    return _large_list(np.concatenate([[0], np.cumsum(lengths)]), _arrow(flat))


def coded_lists(lists: Lists) -> pa.Array:
    """The same out of `Lists`."""
    values = _arrow(lists.values)
    return _large_list(lists.offsets, values.take(pa.array(lists.codes, pa.int64())))


def _large_list(offsets: np.ndarray, values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values)


def _arrow(series: pl.Series) -> pa.Array:
    array = series.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.cast(pa.large_binary()) if pa.types.is_large_string(array.type) else array
