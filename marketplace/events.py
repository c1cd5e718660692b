"""The event log of one day: rows of numbers, and the same rows as they are written."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from marketplace.choice import Clicks
from marketplace.queries import QueryPool
from schema.features import EventType

EVENT_TYPES = EventType.ALL
SEARCH, IMPRESSION, CLICK, CART, ORDER = range(5)


def events_of_requests(
    request: np.ndarray,
    user: np.ndarray,
    time: np.ndarray,
    query: np.ndarray,
    pages: np.ndarray,
    seen: np.ndarray,
    clicks: Clicks,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Events of some requests: time (ms since the start of the log), request, user, type, query, item, position.

    A search has a query and neither item nor position; the others have an item, and a position unless it is 0.
    Impressions are of slots that were looked at, at the time that they came into view.
    """
    shown, slot = np.nonzero(seen)
    view = time[:, None] + 300 + np.cumsum(rng.exponential(1_800, seen.shape), axis=1).astype(np.int64)
    on_page = clicks.position > 0
    since = np.where(
        on_page, view[clicks.request, np.maximum(clicks.position - 1, 0)], view[clicks.request, -1] + 15_000
    )
    clicked_at = since + 700 + rng.exponential(9_000, len(since)).astype(np.int64)
    carted_at = clicked_at + 4_000 + rng.exponential(60_000, len(since)).astype(np.int64)
    ordered_at = carted_at + 15_000 + rng.exponential(1_200_000, len(since)).astype(np.int64)
    carted, ordered = clicks.carted, clicks.ordered
    row = np.concatenate(
        [np.arange(len(request)), shown, clicks.request, clicks.request[carted], clicks.request[ordered]]
    )
    none = np.full(len(request), -1)
    frame = pl.DataFrame(
        {
            "time": np.concatenate([time, view[shown, slot], clicked_at, carted_at[carted], ordered_at[ordered]]),
            "request": request[row],
            "user": user[row].astype(np.int32),
            "type": np.repeat(
                np.array([SEARCH, IMPRESSION, CLICK, CART, ORDER], np.uint8),
                [len(request), len(shown), len(since), carted.sum(), ordered.sum()],
            ),
            "query": query[row],
            "item": np.concatenate(
                [none, pages[shown, slot], clicks.item, clicks.item[carted], clicks.item[ordered]]
            ).astype(np.int32),
            "position": np.concatenate(
                [none * 0, slot + 1, clicks.position, clicks.position[carted], clicks.position[ordered]]
            ).astype(np.int16),
        }
    )
    return frame.sort("time", "type", maintain_order=True)


def written_rows(
    events: pl.DataFrame, start_ms: int, user_ids: pl.Series, item_ids: pl.Series, pool: QueryPool
) -> pl.DataFrame:
    """The columns of DESIGN's `events` input: ids for numbers, RFC 3339 UTC for times, null for what is not."""
    numbers = events.filter(pl.col("type") == SEARCH)["query"].unique().sort()
    texts = pl.Series([pool.text(number) for number in numbers], dtype=pl.String)
    query = texts.gather(numbers.search_sorted(events["query"]).clip(0, max(len(texts) - 1, 0))) if len(texts) else None
    names: Sequence[str] = EVENT_TYPES
    type_names = pl.Series(names)
    is_search = events["type"] == SEARCH
    return events.select(
        event_id=pl.format("e{}", pl.col("event")),
        timestamp=pl.from_epoch(pl.col("time") + start_ms, "ms").dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ"),
        request_id=pl.format("r{}", pl.col("request")),
        user_id=user_ids.gather(events["user"]),
        event_type=type_names.gather(events["type"]),
        query=pl.when(is_search).then(query) if query is not None else pl.lit(None, pl.String),
        item_id=pl.when(~is_search).then(item_ids.gather(events["item"].clip(0))),
        position=pl.when(pl.col("position") > 0).then(pl.col("position")),
    )
