"""Joins events by request: who asked what when, and how far each item got.

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


@dataclass(frozen=True)
class Joined:
    """What the events of some requests give.

    `requests` has the schema `columns.REQUESTS`, `interactions` `columns.INTERACTIONS`; `rejects` are event rows
    with a `reason`.
    """

    requests: pl.DataFrame
    interactions: pl.DataFrame
    rejects: pl.DataFrame
    counters: dict[str, int]


def deduplicate(events: pl.DataFrame) -> pl.DataFrame:
    """One row per event id. Where deliveries differ, the least in the order of the columns is kept."""
    repeated = events[EVENT_ID].is_duplicated()
    if not repeated.any():
        return events
    kept = events.filter(repeated).sort(EVENTS.names()).unique(EVENT_ID, keep="first", maintain_order=True)
    return pl.concat([events.filter(~repeated), kept])


def join_requests(events: pl.DataFrame, known_items: pl.Series, eval_start: int) -> Joined:
    """Joins events that hold every event of each request they touch.

    A request's time, user and query are those of its earliest search; without a search row, its time is that of
    its earliest event, and its query the earliest one that any event carries. An item's stage is the largest
    that its events reach; its position the smallest that they name. An event that its clock puts before its own
    request is taken to be at the request's time. A row whose user is not its request's gives that request no
    label; it stays its own user's behaviour. Requests before `eval_start` get no label from events at or after
    it: the model of that moment could not have seen them.

    Args:
      events: schema `columns.EVENTS`, in any order, deliveries repeated.
      known_items: the item ids of the catalogue.
      eval_start: epoch milliseconds.
    """
    unique = deduplicate(events)
    counters = {"events.duplicates": len(events) - len(unique)}
    has_item = pl.col(EVENT_TYPE) != SEARCH
    unknown = unique.filter(has_item & ~pl.col("item_id").is_in(known_items.implode()))
    heads = _heads(unique)
    headless = unique.join(heads, on="request_id", how="anti").filter(pl.col("request_id").is_not_null())
    with_item = (
        unique.filter(has_item)
        .join(unknown.select(EVENT_ID), on=EVENT_ID, how="anti")
        .join(
            heads.select("request_id", head_time="timestamp_ms", head_user="user_id", head="head"),
            on="request_id",
            how="left",
        )
        .with_columns(
            own=pl.col("head").is_not_null()
            & (pl.col("user_id").is_null() | (pl.col("user_id") == pl.col("head_user"))).fill_null(value=False),
        )
    )
    skewed = pl.col("own") & (pl.col("timestamp_ms") < pl.col("head_time"))
    counters["events.before_their_request"] = int(with_item.select(skewed.sum()).item() or 0)
    with_item = with_item.with_columns(
        timestamp_ms=pl.when(skewed).then(pl.col("head_time")).otherwise(pl.col("timestamp_ms"))
    )
    counters["events.of_another_user"] = int(
        with_item.select((pl.col("head").is_not_null() & ~pl.col("own")).sum()).item() or 0
    )
    late = (pl.col("head_time") < eval_start) & (pl.col("timestamp_ms") >= eval_start)
    labelled = with_item.filter(pl.col("own"))
    counters["events.label_after_eval_start"] = int(labelled.select(late.sum()).item() or 0)
    requests = heads.join(_labels(labelled.filter(~late)), on="head", how="left").with_columns(
        [pl.col(name).fill_null(pl.lit([], REQUESTS[name])) for name in ("items", "stages", "positions")]
    )
    interactions = with_item.filter(pl.col(EVENT_TYPE) >= CLICK).with_columns(
        user_id=pl.coalesce("user_id", pl.when(pl.col("own")).then(pl.col("head_user")))
    )
    rejects = pl.concat(
        [
            unknown.with_columns(reason=pl.lit("unknown_item")),
            headless.with_columns(reason=pl.lit("request_without_query")),
        ]
    ).unique(EVENT_ID, keep="first", maintain_order=True)
    return Joined(
        requests.select(REQUESTS.names()),
        interactions.filter(pl.col("user_id").is_not_null()).select(INTERACTIONS.names()),
        rejects,
        counters,
    )


def _heads(events: pl.DataFrame) -> pl.DataFrame:
    """Who asked what when: request_id, user_id, timestamp_ms, query and the number `head` of each request."""
    order = ["timestamp_ms", EVENT_ID]
    columns = ["request_id", "user_id", "timestamp_ms", "query"]
    requested = events.filter(pl.col("request_id").is_not_null())
    searched = (
        requested.filter(pl.col(EVENT_TYPE) == SEARCH)
        .sort(order)
        .unique("request_id", keep="first", maintain_order=True)
        .select(columns)
    )
    unsearched = (
        requested.join(searched, on="request_id", how="anti")
        .sort(order)
        .group_by("request_id", maintain_order=True)
        .agg(
            pl.col("user_id").drop_nulls().first(),
            pl.col("timestamp_ms").first(),
            pl.col("query").drop_nulls().first(),
        )
        .filter(pl.col("query").is_not_null())
        .select(columns)
    )
    heads = pl.concat([searched, unsearched])
    nobody = heads.filter(pl.col("user_id").is_null())
    if not nobody.is_empty():
        somebody = (
            requested.filter(pl.col("user_id").is_not_null())
            .join(nobody, on="request_id", how="semi")
            .sort(order)
            .unique("request_id", keep="first", maintain_order=True)
            .select("request_id", other_user="user_id")
        )
        heads = heads.join(somebody, on="request_id", how="left").with_columns(
            user_id=pl.coalesce("user_id", "other_user")
        )
    return heads.select(columns).with_row_index("head")


def _labels(events: pl.DataFrame) -> pl.DataFrame:
    """Aligned lists per `head`: items on the page first, in page order, then the others by id."""
    return (
        events.select(
            "head",
            "item_id",
            pl.col(EVENT_TYPE).replace_strict(_STAGES, return_dtype=pl.Int64).alias("stages"),
            pl.when(pl.col(POSITION) > 0).then(pl.col(POSITION)).alias("positions"),
        )
        .group_by("head", "item_id")
        .agg(pl.col("stages").max(), pl.col("positions").min())
        .sort(["head", "positions", "item_id"], nulls_last=True)
        .group_by("head", maintain_order=True)
        .agg(
            pl.col("item_id").alias("items"),
            pl.col("stages"),
            pl.col("positions").fill_null(0).cast(pl.Int64),
        )
    )
