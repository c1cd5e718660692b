"""Partitions rows by a hash through files: one Arrow file per frame, with one batch per partition.

Beam groups only the references to these batches (`BatchRef`). So a runner that keeps its shuffles in memory, as the
local ones do, holds a few bytes per batch however large the log is, and a worker holds one partition at a time.
The files must be where all workers can read them.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from components.example_gen.columns import INTERACTIONS, REQUESTS, USER_ID
from components.example_gen.files import create, is_remote, open_raw

# Of an object store only a batch and the file's end are wanted, not MiBs around them.
_AHEAD_BYTES = 64 << 10
# Rows that are held at once while a user's oldest are dropped.
_ROWS_AT_ONCE = 100_000
_USER_TIMES = pl.Schema({USER_ID: pl.String(), "timestamp_ms": pl.Int64()})
_MULTIPLIER = np.uint64(0x100000001B3)
_MIX = np.uint64(0xFF51AFD7ED558CCD)


@dataclass(frozen=True, order=True)
class BatchRef:
    """A reference to rows of one partition: batch `batch` of the Arrow file at `path`."""

    path: str
    batch: int
    rows: int


def stable_hash(texts: pl.Series) -> np.ndarray:
    """A hash [rows] uint64 of each text's bytes, the same on every machine; null hashes as the empty text.

    The polynomial hash `sum of byte_i * m^i` mod 2^64 of all rows at once, over Arrow's one buffer of bytes,
    then mixed. It only has to spread rows; nothing relies on it being free of collisions.
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


def write_partitions(frame: pl.DataFrame, by: pl.Series, partitions: int, path: str) -> list[tuple[int, BatchRef]]:
    """Writes `frame` to the Arrow file `path`, one batch per partition; returns those that have rows.

    Args:
      frame: any rows.
      by: text per row, or its hash as an unsigned number; the hash modulo `partitions` is the row's partition.
      partitions: how many there are.
      path: of the file to write.
    """
    if frame.is_empty():
        return []
    partition = (by.to_numpy() if by.dtype == pl.UInt64 else stable_hash(by)) % np.uint64(partitions)
    # NumPy sorts 16-bit numbers by counting, and there are no more partitions than that.
    order = np.argsort(partition.astype(np.uint16), kind="stable")
    ends = np.cumsum(np.bincount(partition.astype(np.int64), minlength=partitions))
    table = frame[order].rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    refs: list[tuple[int, BatchRef]] = []
    # Local files are mapped into memory as they are; others are better small.
    options = pa.ipc.IpcWriteOptions(compression="lz4" if is_remote(path) else None, use_threads=False)
    with create(path) as stream, pa.ipc.new_file(stream, table.schema, options=options) as writer:
        start = 0
        for number, end in enumerate(ends.tolist()):
            if end > start:
                for batch in table.slice(start, end - start).to_batches():
                    writer.write_batch(batch)
                refs.append((number, BatchRef(path, len(refs), end - start)))
            start = end
    return refs


def read_partition(refs: Iterable[BatchRef], schema: pl.Schema) -> pl.DataFrame:
    """The columns of `schema` of the rows that `refs` refer to, in the order of paths; none if there are none."""
    batches = []
    for ref in sorted(refs):
        with pa.memory_map(ref.path) if os.path.exists(ref.path) else open_raw(ref.path, _AHEAD_BYTES) as stream:
            reader = pa.ipc.open_file(stream)
            if len(schema) < len(reader.schema):
                fields = [reader.schema.get_field_index(name) for name in schema]
                reader = pa.ipc.open_file(stream, options=pa.ipc.IpcReadOptions(included_fields=fields))
            batches.append(reader.get_batch(ref.batch))
    if not batches:
        return schema.to_frame()
    rows = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(batches)))
    return rows.select(schema.names()).cast(dict(schema))  # type: ignore[arg-type]


def read_newest(
    requests: Iterable[BatchRef], interactions: Iterable[BatchRef], max_user_events: int
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """A partition's requests and interactions without each user's oldest beyond `max_user_events` of both together.

    A user's rows of one millisecond are kept or dropped together, so no order of rows or files matters. Requests of
    no user are all kept. What is dropped is never in memory as a whole.

    Returns:
      Requests (schema `columns.REQUESTS`), interactions (`columns.INTERACTIONS`), and counters of users that are over
      the cap and of their dropped rows.
    """
    tables = ((sorted(requests), REQUESTS), (sorted(interactions), INTERACTIONS))
    refs = [ref for table, _ in tables for ref in table]
    # Where the rows of all users are no more than the cap, nobody's are.
    capped = _capped_users(refs if _rows(refs) > max_user_events else [], max_user_events)
    asked, done = (
        pl.concat([schema.to_frame(), *(_newer(rows, capped) for rows in _read_some(table, schema))])
        if len(capped)
        else read_partition(table, schema)
        for table, schema in tables
    )
    counters = {
        "events.users_over_max_user_events": len(capped),
        "events.requests_over_max_user_events": _rows(tables[0][0]) - len(asked),
        "events.interactions_over_max_user_events": _rows(tables[1][0]) - len(done),
    }
    return asked, done, counters


def _capped_users(refs: Sequence[BatchRef], most: int) -> pl.DataFrame:
    """The users with more than `most` rows, and `until`: the time of each one's newest row that is too many."""
    newest = _USER_TIMES.to_frame()
    for rows in _read_some(refs, _USER_TIMES):
        newest = pl.concat([newest, rows.drop_nulls()]).sort("timestamp_ms", descending=True)
        newest = newest.group_by(USER_ID).head(most + 1)
    users = newest.group_by(USER_ID).agg(pl.len().alias("rows"), pl.col("timestamp_ms").min().alias("until"))
    return users.filter(pl.col("rows") > most).drop("rows")


def _newer(rows: pl.DataFrame, capped: pl.DataFrame) -> pl.DataFrame:
    joined = rows.join(capped, on=USER_ID, how="left", maintain_order="left")
    return joined.filter((pl.col("timestamp_ms") > pl.col("until")).fill_null(value=True)).drop("until")


def _read_some(refs: Sequence[BatchRef], schema: pl.Schema) -> Iterator[pl.DataFrame]:
    """The rows that sorted `refs` refer to, about `_ROWS_AT_ONCE` at a time."""
    some: list[BatchRef] = []
    for ref in refs:
        if some and _rows(some) + ref.rows > _ROWS_AT_ONCE:
            yield read_partition(some, schema)
            some = []
        some.append(ref)
    if some:
        yield read_partition(some, schema)


def _rows(refs: Iterable[BatchRef]) -> int:
    return sum(ref.rows for ref in refs)
