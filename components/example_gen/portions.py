"""Cuts a key that is too much to be worked at once, as where one user did a third of everything, into portions.

Users who are not much by themselves are put into groups; one who is, a robot as a rule, is worked in stretches of time
(see `stretches`). The examples are those of the key as a whole, and what a worker holds at once does not grow with it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from components.example_gen.columns import INTERACTIONS, REQUESTS
from components.example_gen.examples import UserLog
from components.example_gen.job import Job
from components.example_gen.partition import Slice, read_slices, stable_hash, write_batches
from components.example_gen.splits import Splits
from components.example_gen.stretches import Chunks, Stretch, read_stretches, stretches
from components.example_gen.users import USER_ID

# The bounds of a chunk are found on about so many sampled rows.
_SAMPLES_PER_CHUNK = 64


@dataclass(frozen=True)
class Users:
    """Some users of a key: `only` one, or a group of those that are not worked `apart`."""

    only: str | None = None
    apart: tuple[str, ...] = ()
    group: int = 0
    groups: int = 1

    def among(self, users: pl.Series) -> pl.Series:
        """Which of `users` they are."""
        if self.only is not None:
            return users == self.only
        return ~users.is_in(list(self.apart)) & pl.Series(_groups(users, self.groups) == self.group)


@dataclass(frozen=True)
class Portion:
    """What is worked at once: all of a key, some of its users, or one of them for some time.

    Attributes:
      key: the key's number.
      number: the portion's within the key.
      requests: of the users; of a single one also earlier ones, as far as they are history.
      interactions: of the users; the same holds.
      profiles: of all users of the key.
      users: who they are.
      splits: examples of which time are written.
      states: whether the users' states at the end of the log are.
    """

    key: int
    number: int
    requests: tuple[Stretch, ...]
    interactions: tuple[Stretch, ...]
    profiles: tuple[Slice, ...]
    users: Users
    splits: Splits
    states: bool

    @property
    def name(self) -> str:
        """Names what is written of it; unique in the job."""
        return f"{self.key:05d}-{self.number:05d}" if self.number else f"{self.key:05d}"


def owners(requests: pl.DataFrame) -> pl.Series:
    """By what requests are kept together; those of nobody are spread by their id, as they meet no behaviour anyway."""
    return requests[USER_ID].zip_with(requests[USER_ID].is_not_null(), requests["request_id"])


def user_log(portion: Portion, profiles: pl.DataFrame) -> UserLog:
    """What is known of the users of a portion; `profiles` has one row per user."""
    return UserLog(
        read_stretches(portion.requests, REQUESTS),
        read_stretches(portion.interactions, INTERACTIONS),
        profiles.filter(portion.users.among(profiles[USER_ID])),
    )


def cut_key(
    key: int,
    requests: Iterable[Slice],
    interactions: Iterable[Slice],
    profiles: Iterable[Slice],
    splits: Splits,
    job: Job,
) -> Iterator[Portion]:
    """The portions of a key, each of about `rows_at_once` requests and interactions.

    Rows of one user and one moment stay together, however many they are.
    """
    asked, did = tuple(sorted(requests)), tuple(sorted(interactions))
    whole = Portion(key, 0, (Stretch(asked),), (Stretch(did),), tuple(sorted(profiles)), Users(), splits, states=True)
    if sum(piece.rows for piece in asked + did) <= job.config.rows_at_once:
        yield whole
        return
    for number, portion in enumerate(_cut(whole, _BigKey(key, asked, did, job))):
        yield replace(portion, number=number)


def _cut(whole: Portion, big: "_BigKey") -> Iterator[Portion]:
    rows = big.rows_by_user()
    apart = rows.filter(pl.col("rows") > big.limit).sort(USER_ID)
    rest = big.rows - int(apart["rows"].sum())
    others = Users(apart=tuple(apart[USER_ID]), groups=max(1, math.ceil(rest / big.limit)))
    bounds = big.chunk_bounds(dict(apart.iter_rows()))
    asked = big.into_pieces("requests", REQUESTS, others, bounds)
    did = big.into_pieces("interactions", INTERACTIONS, others, bounds)
    for group in range(others.groups):
        yield replace(
            whole,
            requests=(Stretch(asked[group]),),
            interactions=(Stretch(did[group]),),
            users=replace(others, group=group),
        )
    first = others.groups
    for user, inner in bounds.items():
        pieces = range(first, first + len(inner) + 1)
        chunks = Chunks(inner, [asked[piece] for piece in pieces], [did[piece] for piece in pieces])
        for piece in stretches(chunks, whole.splits, big.job, f"{whole.key:05d}-{first}"):
            yield replace(
                whole,
                requests=piece.requests,
                interactions=piece.interactions,
                users=Users(only=user),
                splits=piece.splits,
                states=piece.at_end,
            )
        first = pieces.stop


@dataclass(frozen=True)
class _BigKey:
    """A key's rows, read a few files at a time."""

    key: int
    requests: tuple[Slice, ...]
    interactions: tuple[Slice, ...]
    job: Job

    @property
    def limit(self) -> int:
        return self.job.config.rows_at_once

    @property
    def rows(self) -> int:
        return sum(piece.rows for piece in self.requests + self.interactions)

    def rows_by_user(self) -> pl.DataFrame:
        """The rows of each user, without those of nobody."""
        schema = pl.Schema({USER_ID: pl.String()})
        total = pl.Schema({USER_ID: pl.String(), "rows": pl.UInt32()}).to_frame()
        for block in self._blocks(self.requests + self.interactions, schema):
            counts = block.drop_nulls().group_by(USER_ID).agg(pl.len().alias("rows"))
            total = pl.concat([total, counts]).group_by(USER_ID).agg(pl.col("rows").sum())
        return total

    def chunk_bounds(self, rows_of: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Where to cut users in time so that each chunk has about `limit` of their rows: epoch milliseconds, rising."""
        schema = pl.Schema({USER_ID: pl.String(), "timestamp_ms": pl.Int64()})
        step = max(1, self.limit // _SAMPLES_PER_CHUNK)
        samples: dict[str, list[np.ndarray]] = {user: [] for user in rows_of}
        seen = dict.fromkeys(rows_of, step // 2)
        for block in self._blocks(self.requests + self.interactions, schema) if rows_of else ():
            for user, (_, rows) in _places(block[USER_ID], list(rows_of)).items():
                times = np.sort(block["timestamp_ms"].to_numpy()[rows])
                # Every so many rows of the user, however many of these each block has.
                samples[user].append(times[-seen[user] % step :: step])
                seen[user] += len(times)
        bounds = {}
        for user, found in samples.items():
            times = np.sort(np.concatenate(found))
            chunks = math.ceil(rows_of[user] / self.limit)
            bounds[user] = np.unique(times[np.arange(1, chunks) * len(times) // chunks])
        return bounds

    def into_pieces(
        self, what: str, schema: pl.Schema, others: Users, bounds: Mapping[str, np.ndarray]
    ) -> dict[int, tuple[Slice, ...]]:
        """Writes rows anew by piece: the groups of the others come first, then each user's chunks."""
        source = self.requests if schema == REQUESTS else self.interactions
        found: dict[int, list[Slice]] = defaultdict(list)
        firsts = others.groups + np.cumsum([0, *(len(inner) + 1 for inner in bounds.values())])
        for number, block in enumerate(self._blocks(source, schema)):
            times = block["timestamp_ms"].to_numpy()
            grouped_by = owners(block) if source is self.requests else block[USER_ID]
            pieces = _groups(grouped_by, others.groups).astype(np.int64)
            for user, (place, rows) in _places(block[USER_ID], list(bounds)).items():
                pieces[rows] = firsts[place] + np.searchsorted(bounds[user], times[rows], side="right")
            path = self.job.scratch("pieces", f"{what}-{self.key:05d}-{number:05d}.arrow")
            for piece, written in write_batches(block, pieces, int(firsts[-1]), path):
                found[piece].append(written)
        return defaultdict(tuple, {piece: tuple(parts) for piece, parts in found.items()})

    def _blocks(self, slices: Iterable[Slice], schema: pl.Schema) -> Iterator[pl.DataFrame]:
        """The rows in files of together about `limit` rows at a time."""
        some: list[Slice] = []
        for piece in slices:
            if some and sum(one.rows for one in some) + piece.rows > self.limit:
                yield read_slices(some, schema)
                some = []
            some.append(piece)
        if some:
            yield read_slices(some, schema)


def _places(users: pl.Series, some: Sequence[str]) -> dict[str, tuple[int, np.ndarray]]:
    """For each of `some` users that is among `users`: its place in `some`, and its rows in `users`, rising."""
    numbers = users.replace_strict(some, range(len(some)), default=-1, return_dtype=pl.Int64).to_numpy()
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    runs = np.split(order, starts)[1:]
    return {some[number]: (number, run) for number, run in zip(numbers[order[starts]].tolist(), runs, strict=True)}


def _groups(users: pl.Series, groups: int) -> np.ndarray:
    """The group of each user: by other bits of the hash than their key is."""
    return (stable_hash(users) >> np.uint64(32)) % np.uint64(groups)
