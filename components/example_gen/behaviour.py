"""What a user did before a request: windows of distinct values, newest first, strictly before it.

All requests of a key are worked at once with NumPy: a user's events lie side by side in the order of time, so a
window is a range of them, found by binary search. An event counts if no later event of the same window has its
value; the position of the next event with the same value, found once, tells that for every window.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from components.example_gen.columns import ADD_TO_CART, CLICK, EVENT_ID, EVENT_TYPE, ORDER
from components.example_gen.config import WindowConfig
from schema import features

# Bounds the memory of one step, not what it gives.
_EVENTS_AT_ONCE = 4_000_000


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


@dataclass(frozen=True)
class Moments:
    """At whose behaviour to look, and when: user codes [rows] (-1: nobody) and epoch milliseconds [rows]."""

    users: np.ndarray
    times: np.ndarray


class History:
    """The events of some users, ready to be cut into windows.

    Args:
      users: user code per event [events].
      times: epoch milliseconds [events].
      order: breaks ties between events of one user and millisecond [events].
      values: what each event gives to the window: an item id, a query [events].
    """

    def __init__(self, users: np.ndarray, times: np.ndarray, order: pl.Series, values: pl.Series):
        self.values = values.unique().sort()
        codes = values.to_frame("value").join(
            self.values.to_frame("value").with_row_index("code"), on="value", how="left", maintain_order="left"
        )["code"]
        events = pl.DataFrame({"user": users, "time": times, "order": order, "code": codes.cast(pl.Int64)}).sort(
            "user", "time", "order", "code"
        )
        self._codes = events["code"].to_numpy()
        self._earliest = int(times.min()) if len(times) else 0
        # One number per (user, time), so that one binary search finds both.
        self._span = (int(times.max()) - self._earliest + 2) if len(times) else 2
        self._keys = self._key(events["user"].to_numpy(), events["time"].to_numpy())
        same = events["user"].to_numpy() * max(len(self.values), 1) + self._codes
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
        known = moments.users >= 0
        users = np.where(known, moments.users, 0)
        ends = np.where(known, np.searchsorted(self._keys, self._key(users, moments.times - until)), 0)
        starts = np.where(known, np.searchsorted(self._keys, self._key(users, moments.times - since)), 0)
        starts = np.maximum(starts, ends - scan)
        lengths = np.zeros(len(ends), np.int64)
        found: list[np.ndarray] = []
        for first, last in _runs(ends - starts):
            rows, events = self._newest_first(starts[first:last], ends[first:last], cap)
            lengths[first:last] = np.bincount(rows, minlength=last - first)
            found.append(self._codes[events])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Lists(offsets, np.concatenate(found) if found else np.zeros(0, np.int64), self.values)

    def _key(self, users: np.ndarray, times: np.ndarray) -> np.ndarray:
        return users * self._span + np.clip(times - self._earliest, 0, self._span - 1)

    def _newest_first(self, starts: np.ndarray, ends: np.ndarray, cap: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and events [found] of the newest events of distinct values in [starts, ends)."""
        counts = ends - starts
        rows = np.repeat(np.arange(len(counts)), counts)
        firsts = np.cumsum(counts) - counts
        events = ends[rows] - 1 - (np.arange(len(rows)) - firsts[rows])
        distinct = self._next[events] >= ends[rows]
        rows, events = rows[distinct], events[distinct]
        kept = np.bincount(rows, minlength=len(counts))
        rank = np.arange(len(rows)) - (np.cumsum(kept) - kept)[rows]
        return rows[rank < cap], events[rank < cap]


def behaviour(
    moments: Moments, requests: pl.DataFrame, interactions: pl.DataFrame, windows: WindowConfig
) -> dict[str, Lists]:
    """The behaviour features at each of `moments`.

    Args:
      moments: whose, and when.
      requests: user (code), timestamp_ms, request_id, query.
      interactions: user (code), timestamp_ms, event_id, event_type, item_id.
      windows: lengths and caps.

    Returns:
      One column of lists [moments] per feature name.
    """
    real_time = windows.real_time_ms
    short_term = real_time + windows.short_term_ms
    long_term = short_term + windows.long_term_ms
    queries = _history(requests, "request_id", "query")
    anything = _history(interactions, EVENT_ID, "item_id")
    found = {
        features.HISTORY_QUERIES: queries.window(moments, long_term, 0, windows.history_queries_cap, windows.scan),
        features.REAL_TIME_ITEMS: anything.window(moments, real_time, 0, windows.real_time_cap, windows.scan),
        features.SHORT_TERM_ITEMS: anything.window(
            moments, short_term, real_time, windows.short_term_cap, windows.scan
        ),
    }
    for name, kind in (
        (features.LONG_TERM_CLICKS, CLICK),
        (features.LONG_TERM_ORDERS, ORDER),
        (features.LONG_TERM_CARTS, ADD_TO_CART),
    ):
        of_kind = _history(interactions.filter(pl.col(EVENT_TYPE) == kind), EVENT_ID, "item_id")
        found[name] = of_kind.window(moments, long_term, short_term, windows.long_term_cap, windows.scan)
    return found


def _history(events: pl.DataFrame, order: str, value: str) -> History:
    return History(events["user"].to_numpy(), events["timestamp_ms"].to_numpy(), events[order], events[value])


def _runs(counts: np.ndarray) -> list[tuple[int, int]]:
    """Cuts rows into runs [first, last) of about `_EVENTS_AT_ONCE` events."""
    totals = np.cumsum(counts)
    if not len(totals):
        return []
    edges = np.searchsorted(totals, np.arange(_EVENTS_AT_ONCE, totals[-1], _EVENTS_AT_ONCE)) + 1
    bounds = np.unique(np.concatenate([[0], edges, [len(counts)]]))
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
