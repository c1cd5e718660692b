"""Encodes columns as serialized tf.Examples, and writes these as gzipped TFRecord files.

A feature that has no value for a row has no value in the example. Lists keep their kind even if they are empty
everywhere, so that statistics know what the feature would hold.

Arrow kernels put the bytes together, feature by feature for all rows at once: what stands before a list of some length
is rendered once per length, a value once per distinct value. That is several times faster than
`tfx_bsl.coders.example_coder.RecordBatchToExamplesEncoder`, which the tests compare it with; it lets other threads
work meanwhile; and features come in the order of their names, so that equal rows are equal bytes, where a protobuf
map has any order.

TFRecords are written without TensorFlow, whose import would cost every worker seconds: length uint64, masked CRC-32C of
the length, data, masked CRC-32C of the data; all little-endian.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import TracebackType
from typing import BinaryIO, Self

import google_crc32c
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as arrow

_ROWS_AT_ONCE = 8192
# Tags of fields 1, 2 and 3 that hold a message, bytes or packed numbers.
_FIELD_1, _FIELD_2, _FIELD_3 = b"\x0a", b"\x12", b"\x1a"
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = _FIELD_1, _FIELD_2, _FIELD_3
_CRC_MASK = 0xA282EAD8
# Level 1: ids barely compress better at higher levels, and these take several times longer.
_LEVEL = 1
_GZIP_WINDOW = 31


@dataclass(frozen=True)
class Lists:
    """A column of lists: row r is `values[codes[offsets[r]:offsets[r + 1]]]`."""

    offsets: np.ndarray
    codes: np.ndarray
    values: pl.Series

    def to_series(self, name: str) -> pl.Series:
        """The lists as a polars column of List(String)."""
        rows = pl.DataFrame({"row": np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))})
        grouped = rows.with_columns(value=self.values.gather(self.codes)).group_by("row", maintain_order=True)
        every = pl.DataFrame({"row": np.arange(len(self.offsets) - 1)})
        joined = every.join(grouped.agg("value"), on="row", how="left", maintain_order="left")
        return joined.select(pl.col("value").fill_null(pl.lit([], pl.List(pl.String))).alias(name)).to_series()


def encode_examples(columns: dict[str, pa.Array]) -> Iterator[list[bytes]]:
    """Serialized tf.Examples of aligned list columns [rows], some thousands at a time.

    Args:
      columns: large lists of large binary (dictionary-encoded or not), int64 or float32; a null list is a feature
        without a kind.
    """
    features = [_Feature(name, columns[name]) for name in sorted(columns)]
    rows = len(next(iter(columns.values())))
    for start in range(0, rows, _ROWS_AT_ONCE):
        entries = _join([part for feature in features for part in feature.entries(start, _ROWS_AT_ONCE)])
        before = _per_length(_lengths(entries), lambda length: _FIELD_1 + varint(length))
        yield _join([before, entries]).to_pylist()


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
    """The same out of `Lists`; its values stay a dictionary."""
    codes = pa.array(lists.codes, pa.int64())
    return _large_list(lists.offsets, pa.DictionaryArray.from_arrays(codes, _arrow(lists.values)))


def varint(number: int) -> bytes:
    """Protobuf's variable-length encoding of a number from 0 up."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


class TFRecordWriter:
    """Appends records to an open binary stream; equal records give equal bytes. Closes no stream."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def write(self, records: Iterable[bytes]) -> None:
        """Appends `records` in their order."""
        parts: list[bytes] = []
        for record in records:
            parts += (_header(len(record)), record, _masked_crc(record))
        self._stream.write(self._compressor.compress(b"".join(parts)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.write(self._compressor.flush())


@dataclass(frozen=True)
class _Feature:
    """One feature of all rows."""

    name: str
    column: pa.Array

    def entries(self, start: int, rows: int) -> tuple[pa.Array, pa.Array]:
        """The feature's entry in `Features.feature` [rows]: what stands before its values, and its values."""
        column = self.column.slice(start, rows)
        offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
        values = _joined_runs(self._fields(offsets[0], offsets[-1]), offsets - offsets[0])
        lengths = _lengths(values)
        if column.null_count:
            lengths = np.where(column.is_null().to_numpy(zero_copy_only=False), -1, lengths)
        return _per_length(lengths, self._before), values

    def _fields(self, first: int, last: int) -> pa.Array:
        """The encoded values [last - first]."""
        values = self.column.values.slice(first, last - first)
        if self._numbers:
            return _varints(values) if self._kind == _INT64_LIST else _floats(values)
        if pa.types.is_dictionary(values.type):
            return self._dictionary.take(values.indices)
        return _bytes_fields(values)

    @cached_property
    def _dictionary(self) -> pa.Array:
        return _bytes_fields(self.column.values.dictionary)

    @cached_property
    def _kind(self) -> bytes:
        value = self.column.type.value_type
        if pa.types.is_integer(value):
            return _INT64_LIST
        return _FLOAT_LIST if pa.types.is_floating(value) else _BYTES_LIST

    @property
    def _numbers(self) -> bool:
        return self._kind != _BYTES_LIST

    def _before(self, length: int) -> bytes:
        """Everything before values of `length` bytes; the entry's values come last in it. -1: it has no kind."""
        name = self.name.encode()
        key = _FIELD_1 + varint(len(name)) + name
        feature, values = b"", max(length, 0)
        if length >= 0:
            # Numbers are packed into one field, which is left out if it is empty.
            packed = _FIELD_1 + varint(values) if self._numbers and values else b""
            feature = self._kind + varint(len(packed) + values) + packed
        entry = key + _FIELD_2 + varint(len(feature) + values) + feature
        return _FIELD_1 + varint(len(entry) + values) + entry


def _bytes_fields(values: pa.Array) -> pa.Array:
    """Each of `values` as a field of `BytesList`."""
    return _join([_per_length(_lengths(values), lambda length: _FIELD_1 + varint(length)), values])


def _varints(values: pa.Array) -> pa.Array:
    """Each of the int64 `values` as a varint."""
    numbers, codes = np.unique(values.to_numpy(), return_inverse=True)
    if len(numbers) < len(codes) // 4:
        # Stages and positions are few.
        return _varints(pa.array(numbers)).take(pa.array(codes))
    rest = values.to_numpy().view(np.uint64)
    digits = np.zeros((len(rest), 10), np.uint8)
    lengths = np.ones(len(rest), np.int64)
    for place in range(10):
        digits[:, place] = rest & np.uint64(0x7F)
        rest = rest >> np.uint64(7)
        lengths += rest > 0
    places = np.arange(10)
    digits[places < lengths[:, None] - 1] |= 0x80
    data = digits[places < lengths[:, None]]
    return _binary(np.concatenate([[0], np.cumsum(lengths)]), pa.py_buffer(data.tobytes()))


def _floats(values: pa.Array) -> pa.Array:
    """Each of the float32 `values` as its four bytes."""
    data = values.to_numpy().astype("<f4").tobytes()
    return _binary(np.arange(len(values) + 1) * 4, pa.py_buffer(data))


def _joined_runs(values: pa.Array, offsets: np.ndarray) -> pa.Array:
    """Joins the bytes `values[offsets[r]:offsets[r + 1]]` of each row; they lie side by side already."""
    return _binary(_offsets(values)[offsets], values.buffers()[2])


def _per_length(lengths: np.ndarray, render: Callable[[int], bytes]) -> pa.Array:
    """`render(length)` for each of `lengths`, called once per distinct length."""
    distinct, codes = np.unique(lengths, return_inverse=True)
    return pa.array([render(length) for length in distinct.tolist()], pa.large_binary()).take(pa.array(codes))


def _join(parts: list[pa.Array]) -> pa.Array:
    """Joins aligned binary columns row by row."""
    return arrow.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))


def _lengths(values: pa.Array) -> np.ndarray:
    return np.diff(_offsets(values))


def _offsets(values: pa.Array) -> np.ndarray:
    return np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1]


def _binary(offsets: np.ndarray, data: pa.Buffer | None) -> pa.Array:
    buffer = pa.py_buffer(np.ascontiguousarray(offsets, np.int64))
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(offsets) - 1, [None, buffer, data or pa.py_buffer(b"")]
    )


def _large_list(offsets: np.ndarray, values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values)


def _arrow(series: pl.Series) -> pa.Array:
    array = series.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.cast(pa.large_binary()) if pa.types.is_large_string(array.type) else array


@lru_cache(maxsize=65536)
def _header(length: int) -> bytes:
    data = struct.pack("<Q", length)
    return data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return ((((crc >> 15) | (crc << 17)) + _CRC_MASK) & 0xFFFFFFFF).to_bytes(4, "little")
