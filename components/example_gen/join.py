"""Joins events by request: one row per request with its query and labels, one row per click, cart and order.

The order in which events arrive never matters: every choice is by (timestamp, event id) or by content.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from components.example_gen.columns import (
    ADD_TO_CART,
    CLICK,
    EVENT_ID,
    EVENT_TYPE,
    EVENTS,
    IMPRESSION,
    INTERACTIONS,
    ORDER,
    POSITION,
    REQUESTS,
    SEARCH,
)
from schema.features import Stage

# Stage by event type; it grows with the type.
_STAGES = np.zeros(ORDER + 1, np.int64)
_STAGES[IMPRESSION] = Stage.SHOWN
_STAGES[[CLICK, ADD_TO_CART]] = Stage.CLICKED
_STAGES[ORDER] = Stage.ORDERED
# After all positions.
_NO_POSITION = np.int64(2**31)

_IDENTITY = (EVENT_ID, "request_id", EVENT_TYPE, "item_id")


@dataclass(frozen=True)
class Joined:
    """The result of `join_requests`.

    `requests` has the schema `columns.REQUESTS`, `interactions` `columns.INTERACTIONS`; `rejects` are event rows
    with a `reason`.
    """

    requests: pl.DataFrame
    interactions: pl.DataFrame
    rejects: pl.DataFrame
    counters: dict[str, int]


def deduplicate(events: pl.DataFrame) -> pl.DataFrame:
    """One row per event. Of its deliveries each value is that of the earliest which has one, by the order of columns.

    Deliveries are of one event if they agree in event id, request, type, item and, of a search, the query. What has the
    id of another event is an event of its own.
    """
    # Sorted hashes are compared several times faster than texts, and two ids of one hash stay two below.
    hashes = events[EVENT_ID].hash().to_numpy()
    ordered = np.sort(hashes)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return events
    repeated = pl.Series(again[np.minimum(np.searchsorted(again, hashes), len(again) - 1)] == hashes)
    same = [*_IDENTITY, pl.when(pl.col(EVENT_TYPE) == SEARCH).then("query").alias("asked")]
    kept = (
        events.filter(repeated)
        .sort(EVENTS.names(), nulls_last=True)
        .group_by(same, maintain_order=True)
        .agg(pl.exclude(*_IDENTITY).drop_nulls().first())
        .select(events.columns)
    )
    return pl.concat([events.filter(~repeated), kept])


def join_requests(events: pl.DataFrame, known_items: pl.Series, eval_start: int) -> Joined:
    """Joins events that hold every event of each request they touch.

    A request's time, user and query are those of its earliest search that holds a query; without one, its time is that
    of its earliest event, and its query the earliest one that any event carries. Where none does and a search says that
    there is none (its query is ""), nothing was asked: the request's events are only counted. An item's stage is the
    largest that its events reach; its position the smallest that they name. An event that its clock puts before its own
    request is taken to be at the request's time. A row whose user is not its request's gives that request no
    label; it stays its own user's behavior. Requests before `eval_start` get no label from events at or after
    it: the model of that moment could not have seen them.

    Args:
      events: schema `columns.EVENTS`, in any order, deliveries repeated.
      known_items: the item ids of the catalog, sorted.
      eval_start: epoch milliseconds.
    """
    unique = deduplicate(events)
    heads, head = _heads(unique)
    # Events keep their texts where they are; what tells of their request and item goes along as codes.
    joined = unique.lazy().with_columns(
        head,
        _codes(unique["item_id"], known_items).alias("item"),
        heads["timestamp_ms"].gather(head).alias("head_time"),
        heads["user_id"].gather(head).alias("head_user"),
    )
    has_item, in_request = pl.col(EVENT_TYPE) != SEARCH, pl.col("head").is_not_null()
    unknown = has_item & pl.col("item").is_null()
    headless = pl.col("request_id").is_not_null() & ~in_request
    textless = unique.filter(pl.col("query") == "")["request_id"]
    browsed = headless & pl.col("request_id").is_in(textless.implode())
    same_user = (pl.col("user_id").is_null() | (pl.col("user_id") == pl.col("head_user"))).fill_null(value=False)
    own = in_request & same_user
    skewed = own & (pl.col("timestamp_ms") < pl.col("head_time"))
    time = pl.when(skewed).then(pl.col("head_time")).otherwise(pl.col("timestamp_ms"))
    late = own & (pl.col("head_time") < eval_start) & (time >= eval_start)
    with_item = joined.filter(has_item & ~unknown)
    reason = (
        pl.when(browsed)
        .then(pl.lit(None, pl.String))
        .when(unknown)
        .then(pl.lit("unknown_item"))
        .when(headless)
        .then(pl.lit("request_without_query"))
    )
    in_time, interactions, rejects, counts, of_browsing = pl.collect_all(
        [
            with_item.filter(own & ~late).select("head", "item", EVENT_TYPE, POSITION),
            with_item.filter(pl.col(EVENT_TYPE) >= CLICK)
            .with_columns(timestamp_ms=time, user_id=pl.coalesce("user_id", pl.when(own).then(pl.col("head_user"))))
            .filter(pl.col("user_id").is_not_null())
            .select(INTERACTIONS.names()),
            joined.with_columns(reason=reason).filter(pl.col("reason").is_not_null()).select(*EVENTS, "reason"),
            with_item.select(skewed=skewed.sum(), foreign=(in_request & ~own).sum(), late=late.sum()),
            joined.filter(browsed).select(searches=(~has_item).sum(), others=has_item.sum()),
        ]
    )
    skewed_rows, foreign_rows, late_rows = counts.row(0)
    searches, others = of_browsing.row(0)
    requests = heads.with_columns(_labels(in_time, known_items, len(heads)))
    return Joined(
        requests.select(REQUESTS.names()),
        interactions,
        rejects,
        {
            "events.duplicates": len(events) - len(unique),
            "events.before_their_request": skewed_rows,
            "events.of_another_user": foreign_rows,
            "events.label_after_eval_start": late_rows,
            "events.searches_without_text": searches,
            "events.of_searches_without_text": others,
        },
    )


def _heads(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Who asked what when: request_id, user_id, timestamp_ms and query; and the row of each event's request among
    them, null for an event of no known request.
    """
    order = ["timestamp_ms", EVENT_ID]
    columns = ["request_id", "user_id", "timestamp_ms", "query"]
    has_request = pl.col("request_id").is_not_null()
    heads = (
        events.filter(has_request & (pl.col(EVENT_TYPE) == SEARCH) & (pl.col("query") != ""))
        .sort(order)
        .unique("request_id", keep="first", maintain_order=True)
        .select(columns)
    )
    nobody = heads.filter(pl.col("user_id").is_null())
    if not nobody.is_empty():
        somebody = (
            events.filter(pl.col("user_id").is_not_null())
            .join(nobody, on="request_id", how="semi")
            .sort(order)
            .unique("request_id", keep="first", maintain_order=True)
            .select("request_id", other_user="user_id")
        )
        heads = (
            heads.join(somebody, on="request_id", how="left")
            .with_columns(user_id=pl.coalesce("user_id", "other_user"))
            .drop("other_user")
        )
    head = _codes(events["request_id"], heads["request_id"]).alias("head")
    more = (
        events.filter(has_request & head.is_null())
        .sort(order)
        .group_by("request_id", maintain_order=True)
        .agg(
            pl.col("user_id").drop_nulls().first(),
            pl.col("timestamp_ms").first(),
            pl.col("query").filter(pl.col("query") != "").first(),
        )
        .filter(pl.col("query").is_not_null())
    )
    if more.is_empty():
        return heads, head
    heads = pl.concat([heads, more])
    return heads, _codes(events["request_id"], heads["request_id"]).alias("head")


def _codes(values: pl.Series, known: pl.Series) -> pl.Series:
    """The row of each of `values` in `known`, whose values are distinct; null where it is not there."""
    rows = known.alias("value").to_frame().with_row_index("row")
    return values.alias("value").to_frame().join(rows, on="value", how="left", maintain_order="left")["row"]


def _labels(events: pl.DataFrame, known_items: pl.Series, heads: int) -> list[pl.Series]:
    """Aligned lists `items`, `stages` and `positions` [heads]: items on the page first, in page order, then the others
    by id.

    Args:
      events: head, item, event_type and position, which count if they are above 0.
      known_items: which `item` is a row of, in the order of ids.
      heads: how many there are.
    """
    if events.is_empty():
        return [pl.Series(name, [[]] * heads, REQUESTS[name]) for name in ("items", "stages", "positions")]
    # Several times faster than polars' group_by and sort by several columns.
    pairs = events["head"].cast(pl.Int64).to_numpy() << 32 | events["item"].to_numpy()
    order = np.argsort(pairs)
    pairs = pairs[order]
    firsts = np.flatnonzero(np.diff(pairs, prepend=-1))
    stages = _STAGES[np.maximum.reduceat(events[EVENT_TYPE].to_numpy()[order], firsts)]
    seen = events[POSITION].cast(pl.Int64).fill_null(0).to_numpy()[order]
    positions = np.minimum.reduceat(np.where(seen > 0, seen, _NO_POSITION), firsts)
    pairs = pairs[firsts]
    # Pairs are in the order of items, which a stable sort keeps.
    order = np.argsort((pairs >> 32) * (_NO_POSITION + 1) + positions, kind="stable")
    offsets = pa.array(np.concatenate([[0], np.cumsum(np.bincount(pairs >> 32, minlength=heads))]), pa.int64())
    columns = {
        "items": known_items.gather(pairs[order] & 0xFFFF_FFFF).to_arrow(compat_level=pl.CompatLevel.oldest()),
        "stages": pa.array(stages[order]),
        "positions": pa.array(np.where(positions == _NO_POSITION, 0, positions)[order]),
    }
    return [
        pl.Series(name, pl.from_arrow(pa.LargeListArray.from_arrays(offsets, values)), REQUESTS[name])
        for name, values in columns.items()
    ]
