"""Encodes columns as serialized tf.Examples, and writes these as gzipped TFRecord files.

A feature that has no value for a row has no value in the example. Lists keep their kind even if they are empty
everywhere, so that statistics know what the feature would hold. Features come in the order of their names, so that
equal rows are equal bytes, where a protobuf map has any order.

A record is a row of fragments: its head, and of each feature what stands before the values, and the values. A fragment
is rendered once for all rows that have it: before a list of some length, a value that is in a `Dictionary`. One gather
of all fragments then lays the framed records of some thousand rows end to end, outside Python's lock.

TFRecords are written without TensorFlow, whose import would cost every worker seconds: length uint64, masked CRC-32C of
the length, data, masked CRC-32C of the data; all little-endian.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeAlias

import google_crc32c
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as arrow

try:
    from isal import isal_zlib as zlib
except ImportError:
    import zlib  # type: ignore[no-redef]

_ROWS_AT_ONCE = 2048
# Tags of fields 1, 2 and 3 that hold a message, bytes or packed numbers.
_FIELD_1, _FIELD_2, _FIELD_3 = b"\x0a", b"\x12", b"\x1a"
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = _FIELD_1, _FIELD_2, _FIELD_3
_CRC_MASK = 0xA282EAD8
_CRC_BYTES: Final = 4
_HEADER_BYTES: Final = 12
# Level 1: ids barely compress better at higher levels, and these take several times longer.
_LEVEL = 1
_GZIP_WINDOW = 31


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Distinct texts that codes stand for; encoded once for all columns and batches of rows."""

    values: pl.Series

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def fields(self) -> pa.Array:
        """Each text as a field of `BytesList`."""
        return _bytes_fields(_arrow(self.values))


@dataclass(frozen=True)
class Lists:
    """A column of lists: row r is `dictionary.values[codes[offsets[r]:offsets[r + 1]]]`."""

    offsets: np.ndarray
    codes: np.ndarray
    dictionary: Dictionary

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def to_series(self, name: str) -> pl.Series:
        """The lists as a polars column of List(String)."""
        values = _arrow(self.dictionary.values.gather(self.codes)).cast(pa.large_string())
        lists = pa.LargeListArray.from_arrays(pa.array(self.offsets, pa.int64()), values)
        return pl.Series(name, pl.from_arrow(lists))


Column: TypeAlias = "pa.Array | Lists"


def encode_examples(columns: Mapping[str, Column]) -> Iterator[list[bytes]]:
    """Serialized tf.Examples of aligned columns [rows], some thousands at a time.

    Args:
      columns: `Lists`, or large lists of large binary, int64 or float32, of which a null list is a feature without a
        kind.
    """
    for records, ends in _framed(columns):
        yield _data_of(records, ends)


def tfrecords(columns: Mapping[str, Column]) -> Iterator[bytearray]:
    """The same as TFRecords, laid end to end."""
    for records, ends in _framed(columns):
        crcs = np.fromiter(map(google_crc32c.value, _data_of(records, ends)), np.uint32, len(ends))
        written = bytearray(records)
        np.frombuffer(written, np.uint8)[ends[:, None] - _CRC_BYTES + np.arange(_CRC_BYTES)] = _masked(crcs)
        yield written


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


def varint(number: int) -> bytes:
    """Protobuf's variable-length encoding of a number from 0 up."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


class TFRecordWriter:
    """Compresses TFRecords into an open binary stream; equal records give equal bytes. Closes no stream."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def write(self, records: bytes | bytearray) -> None:
        """Appends what `tfrecords` gives."""
        self._stream.write(self._compressor.compress(records))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.write(self._compressor.flush())


class _Fragments:
    """Byte strings that records are put together of, known by their codes; each array is added once."""

    def __init__(self) -> None:
        self._arrays: list[pa.Array] = []
        self._first: dict[int, int] = {}
        self._count = 0

    def add(self, fragments: pa.Array) -> int:
        """The code of the first of `fragments`; the others follow."""
        if id(fragments) not in self._first:
            self._first[id(fragments)] = self._count
            self._arrays.append(fragments)
            self._count += len(fragments)
        return self._first[id(fragments)]

    def add_rendered(self, numbers: np.ndarray, render: Callable[[int], bytes]) -> tuple[np.ndarray, np.ndarray]:
        """The codes and the lengths of `render(number)` [numbers], called once per distinct number."""
        coded = pa.array(numbers).dictionary_encode()
        rendered = [render(number) for number in coded.dictionary.to_pylist()]
        codes = coded.indices.to_numpy()
        lengths = np.fromiter(map(len, rendered), np.int64, len(rendered))
        return self.add(pa.array(rendered, pa.large_binary())) + codes, lengths[codes]

    def all(self) -> pl.Series:
        # Polars keeps short values in place, which gathers twice as fast as Arrow.
        return pl.Series(pl.from_arrow(pa.concat_arrays(self._arrays)))


@dataclass(frozen=True)
class _Part:
    """A part of every record: one fragment, and any number of others, `codes[offsets[r]:offsets[r + 1]]` in row r."""

    first: np.ndarray
    offsets: np.ndarray
    codes: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.offsets) + 1

    def place(self, fragments: np.ndarray, places: np.ndarray, start: int) -> None:
        """Writes the codes of the rows from `start` on to `places` [rows] and after them."""
        end = start + len(places)
        fragments[places] = self.first[start:end]
        offsets = self.offsets[start : end + 1]
        if offsets[-1] > offsets[0]:
            behind = np.repeat(places + 1 - offsets[:-1], np.diff(offsets)) + np.arange(offsets[0], offsets[-1])
            fragments[behind] = self.codes[offsets[0] : offsets[-1]]


def _framed(columns: Mapping[str, Column]) -> Iterator[tuple[bytes, np.ndarray]]:
    """Records with their heads and with room for the CRC of their data, end to end, and where each ends."""
    rows = len(next(iter(columns.values())))
    fragments = _Fragments()
    sizes = np.zeros(rows, np.int64)
    parts = []
    for name in sorted(columns):
        part, lengths = _feature(name, columns[name], fragments)
        parts.append(part)
        sizes += lengths
    none = np.zeros(rows + 1, np.int64), np.zeros(0, np.int64)
    heads, _ = fragments.add_rendered(sizes, _head)
    crcs, _ = fragments.add_rendered(np.zeros(rows, np.int64), lambda _: bytes(_CRC_BYTES))
    parts = [_Part(heads, *none), *parts, _Part(crcs, *none)]
    counts = np.stack([part.counts for part in parts], axis=1)
    source = fragments.all()
    for start in range(0, rows, _ROWS_AT_ONCE):
        ends = np.cumsum(counts[start : start + _ROWS_AT_ONCE].ravel()).reshape(-1, len(parts))
        places = ends - counts[start : start + _ROWS_AT_ONCE]
        codes = np.empty(ends[-1, -1], np.uint32)
        for part, at in zip(parts, places.T, strict=True):
            part.place(codes, at, start)
        laid = _arrow(source.gather(pl.Series(codes)))
        yield laid.buffers()[2].to_pybytes(), _offsets(laid)[ends[:, -1]]


def _data_of(records: bytes, ends: np.ndarray) -> list[bytes]:
    after = ends.tolist()
    return [records[last + _HEADER_BYTES : end - _CRC_BYTES] for last, end in zip([0, *after[:-1]], after, strict=True)]


def _feature(name: str, column: Column, fragments: _Fragments) -> tuple[_Part, np.ndarray]:
    """The entry of a feature in `Features.feature` of each row, and its length in bytes [rows]."""
    if isinstance(column, Lists):
        offsets, codes, fields, kind = column.offsets, column.codes, column.dictionary.fields, _BYTES_LIST
    else:
        offsets = _offsets(column)
        values = column.values.slice(offsets[0], offsets[-1] - offsets[0])
        offsets = offsets - offsets[0]
        codes, fields, kind = _coded(values)
    ends = np.concatenate([[0], np.cumsum(_lengths(fields)[codes])])
    lengths = np.diff(ends[offsets])
    kinds = lengths
    if isinstance(column, pa.Array) and column.null_count:
        kinds = np.where(column.is_null().to_numpy(zero_copy_only=False), -1, lengths)
    before, sizes = fragments.add_rendered(kinds, partial(_before, name.encode(), kind))
    return _Part(before, offsets, fragments.add(fields) + codes), sizes + lengths


def _coded(values: pa.Array) -> tuple[np.ndarray, pa.Array, bytes]:
    """Codes of `values`, what each code stands for as it is encoded, and the kind of list that holds it."""
    if pa.types.is_integer(values.type):
        coded = values.dictionary_encode()
        return coded.indices.to_numpy(), _varints(coded.dictionary.to_numpy()), _INT64_LIST
    if pa.types.is_floating(values.type):
        coded = pa.array(values.to_numpy().astype("<f4").view(np.int32)).dictionary_encode()
        numbers = coded.dictionary.to_numpy()
        fields = _binary(np.arange(len(numbers) + 1) * 4, pa.py_buffer(numbers.tobytes()))
        return coded.indices.to_numpy(), fields, _FLOAT_LIST
    return np.arange(len(values)), _bytes_fields(values), _BYTES_LIST


@lru_cache(maxsize=65536)
def _head(size: int) -> bytes:
    """Everything before features of `size` bytes: the TFRecord's header, and the field that holds the features."""
    before = _FIELD_1 + varint(size)
    length = struct.pack("<Q", len(before) + size)
    return length + _masked(np.array([google_crc32c.value(length)], np.uint32)).tobytes() + before


@lru_cache(maxsize=65536)
def _before(name: bytes, kind: bytes, length: int) -> bytes:
    """Everything before values of `length` bytes; the entry's values come last in it. -1: it has no kind."""
    key = _FIELD_1 + varint(len(name)) + name
    feature, values = b"", max(length, 0)
    if length >= 0:
        # Numbers are packed into one field, which is left out if it is empty.
        packed = _FIELD_1 + varint(values) if kind != _BYTES_LIST and values else b""
        feature = kind + varint(len(packed) + values) + packed
    entry = key + _FIELD_2 + varint(len(feature) + values) + feature
    return _FIELD_1 + varint(len(entry) + values) + entry


def _bytes_fields(values: pa.Array) -> pa.Array:
    """Each of `values` as a field of `BytesList`."""
    coded = pa.array(_lengths(values)).dictionary_encode()
    heads = pa.array([_FIELD_1 + varint(length) for length in coded.dictionary.to_pylist()], pa.large_binary())
    return arrow.binary_join_element_wise(heads.take(coded.indices), values, pa.scalar(b"", pa.large_binary()))


def _varints(numbers: np.ndarray) -> pa.Array:
    """Each of the int64 `numbers` as a varint."""
    rest = numbers.view(np.uint64)
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


def _masked(crcs: np.ndarray) -> np.ndarray:
    """CRC-32Cs [records] as TFRecords have them [records, bytes]."""
    masked = ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(_CRC_MASK)
    return masked.astype("<u4").view(np.uint8).reshape(-1, _CRC_BYTES)


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
