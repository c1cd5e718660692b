"""Search features: requests with the point-in-time-correct history and the profile of their users.

A user's history is windows of distinct values, newest first, strictly before the request. All requests of a partition
are processed at once with NumPy: a user's events lie side by side in the order of time, so a window is a range of them,
found by binary search. An event counts if no later event of the same window has its value; the position of the next
event with the same value, found once, answers that for every window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from components.example_gen.columns import EVENT_ID, EVENT_TYPE, USER_ID
from components.example_gen.config import WindowConfig
from components.example_gen.encode import Column, Dictionary, Lists, single_values, value_lists
from components.example_gen.times import TimeSplits
from schema import features
from schema.features import EventType

# Bounds the memory of one step, not its result.
_EVENTS_AT_ONCE = 4_000_000
# A robot's request has several hundred items in its history, so that these lists together take the memory.
_ROWS_AT_ONCE = 16_384
_LARGEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Moments:
    """Whose history, and at which moment: user codes [rows] (-1: nobody) and epoch milliseconds [rows]."""

    users: np.ndarray
    times: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """The rows by user, then time."""
        return np.lexsort((self.times, self.users))


class History:
    """The events of some users, from which windows are taken.

    Args:
      events: user (code), timestamp_ms, code; ordered by user, time and whatever breaks ties.
      values: what the codes stand for: item ids, queries.
    """

    def __init__(self, events: pl.DataFrame, values: Dictionary):
        self._values = values
        self._codes = events["code"].to_numpy()
        users, times = events["user"].to_numpy(), events["timestamp_ms"].to_numpy()
        self._earliest = int(times.min()) if len(times) else 0
        # One number per (user, time), so that one binary search finds both.
        self._span = (int(times.max()) - self._earliest + 2) if len(times) else 2
        self._times: np.ndarray | None = None
        if (int(users.max(initial=0)) + 1) * self._span > _LARGEST:
            # A wrong clock makes the span a century; then times are counted by their order.
            self._times = np.unique(times)
            self._span = len(self._times) + 1
        self._keys = self._key(users, times)
        same = users * max(len(values), 1) + self._codes
        by_value = np.argsort(same, kind="stable")
        self._next = np.full(len(same), len(same), np.int64)
        repeats = same[by_value[1:]] == same[by_value[:-1]]
        self._next[by_value[:-1][repeats]] = by_value[1:][repeats]

    def window(self, moments: Moments, since: int, until: int, cap: int, scan: int) -> Lists:
        """Distinct values of each user's events in [time - since, time - until), newest first.

        Args:
          moments: whose, and when.
          since: milliseconds before the moment at which the window begins.
          until: milliseconds before the moment at which it ends; an event at its end is not in it.
          cap: at most this many values.
          scan: at most this many of the window's newest events are looked at.
        """
        starts, ends = self._before(moments, since), self._before(moments, until)
        starts = np.maximum(starts, ends - scan)
        lengths: list[np.ndarray] = [np.zeros(1, np.int64)]
        found: list[np.ndarray] = []
        for first, last in _runs(ends - starts):
            kept, events = self._newest_first(starts[first:last], ends[first:last], cap)
            lengths.append(kept)
            found.append(self._codes[events])
        codes = np.concatenate(found) if found else np.zeros(0, np.int64)
        return Lists(np.cumsum(np.concatenate(lengths)), codes, self._values)

    def _before(self, moments: Moments, milliseconds: int) -> np.ndarray:
        """How many events [moments] come before the moment less `milliseconds`, counted from the first user's."""
        known = moments.users >= 0
        keys = self._key(np.where(known, moments.users, 0), moments.times - milliseconds)
        # Sorted keys are found several times faster than scattered ones.
        order = moments.order
        places = np.empty(len(keys), np.int64)
        places[order] = np.searchsorted(self._keys, keys[order])
        return np.where(known, places, 0)

    def _key(self, users: np.ndarray, times: np.ndarray) -> np.ndarray:
        if self._times is not None:
            return users * self._span + np.searchsorted(self._times, times)
        return users * self._span + np.clip(times - self._earliest, 0, self._span - 1)

    def _newest_first(self, starts: np.ndarray, ends: np.ndarray, cap: int) -> tuple[np.ndarray, np.ndarray]:
        """How many of the newest events of distinct values in [starts, ends) each row has [rows], and which."""
        # Few values repeat so often that more is to be looked at; a robot's windows are much longer than this.
        near = np.maximum(starts, ends - 2 * cap)
        counts, events = self._look_at(near, ends, cap)
        short = (counts < cap) & (near > starts)
        if not short.any():
            return counts, events
        more, older = self._look_at(starts[short], ends[short], cap)
        enough = events[np.repeat(~short, counts)]
        counts[short] = more
        again = np.repeat(short, counts)
        events = np.empty(len(again), np.int64)
        events[~again], events[again] = enough, older
        return counts, events

    def _look_at(self, starts: np.ndarray, ends: np.ndarray, cap: int) -> tuple[np.ndarray, np.ndarray]:
        counts = ends - starts
        firsts = np.cumsum(counts) - counts
        events = np.repeat(ends - 1 + firsts, counts) - np.arange(counts.sum())
        distinct = self._next[events] >= np.repeat(ends, counts)
        seen = np.concatenate([[0], np.cumsum(distinct)])
        events = events[distinct]
        before, kept = seen[firsts], seen[firsts + counts] - seen[firsts]
        if kept.max(initial=0) > cap:
            rank = np.arange(len(events)) - np.repeat(before, kept)
            events = events[rank < cap]
            kept = np.minimum(kept, cap)
        return kept, events


class UserHistory:
    """The user history of some users, at any moment.

    Args:
      requests: user (code), timestamp_ms, request_id, query.
      interactions: user (code), timestamp_ms, event_id, event_type, item_id.
      windows: lengths and caps.
    """

    def __init__(self, requests: pl.DataFrame, interactions: pl.DataFrame, windows: WindowConfig):
        self._windows = windows.behavior_windows
        did, items = _ordered(interactions, EVENT_ID, "item_id")
        self._histories: dict[tuple[str, ...], History] = {}
        for kinds in dict.fromkeys(one.kinds for one in self._windows.lists()):
            if kinds == (EventType.SEARCH,):
                self._histories[kinds] = History(*_ordered(requests, "request_id", "query"))
            else:
                codes = [EventType.ALL.index(kind) for kind in kinds]
                self._histories[kinds] = History(did.filter(pl.col(EVENT_TYPE).is_in(codes)), items)

    def at(self, moments: Moments) -> dict[str, Lists]:
        """The behavior features at each of `moments`: one column of lists [moments] per feature name."""
        return {
            one.name: self._histories[one.kinds].window(
                moments, one.since_ms, one.until_ms, one.cap, self._windows.scan
            )
            for one in self._windows.lists()
        }


class SearchLog:
    """The search features of some users.

    Args:
      requests: schema `columns.REQUESTS`.
      interactions: schema `columns.INTERACTIONS`.
      profiles: one row per user.
      profile_columns: which columns of the profiles become features.
      windows: lengths and caps of the behavior windows.
    """

    def __init__(
        self,
        requests: pl.DataFrame,
        interactions: pl.DataFrame,
        profiles: pl.DataFrame,
        profile_columns: tuple[str, ...],
        windows: WindowConfig,
    ):
        self._profile_columns = profile_columns
        self._profiles = profiles
        self._users = _user_codes(requests, interactions, profiles)
        self._requests = _with_code(requests, self._users)
        self._behavior = UserHistory(
            self._requests.filter(pl.col("user") >= 0), _with_code(interactions, self._users), windows
        )

    def batches(self, splits: TimeSplits) -> Iterator[tuple[str, dict[str, Column]]]:
        """The search features of every request by split, ordered by time and request id, some thousands at a time."""
        for split, since, until in (
            (features.TRAIN_SPLIT, splits.train_start, splits.eval_start),
            (features.EVAL_SPLIT, splits.eval_start, splits.end),
        ):
            chosen = self._requests.filter(pl.col("timestamp_ms").is_between(since, until, closed="left")).sort(
                "timestamp_ms", "request_id"
            )
            for rows in chosen.iter_slices(_ROWS_AT_ONCE):
                yield split, self._columns_of(rows)

    def states(self, at: int) -> pl.DataFrame:
        """Every user's behavior and profile at the moment `at` (epoch milliseconds), named as the features are."""
        moments = Moments(np.arange(len(self._users)), np.full(len(self._users), at, np.int64))
        profiles = self._profiles_of(self._users)
        return pl.DataFrame(
            [self._users[USER_ID]]
            + [values.to_series(name) for name, values in self._behavior.at(moments).items()]
            + [profiles[name].alias(features.profile_feature(name)) for name in self._profile_columns]
        )

    def _columns_of(self, chosen: pl.DataFrame) -> dict[str, Column]:
        profiles = self._profiles_of(chosen)
        singles = {
            features.REQUEST_ID: chosen["request_id"],
            features.USER_ID: chosen[USER_ID],
            features.TIMESTAMP_MS: chosen["timestamp_ms"],
            features.QUERY: chosen["query"],
        } | {features.profile_feature(name): profiles[name] for name in self._profile_columns}
        lists = self._behavior.at(Moments(chosen["user"].to_numpy(), chosen["timestamp_ms"].to_numpy()))
        labels = (features.ITEMS, features.STAGES, features.POSITIONS)
        return (
            {name: single_values(values) for name, values in singles.items()}
            | lists
            | {name: value_lists(chosen[name]) for name in labels}
        )

    def _profiles_of(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(USER_ID).join(self._profiles, on=USER_ID, how="left", maintain_order="left")


def _ordered(events: pl.DataFrame, order: str, value: str) -> tuple[pl.DataFrame, Dictionary]:
    """Events by user and time with their values as codes, and what the codes stand for."""
    values = events[value].unique().sort()
    codes = values.to_frame(value).with_row_index("code").with_columns(pl.col("code").cast(pl.Int64))
    coded = events.sort("user", "timestamp_ms", order, value).join(codes, on=value, how="left", maintain_order="left")
    return coded, Dictionary(values)


def _runs(counts: np.ndarray) -> list[tuple[int, int]]:
    """Runs [first, last) of rows, each of about `_EVENTS_AT_ONCE` events."""
    totals = np.cumsum(counts)
    if not len(totals):
        return []
    edges = np.searchsorted(totals, np.arange(_EVENTS_AT_ONCE, totals[-1], _EVENTS_AT_ONCE)) + 1
    bounds = np.unique(np.concatenate([[0], edges, [len(counts)]]))
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


def _user_codes(*frames: pl.DataFrame) -> pl.DataFrame:
    """All users, sorted, with a number each."""
    everyone = pl.concat([frame[USER_ID] for frame in frames])
    return everyone.drop_nulls().unique().sort().to_frame(USER_ID).with_row_index("user")


def _with_code(frame: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    joined = frame.join(users, on=USER_ID, how="left", maintain_order="left")
    return joined.with_columns(pl.col("user").cast(pl.Int64).fill_null(-1))
