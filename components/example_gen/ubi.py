"""User Behavior Insights 1.x: the `ubi_queries` and `ubi_events` dumps of OpenSearch, Solr and Elasticsearch.

Read from tables of BigQuery that have the same fields, or as JSON lines in any of three shapes: plain documents; bulk
dumps, where an action line `{"index": {"_id": ...}}` comes before each document; and hit dumps, where the document is
under `_source`. An input that holds both kinds of document may be named as both; each reader takes its own.
A query becomes a search event and one impression per id in `query_response_hit_ids`, in their order from
position 1. UBI numbers no events, and engines give a repeated delivery a new `_id`; so an event is what it says:
two documents of the same client, query, action, object, position and millisecond are one event.
Source: https://github.com/o19s/ubi
"""

from collections.abc import Iterator, Mapping

import polars as pl

from components.example_gen.columns import EVENT_COLUMNS, EVENT_ID, EVENT_TYPE, POSITION, TIMESTAMP
from components.example_gen.inputs import Input, Piece, columns_of, json_lines
from components.example_gen.readers import jsonl
from components.example_gen.readers.block import Block
from schema.features import EventType
from schema.settings import InputError

UBI_QUERIES_REQUIRED = ("query_id", "user_query", "timestamp")
UBI_EVENTS_REQUIRED = ("action_name", "timestamp")

# UBI leaves the names of actions free; these are the ones that its specification and tools use.
# Any other action (a filter, a login, a hover) is no event of Souk and is only counted.
ACTIONS: Mapping[str, str] = {
    "search": EventType.SEARCH,
    "on_search": EventType.SEARCH,
    "impression": EventType.IMPRESSION,
    "view": EventType.IMPRESSION,
    "click": EventType.CLICK,
    "click_through": EventType.CLICK,
    "add_to_cart": EventType.ADD_TO_CART,
    "purchase": EventType.ORDER,
    "order": EventType.ORDER,
}

_TEXT = pl.String()
_QUERY_DOCUMENT: dict[str, pl.DataType] = {
    "query_id": _TEXT,
    "client_id": _TEXT,
    "user_query": _TEXT,
    "timestamp": _TEXT,
    "query_response_hit_ids": pl.List(pl.String),
    # Its name before 1.0.
    "query_response_objects_ids": pl.List(pl.String),
    # Only an event has one.
    "action_name": _TEXT,
}
_EVENT_DOCUMENT: dict[str, pl.DataType] = {
    "action_name": _TEXT,
    "query_id": _TEXT,
    "client_id": _TEXT,
    "user_query": _TEXT,
    "timestamp": _TEXT,
    "event_attributes": pl.Struct(
        {
            "object": pl.Struct({"object_id": pl.String}),
            # `ordinal` is a number, or as in 1.0 an object with the number as its `index`.
            "position": pl.Struct({"ordinal": pl.String}),
        }
    ),
}
UBI_QUERIES_COLUMNS = tuple(_QUERY_DOCUMENT)
UBI_EVENTS_COLUMNS = tuple(_EVENT_DOCUMENT)
_ACTION_LINE = pl.Struct({"_index": pl.String})


def read_queries(source: Piece) -> Iterator[Block]:
    """The search and impression events of a `ubi_queries` dump, as text columns like Souk's own."""
    for rows, rejects in _documents(source, _QUERY_DOCUMENT):
        yield Block(_query_events(rows.filter(pl.col("action_name").is_null())), rejects)


def read_events(source: Piece, actions: Mapping[str, str]) -> Iterator[tuple[Block, int]]:
    """The events of a `ubi_events` dump as text columns, and how many rows had an action that is none of ours.

    Args:
      source: what to read.
      actions: Souk's event type by action name.
    """
    for rows, rejects in _documents(source, _EVENT_DOCUMENT):
        is_query = pl.col("action_name").is_null() & pl.col("user_query").is_not_null()
        events = rows.filter(~is_query)
        ours = events.filter(pl.col("action_name").is_in(list(actions)) | pl.col("action_name").is_null())
        yield Block(_action_events(ours, actions), rejects), len(events) - len(ours)


def ubi_columns_of(source: Input, head_bytes: int) -> tuple[str, ...]:
    """The fields of the first documents of a dump.

    Raises:
      InputError: if it holds no JSON documents.
    """
    if not source.documents:
        raise InputError(f"{source.path}: UBI is read from JSON lines or from BigQuery, not from such a file")
    return columns_of(source, head_bytes)


def _documents(source: Piece, document: dict[str, pl.DataType]) -> Iterator[tuple[pl.DataFrame, list[tuple[str, str]]]]:
    """Documents out of any of the three shapes, with the fields of `document`."""
    action = dict.fromkeys(("index", "create"), _ACTION_LINE)
    schema = {**document, **action, "_source": pl.Struct(document)}
    inner = pl.col("_source").struct
    for data in json_lines(source):
        block = jsonl.parse_lines(data, schema)
        is_action = pl.any_horizontal([pl.col(name).is_not_null() for name in action])
        rows = block.frame.filter(~is_action).select(
            [pl.coalesce(pl.col(name), inner.field(name)).alias(name) for name in document]
        )
        yield rows, block.rejects


def _query_events(rows: pl.DataFrame) -> pl.DataFrame:
    search = rows.select(
        pl.concat_str([pl.lit("query"), "query_id", "timestamp"], separator="/").alias(EVENT_ID),
        pl.col("timestamp").alias(TIMESTAMP),
        pl.col("query_id").alias("request_id"),
        pl.col("client_id").alias("user_id"),
        pl.lit(EventType.SEARCH).alias(EVENT_TYPE),
        pl.col("user_query").alias("query"),
        pl.lit(None, pl.String).alias("item_id"),
        pl.lit(None, pl.String).alias(POSITION),
    )
    hits = pl.coalesce("query_response_hit_ids", "query_response_objects_ids")
    shown = (
        rows.select(
            "query_id",
            "timestamp",
            pl.col("client_id").alias("user_id"),
            hits.alias("item_id"),
            pl.int_ranges(1, hits.list.len().fill_null(0) + 1).alias(POSITION),
        )
        .filter(pl.col("item_id").list.len() > 0)
        .explode("item_id", POSITION)
    )
    impressions = shown.select(
        pl.concat_str([pl.lit("shown"), "query_id", "timestamp", POSITION], separator="/").alias(EVENT_ID),
        pl.col("timestamp").alias(TIMESTAMP),
        pl.col("query_id").alias("request_id"),
        pl.col("user_id"),
        pl.lit(EventType.IMPRESSION).alias(EVENT_TYPE),
        pl.lit(None, pl.String).alias("query"),
        pl.col("item_id"),
        pl.col(POSITION).cast(pl.String),
    )
    return pl.concat([search, impressions]).select(EVENT_COLUMNS)


def _action_events(rows: pl.DataFrame, actions: Mapping[str, str]) -> pl.DataFrame:
    attributes = pl.col("event_attributes").struct
    events = rows.select(
        pl.col("timestamp").alias(TIMESTAMP),
        pl.col("query_id").alias("request_id"),
        pl.col("client_id").alias("user_id"),
        pl.col("action_name").replace_strict(dict(actions), default=None, return_dtype=pl.String).alias(EVENT_TYPE),
        pl.col("user_query").alias("query"),
        attributes.field("object").struct.field("object_id").alias("item_id"),
        attributes.field("position").struct.field("ordinal").str.extract(r"(-?\d+)").alias(POSITION),
    )
    said = [TIMESTAMP, "request_id", "user_id", EVENT_TYPE, "item_id", POSITION]
    return events.with_columns(
        pl.concat_str([pl.col(name).fill_null("") for name in said], separator="/").alias(EVENT_ID)
    ).select(EVENT_COLUMNS)
