"""Cuts a key that is too much to be worked at once, as where one user did a third of everything, into portions.

Users who are not much by themselves are put into groups; one who is, a robot as a rule, is worked in stretches of time
(see `stretches`). The examples are those of the key as a whole, and what a worker holds at once does not grow with it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

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
    """By what requests are kept together; those of nobody are spread by their id, as they meet no behavior anyway."""
    return requests[USER_ID].zip_with(requests[USER_ID].is_not_null(), requests["request_id"])


def user_log(portion: Portion, profiles: pl.DataFrame, job: Job) -> tuple[UserLog, dict[str, int]]:
    """What is known of the users of a portion, and counters of the robots among them, who are left out.

    Args:
      portion: says who and when.
      profiles: one row per user.
      job: says how much a robot does.
    """
    requests = read_stretches(portion.requests, REQUESTS)
    interactions = read_stretches(portion.interactions, INTERACTIONS)
    users = profiles.filter(portion.users.among(profiles[USER_ID]))
    limit = job.config.max_user_events
    if limit is None or portion.users.only is not None:
        return UserLog(requests, interactions, users), {}
    robots = _rows_by_user(requests, interactions).filter(pl.col("rows") > limit)
    others = [
        frame.join(robots, on=USER_ID, how="anti", maintain_order="left") for frame in (requests, interactions, users)
    ]
    return UserLog(*others), _robot_counters(robots)


def cut_key(
    key: int,
    requests: Iterable[Slice],
    interactions: Iterable[Slice],
    profiles: Iterable[Slice],
    splits: Splits,
    job: Job,
) -> tuple[list[Portion], dict[str, int]]:
    """The portions of a key, each of about `rows_at_once` requests and interactions, and counters.

    Rows of one user and one moment stay together, however many they are. The counters are of users who are worked in
    stretches, and of robots that are too much for that; others are found by `user_log`.
    """
    asked, did = tuple(sorted(requests)), tuple(sorted(interactions))
    whole = Portion(key, 0, (Stretch(asked),), (Stretch(did),), tuple(sorted(profiles)), Users(), splits, states=True)
    if sum(piece.rows for piece in asked + did) <= job.config.rows_at_once:
        return [whole], {}
    big = _BigKey(key, asked, did, job)
    apart = big.rows_by_user().filter(pl.col("rows") > big.limit).sort(USER_ID)
    robots = apart.filter(pl.col("rows") > (job.config.max_user_events or big.rows))
    counters = {"users.worked_in_stretches": len(apart) - len(robots)} | _robot_counters(robots)
    portions = _cut(whole, replace(big, left_out=tuple(robots[USER_ID])), apart)
    return [replace(portion, number=number) for number, portion in enumerate(portions)], counters


def _cut(whole: Portion, big: "_BigKey", apart: pl.DataFrame) -> Iterator[Portion]:
    """The portions of a key, of whose users some are much by themselves: `apart` has the `rows` of each of these."""
    rest = big.rows - int(apart["rows"].sum())
    others = Users(apart=tuple(apart[USER_ID]), groups=max(1, math.ceil(rest / big.limit)))
    bounds = big.chunk_bounds({user: rows for user, rows, _ in apart.iter_rows() if user not in big.left_out})
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


def _rows_by_user(requests: pl.DataFrame, interactions: pl.DataFrame) -> pl.DataFrame:
    """The `rows` and the `requests` of each user, without those of nobody."""
    both = [requests.select(USER_ID, requests=pl.lit(1)), interactions.select(USER_ID, requests=pl.lit(0))]
    rows, asked = pl.len().cast(pl.Int64).alias("rows"), pl.col("requests").sum().cast(pl.Int64)
    return pl.concat(both).drop_nulls().group_by(USER_ID).agg(rows, asked)


def _robot_counters(robots: pl.DataFrame) -> dict[str, int]:
    return {"users.robots": len(robots), "requests.of_robots": int(robots["requests"].sum())}


@dataclass(frozen=True)
class _BigKey:
    """A key's rows without those of the users who are `left_out`, read a few files at a time."""

    key: int
    requests: tuple[Slice, ...]
    interactions: tuple[Slice, ...]
    job: Job
    left_out: tuple[str, ...] = ()

    @property
    def limit(self) -> int:
        return self.job.config.rows_at_once

    @property
    def rows(self) -> int:
        return sum(piece.rows for piece in self.requests + self.interactions)

    def rows_by_user(self) -> pl.DataFrame:
        """As the function of this name, of the whole key."""
        schema = pl.Schema({USER_ID: pl.String()})
        nothing = schema.to_frame()
        total = _rows_by_user(nothing, nothing)
        counts = [(_rows_by_user(block, nothing) for block in self._blocks(self.requests, schema))]
        counts.append(_rows_by_user(nothing, block) for block in self._blocks(self.interactions, schema))
        for found in chain(*counts):
            total = pl.concat([total, found]).group_by(USER_ID).agg(pl.col("rows", "requests").sum())
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
        for piece in (*slices, None):
            if some and (piece is None or sum(one.rows for one in some) + piece.rows > self.limit):
                rows = read_slices(some, schema)
                left_out = pl.col(USER_ID).is_in(list(self.left_out)).fill_null(value=False)
                yield rows.filter(~left_out) if self.left_out else rows
                some = []
            if piece is not None:
                some.append(piece)


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
