"""Shuffles rows through files: a frame is cut by key into the batches of one Arrow file.

Beam groups only the addresses of the batches (`Slice`). So a runner that keeps its shuffles in memory, as the
local ones do, holds a few bytes per batch however large the log is, and a worker holds one key at a time.
The files must be where all workers can read them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from components.example_gen.files import create, open_raw

# Of an object store only a batch and the file's end are wanted, not MiBs around them.
_AHEAD_BYTES = 64 << 10
_MULTIPLIER = np.uint64(0x100000001B3)
_MIX = np.uint64(0xFF51AFD7ED558CCD)


@dataclass(frozen=True, order=True)
class Slice:
    """Where the rows of one key are: batch `batch` of the Arrow file at `path`."""

    path: str
    batch: int
    rows: int


def stable_hash(texts: pl.Series) -> np.ndarray:
    """A hash [rows] uint64 of each text's bytes, the same on every machine; null hashes as the empty text.

    The polynomial hash `sum of byte_i * m^i` mod 2^64 of all rows at once, over Arrow's one buffer of bytes,
    then mixed. It only has to spread keys; nothing relies on it being free of collisions.
    """
    array = texts.fill_null("").to_arrow(compat_level=pl.CompatLevel.oldest())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    lengths = np.diff(offsets)
    data = array.buffers()[2]
    longest = int(lengths.max(initial=0))
    if data is None or not longest:
        return np.zeros(len(array), np.uint64)
    used = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].astype(np.uint64)
    powers = np.full(longest, _MULTIPLIER, np.uint64)
    powers[0] = 1
    np.multiply.accumulate(powers, out=powers)
    starts = offsets[:-1] - offsets[0]
    within = np.arange(len(used)) - np.repeat(starts, lengths)
    sums = np.zeros(len(used) + 1, np.uint64)
    np.cumsum((used + np.uint64(1)) * powers[within], out=sums[1:])
    hashes = sums[starts + lengths] - sums[starts]
    hashes ^= hashes >> np.uint64(33)
    hashes *= _MIX
    hashes ^= hashes >> np.uint64(29)
    return hashes


def write_partitions(frame: pl.DataFrame, by: pl.Series, keys: int, path: str) -> list[tuple[int, Slice]]:
    """Writes `frame` to the Arrow file `path`, one batch per key; gives the batches that have rows.

    Args:
      frame: any rows.
      by: text per row; its hash modulo `keys` is the row's key.
      keys: how many keys there are.
      path: of the file to write.
    """
    if frame.is_empty():
        return []
    return write_batches(frame, stable_hash(by) % np.uint64(keys), keys, path)


def write_batches(frame: pl.DataFrame, key: np.ndarray, keys: int, path: str) -> list[tuple[int, Slice]]:
    """As `write_partitions`, with the rows' keys [rows] given: numbers below `keys`."""
    if frame.is_empty():
        return []
    # NumPy sorts 16-bit numbers by counting; there are seldom more keys.
    key = key.astype(np.uint16 if keys <= 1 << 16 else np.uint32)
    order = np.argsort(key, kind="stable")
    ends = np.cumsum(np.bincount(key, minlength=keys))
    table = frame[order].rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    slices: list[tuple[int, Slice]] = []
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with create(path) as stream, pa.ipc.new_file(stream, table.schema, options=options) as writer:
        start = 0
        for number, end in enumerate(ends.tolist()):
            if end > start:
                for batch in table.slice(start, end - start).to_batches():
                    writer.write_batch(batch)
                slices.append((number, Slice(path, len(slices), end - start)))
            start = end
    return slices


def read_slices(slices: Iterable[Slice], schema: pl.Schema) -> pl.DataFrame:
    """The columns of `schema` of the rows of `slices`, in the order of their addresses; none if there are none."""
    frames = []
    for part in sorted(slices):
        with open_raw(part.path, _AHEAD_BYTES) as stream:
            reader = pa.ipc.open_file(stream)
            if len(schema) < len(reader.schema):
                fields = [reader.schema.get_field_index(name) for name in schema]
                reader = pa.ipc.open_file(stream, options=pa.ipc.IpcReadOptions(included_fields=fields))
            batch = reader.get_batch(part.batch)
            frames.append(pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch]))))
    if not frames:
        return schema.to_frame()
    return pl.concat(frames).select(schema.names()).cast(dict(schema)).rechunk()  # type: ignore[arg-type]
