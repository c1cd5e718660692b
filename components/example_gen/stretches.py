"""Works one user in stretches of time, each with as much of what came before as the behavior windows can see.

A window [time - since, time - until) looks at no more than the `scan` newest of its events. For the requests of a
stretch [t0, t1) it is therefore enough to know the events of [t0 - until, t1 - until), for the `until` of each window,
and the `scan` newest before them. The user's rows come in chunks of about equal size. A stretch begins where a chunk
does, and wherever that lies `until` back for some window: so each of its ranges lies within one chunk, however unevenly
the user's events are spread over time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from components.example_gen.columns import EVENT_ID, EVENT_TYPE, INTERACTIONS, REQUESTS
from components.example_gen.job import Job
from components.example_gen.partition import Slice, read_slices, write_batches
from components.example_gen.splits import Splits


@dataclass(frozen=True)
class Stretch:
    """The rows in `slices`; of them those from `since` (epoch milliseconds) on."""

    slices: tuple[Slice, ...]
    since: int | None = None


@dataclass(frozen=True)
class Chunks:
    """A user's requests and interactions, cut in time at `bounds` (epoch milliseconds, rising).

    Chunk n holds the moments [bounds[n - 1], bounds[n]).
    """

    bounds: np.ndarray
    requests: Sequence[tuple[Slice, ...]]
    interactions: Sequence[tuple[Slice, ...]]


@dataclass(frozen=True)
class Piece:
    """A stretch of a user's time.

    Attributes:
      requests: those of the stretch and earlier ones.
      interactions: what they know of.
      splits: those of the log, within the stretch.
      at_end: whether it stands for the user's state at the end of the log, and for no request.
    """

    requests: tuple[Stretch, ...]
    interactions: tuple[Stretch, ...]
    splits: Splits
    at_end: bool


def read_stretches(stretches: Sequence[Stretch], schema: pl.Schema) -> pl.DataFrame:
    """The rows of `stretches`, none of which is in two of them."""
    frames = []
    for stretch in stretches:
        rows = read_slices(stretch.slices, schema)
        frames.append(rows if stretch.since is None else rows.filter(pl.col("timestamp_ms") >= stretch.since))
    return pl.concat(frames).rechunk()


def stretches(chunks: Chunks, splits: Splits, job: Job, name: str) -> Iterator[Piece]:
    """A user's time from the beginning of train to the end of eval, in pieces; the last is that of the state.

    Args:
      chunks: all that the user did.
      splits: of the log.
      job: where to write the chunks anew, and the windows.
      name: of the user within the job's files.
    """
    untils = job.config.windows.untils_ms
    starts = {int(bound) + until for bound in chunks.bounds for until in untils}
    marks = sorted({splits.train_start, splits.end} | {t for t in starts if splits.train_start < t < splits.end})
    stored, asked = _store(chunks, np.asarray(marks), job, name)
    for since, until, requests in zip(marks[:-1], marks[1:], asked, strict=True):
        if requests:
            yield Piece(*stored.seen_from(since, untils), splits.within(since, until), at_end=False)
    yield Piece(*stored.seen_from(splits.end, untils), splits.within(splits.end, splits.end), at_end=True)


@dataclass(frozen=True)
class _Kind:
    """Requests or interactions.

    Attributes:
      order: what the behavior windows order them by.
      scanned_by: the windows look at the newest of all, and the newest of each value of these columns.
    """

    name: str
    schema: pl.Schema
    order: tuple[str, ...]
    scanned_by: tuple[str, ...] = ()

    def newest(self, rows: pl.DataFrame, scan: int) -> pl.DataFrame:
        """Of rows in their order those that some window may look at later."""
        ranks = [pl.int_range(pl.len(), 0, -1)]
        ranks += [rank.over(column) for rank in ranks for column in self.scanned_by]
        return rows.filter(pl.any_horizontal(*(rank <= scan for rank in ranks)))


_REQUESTS = _Kind("requests", REQUESTS, ("timestamp_ms", "request_id", "query"))
_INTERACTIONS = _Kind("interactions", INTERACTIONS, ("timestamp_ms", EVENT_ID, "item_id"), (EVENT_TYPE,))


@dataclass(frozen=True)
class _Stored:
    """Chunks, each in one place, and what of everything before each of them a window may look at."""

    bounds: np.ndarray
    chunks: dict[str, list[tuple[Slice, ...]]]
    before: dict[str, list[tuple[Slice, ...]]]

    def seen_from(self, moment: int, untils: Sequence[int]) -> tuple[tuple[Stretch, ...], tuple[Stretch, ...]]:
        """The requests and the interactions that windows look at that end `untils` before `moment` or a bit later."""
        chunks = [int(np.searchsorted(self.bounds, moment - until, side="right")) for until in untils]
        return self._rows(_REQUESTS, {chunks[0]}), self._rows(_INTERACTIONS, set(chunks))

    def _rows(self, kind: _Kind, chunks: set[int]) -> tuple[Stretch, ...]:
        found = []
        last = None
        for chunk in sorted(chunks):
            if last is None or last < chunk - 1:
                # What lies before the end of the last chunk is in that chunk, or among what came before it.
                found.append(Stretch(self.before[kind.name][chunk], None if last is None else int(self.bounds[last])))
            found.append(Stretch(self.chunks[kind.name][chunk]))
            last = chunk
        return tuple(found)


def _store(chunks: Chunks, marks: np.ndarray, job: Job, name: str) -> tuple[_Stored, np.ndarray]:
    """Brings each chunk into one place and order, and counts the requests between `marks`."""
    asked = np.zeros(len(marks) - 1, np.int64)
    stored = _Stored(chunks.bounds, {}, {})
    for kind, parts in ((_REQUESTS, chunks.requests), (_INTERACTIONS, chunks.interactions)):
        whole, before = stored.chunks.setdefault(kind.name, []), stored.before.setdefault(kind.name, [])
        newest = kind.schema.to_frame()
        for number, part in enumerate(parts):
            rows = read_slices(part, kind.schema).sort(kind.order)
            if kind is _REQUESTS:
                asked += np.histogram(rows["timestamp_ms"].to_numpy(), marks)[0]
            path = job.scratch("stretches", f"{kind.name}-{name}-{number:05d}")
            before.append(_write(newest, f"{path}-before.arrow"))
            whole.append(_write(rows, f"{path}.arrow"))
            newest = kind.newest(pl.concat([newest, rows]), job.config.windows.scan)
    return stored, asked


def _write(rows: pl.DataFrame, path: str) -> tuple[Slice, ...]:
    return tuple(written for _, written in write_batches(rows, np.zeros(len(rows), np.int64), 1, path))
