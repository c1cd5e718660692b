"""Joins events by request: one row per request with its query and labels, one row per click, cart and order.

The order in which events arrive never matters: every choice is by (timestamp, event id) or by content.
"""

from dataclasses import dataclass

import polars as pl

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

_STAGES = {
    IMPRESSION: Stage.SHOWN.value,
    CLICK: Stage.CLICKED.value,
    ADD_TO_CART: Stage.CLICKED.value,
    ORDER: Stage.ORDERED.value,
}


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
    repeated = events[EVENT_ID].is_duplicated()
    if not repeated.any():
        return events
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
    heads, joined = _with_heads(unique)
    joined = joined.join(known_items.to_frame("item_id").with_row_index("item"), on="item_id", how="left")
    has_item = pl.col(EVENT_TYPE) != SEARCH
    unknown = has_item & pl.col("item").is_null()
    headless = pl.col("request_id").is_not_null() & pl.col("head").is_null()
    textless = unique.filter(pl.col("query") == "")["request_id"]
    browsed = headless & pl.col("request_id").is_in(textless.implode())
    same_user = (pl.col("user_id").is_null() | (pl.col("user_id") == pl.col("head_user"))).fill_null(value=False)
    with_item = joined.filter(has_item & ~unknown).with_columns(own=pl.col("head").is_not_null() & same_user)
    skewed = pl.col("own") & (pl.col("timestamp_ms") < pl.col("head_time"))
    foreign = pl.col("head").is_not_null() & ~pl.col("own")
    counts = with_item.select(skewed=skewed.sum(), foreign=foreign.sum()).row(0)
    with_item = with_item.with_columns(
        timestamp_ms=pl.when(skewed).then(pl.col("head_time")).otherwise(pl.col("timestamp_ms"))
    )
    late = (pl.col("head_time") < eval_start) & (pl.col("timestamp_ms") >= eval_start)
    own = with_item.filter(pl.col("own"))
    in_time = own.filter(~late)
    requests = heads.join(_labels(in_time, known_items), on="head", how="left").with_columns(
        [pl.col(name).fill_null(pl.lit([], REQUESTS[name])) for name in ("items", "stages", "positions")]
    )
    interactions = with_item.filter(pl.col(EVENT_TYPE) >= CLICK).with_columns(
        user_id=pl.coalesce("user_id", pl.when(pl.col("own")).then(pl.col("head_user")))
    )
    of_browsing = joined.filter(browsed).select(searches=(~has_item).sum(), others=has_item.sum()).row(0)
    reason = (
        pl.when(browsed)
        .then(pl.lit(None, pl.String))
        .when(unknown)
        .then(pl.lit("unknown_item"))
        .when(headless)
        .then(pl.lit("request_without_query"))
    )
    return Joined(
        requests.select(REQUESTS.names()),
        interactions.filter(pl.col("user_id").is_not_null()).select(INTERACTIONS.names()),
        joined.with_columns(reason=reason).filter(pl.col("reason").is_not_null()).select(*EVENTS, "reason"),
        {
            "events.duplicates": len(events) - len(unique),
            "events.before_their_request": counts[0],
            "events.of_another_user": counts[1],
            "events.label_after_eval_start": len(own) - len(in_time),
            "events.searches_without_text": of_browsing[0],
            "events.of_searches_without_text": of_browsing[1],
        },
    )


def _with_heads(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Who asked what when (request_id, user_id, timestamp_ms, query and a number `head`), and the events with the
    `head`, `head_time` and `head_user` of their request, null for those of no known request.
    """
    order = ["timestamp_ms", EVENT_ID]
    columns = ["request_id", "user_id", "timestamp_ms", "query"]
    has_request = pl.col("request_id").is_not_null()
    heads = (
        events.filter(has_request & (pl.col(EVENT_TYPE) == SEARCH) & (pl.col("query") != ""))
        .sort(order)
        .unique("request_id", keep="first", maintain_order=True)
        .select(columns)
        .with_row_index("head")
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
        heads = heads.join(somebody, on="request_id", how="left").with_columns(
            user_id=pl.coalesce("user_id", "other_user")
        )
    joined = _join_heads(events, heads)
    unsearched = joined.filter(has_request & pl.col("head").is_null())
    if unsearched.is_empty():
        return heads, joined
    more = (
        unsearched.sort(order)
        .group_by("request_id", maintain_order=True)
        .agg(
            pl.col("user_id").drop_nulls().first(),
            pl.col("timestamp_ms").first(),
            pl.col("query").filter(pl.col("query") != "").first(),
        )
        .filter(pl.col("query").is_not_null())
        .with_row_index("head", offset=len(heads))
    )
    names = ["head", *columns]
    found = joined.filter(~has_request | pl.col("head").is_not_null())
    return (
        pl.concat([heads.select(names), more.select(names)]),
        pl.concat([found, _join_heads(unsearched.select(events.columns), more)]),
    )


def _join_heads(events: pl.DataFrame, heads: pl.DataFrame) -> pl.DataFrame:
    found = heads.select("request_id", "head", head_time="timestamp_ms", head_user="user_id")
    return events.join(found, on="request_id", how="left")


def _labels(events: pl.DataFrame, known_items: pl.Series) -> pl.DataFrame:
    """Aligned lists per `head`: items on the page first, in page order, then the others by id."""
    labels = (
        events.select(
            "head",
            "item",
            pl.col(EVENT_TYPE).replace_strict(_STAGES, return_dtype=pl.Int64).alias("stages"),
            pl.when(pl.col(POSITION) > 0).then(pl.col(POSITION)).alias("positions"),
        )
        .group_by("head", "item")
        .agg(pl.col("stages").max(), pl.col("positions").min())
        # By head, position, item as one number, which sorts several times faster; the numbers of items are in the
        # order of their ids.
        .with_columns(
            order=(pl.col("head").cast(pl.Int128) * 2**64)
            + (pl.col("positions").fill_null(2**31 - 1).cast(pl.Int128) * 2**32)
            + pl.col("item").cast(pl.Int128)
        )
        .sort("order")
    )
    return (
        labels.with_columns(known_items.gather(labels["item"]).alias("items"))
        .group_by("head", maintain_order=True)
        .agg(pl.col("items"), pl.col("stages"), pl.col("positions").fill_null(0).cast(pl.Int64))
    )
