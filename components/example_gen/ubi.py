"""User Behavior Insights 1.x: the `ubi_queries` and `ubi_events` dumps of OpenSearch, Solr and Elasticsearch.

Read from tables of BigQuery that have the same fields, or as JSON lines in any of three shapes: plain documents; bulk
dumps, where an action line `{"index": {"_id": ...}}` comes before each document; and hit dumps, where the document is
under `_source`. An input that holds both kinds of document may be named as both; each reader takes its own.
A query becomes a search event and one impression per id of what was found, in their order from position 1.
UBI numbers no events, and engines give a repeated delivery a new `_id`; so an event is what it says:
two documents of the same client, query, action, object, position, text and millisecond are one event.
Source: https://github.com/o19s/ubi
"""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import polars as pl
from polars.exceptions import ComputeError

from components.example_gen.columns import EVENT_COLUMNS, EVENT_ID, EVENT_TYPE, POSITION, TIMESTAMP, RecordBatch
from components.example_gen.inputs import Input, Split, columns_of, json_lines
from components.example_gen.readers import jsonl
from schema.features import EventType
from schema.settings import InputError

UBI_QUERIES_REQUIRED = ("query_id", "user_query", "timestamp")
UBI_EVENTS_REQUIRED = ("action_name", "timestamp")

# UBI leaves the names of actions free; these are the ones of its schemas, of OpenSearch's documentation and of the
# collectors that say what was done with which item. Any other action (a filter, a login, a hover, a click on no item
# in particular, the start of a checkout) is no event of Souk and is only counted.
ACTIONS: Mapping[str, str] = {
    "search": EventType.SEARCH,
    "on_search": EventType.SEARCH,
    "impression": EventType.IMPRESSION,
    "view": EventType.IMPRESSION,
    "item_impression": EventType.IMPRESSION,
    "product_impression": EventType.IMPRESSION,
    "result_impression": EventType.IMPRESSION,
    "click": EventType.CLICK,
    "click_through": EventType.CLICK,
    "item_click": EventType.CLICK,
    "product_click": EventType.CLICK,
    "result_click": EventType.CLICK,
    "add_to_cart": EventType.ADD_TO_CART,
    "purchase": EventType.ORDER,
    "item_purchase": EventType.ORDER,
    "product_purchase": EventType.ORDER,
    "order": EventType.ORDER,
}

_TEXT = pl.String()
# The ids of what a query found, by preference: `object_id_field` of each hit as the plugin of 2024 calls them, the same
# as the documentation calls them, and the engine's ids of the hits. A list, or a text that holds one.
_FOUND = ("query_response_object_ids", "query_response_objects_ids", "query_response_hit_ids")
# Only a query document has one of these. They tell it from an event where its text is null.
_OF_QUERIES = (*_FOUND, "query_response_id", "query_attributes")
_COMMON: dict[str, pl.DataType] = dict.fromkeys(
    ("action_name", "query_id", "client_id", "user_query", "message", "message_type", "timestamp", *_OF_QUERIES), _TEXT
)
_QUERY_DOCUMENT: dict[str, pl.DataType] = _COMMON
_EVENT_DOCUMENT: dict[str, pl.DataType] = {
    **_COMMON,
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


def event_type_of(action: str, own: Mapping[str, str]) -> str | None:
    """Souk's event type of an action, None if it is none of ours.

    Args:
      action: as a document names it; `addToCart` and `Add to cart` are `add_to_cart`.
      own: the shop's own event types by action name, as `ubi_actions` gives them.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", action.strip())
    return own.get(action) or ACTIONS.get(re.sub(r"[\W_]+", "_", words).lower())


def read_queries(source: Split) -> Iterator[RecordBatch]:
    """The search and impression events of a `ubi_queries` dump, as text columns like Souk's own.

    The query of a document without text, as browse pages have, is "".
    """
    for rows, rejects in _documents(source, _QUERY_DOCUMENT):
        yield RecordBatch(_query_events(rows.filter(pl.col("action_name").is_null())), rejects)


def read_events(
    source: Split, own: Mapping[str, str], first_ordinal: int = 1
) -> Iterator[tuple[RecordBatch, dict[str, int]]]:
    """The events of a `ubi_events` dump as text columns, and how many rows had each action, ours or not.

    The query of a search without text is null: another document of its `query_id` may hold it.

    Args:
      source: what to read.
      own: as for `event_type_of`.
      first_ordinal: the `ordinal` of the first item of a page; positions count from 1.
    """
    for rows, rejects in _documents(source, _EVENT_DOCUMENT):
        of_query = pl.any_horizontal([pl.col(name).is_not_null() for name in ("user_query", *_OF_QUERIES)])
        events = rows.filter(pl.col("action_name").is_not_null() | ~of_query)
        counts = dict(events["action_name"].drop_nulls().value_counts().iter_rows())
        types = {action: event_type_of(action, own) for action in counts}
        ours = [action for action, event_type in types.items() if event_type]
        known = events.filter(pl.col("action_name").is_in(ours) | pl.col("action_name").is_null())
        yield RecordBatch(_action_events(known, types, first_ordinal), rejects), counts


def ubi_columns_of(source: Input, head_bytes: int) -> tuple[str, ...]:
    """The fields of the first documents of a dump.

    Raises:
      InputError: if it holds no JSON documents.
    """
    if not source.documents:
        raise InputError(f"{source.path}: UBI is read from JSON lines or from BigQuery, not from such a file")
    return columns_of(source, head_bytes)


def _documents(source: Split, document: dict[str, pl.DataType]) -> Iterator[tuple[pl.DataFrame, list[tuple[str, str]]]]:
    """Documents out of any of the three shapes, with the fields of `document`."""
    action = dict.fromkeys(("index", "create"), _ACTION_LINE)
    schema = {**document, **action, "_source": pl.Struct(document)}
    inner = pl.col("_source").struct
    for data in json_lines(source):
        batch = jsonl.parse_lines(data, schema)
        is_action = pl.any_horizontal([pl.col(name).is_not_null() for name in action])
        rows = batch.frame.filter(~is_action).select(
            [pl.coalesce(pl.col(name), inner.field(name)).alias(name) for name in document]
        )
        yield rows, batch.rejects


def _query_events(rows: pl.DataFrame) -> pl.DataFrame:
    rows = rows.with_columns(_query_text().fill_null("").alias("query"), *(_id_lists(rows[name]) for name in _FOUND))
    # Of events at the same time the one with the least id decides whose request it is, and what was asked: the engine
    # knows better than the page, so this comes before `event` in the alphabet.
    asked = [pl.lit("asked"), "query_id", "timestamp", "query"]
    search = rows.select(
        pl.concat_str(asked, separator="/").alias(EVENT_ID),
        pl.col("timestamp").alias(TIMESTAMP),
        pl.col("query_id").alias("request_id"),
        pl.col("client_id").alias("user_id"),
        pl.lit(EventType.SEARCH).alias(EVENT_TYPE),
        pl.col("query"),
        pl.lit(None, pl.String).alias("item_id"),
        pl.lit(None, pl.String).alias(POSITION),
    )
    found = pl.coalesce([pl.when(pl.col(name).list.len() > 0).then(pl.col(name)) for name in _FOUND])
    shown = (
        rows.select(
            "query_id",
            "timestamp",
            pl.col("client_id").alias("user_id"),
            found.alias("item_id"),
            pl.int_ranges(1, found.list.len().fill_null(0) + 1).alias(POSITION),
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


def _action_events(rows: pl.DataFrame, types: Mapping[str, str | None], first_ordinal: int) -> pl.DataFrame:
    attributes = pl.col("event_attributes").struct
    ordinal = attributes.field("position").struct.field("ordinal").str.extract(r"(-?\d+)").cast(pl.Int64, strict=False)
    events = rows.select(
        pl.col("timestamp").alias(TIMESTAMP),
        pl.col("query_id").alias("request_id"),
        pl.col("client_id").alias("user_id"),
        pl.col("action_name").replace_strict(types, default=None, return_dtype=pl.String).alias(EVENT_TYPE),
        _query_text().alias("query"),
        _user_query().alias("user_query"),
        attributes.field("object").struct.field("object_id").alias("item_id"),
        (ordinal + 1 - first_ordinal).cast(pl.String).alias(POSITION),
    ).with_columns(query=pl.when(pl.col(EVENT_TYPE) == EventType.SEARCH).then("query").otherwise("user_query"))
    said = [TIMESTAMP, "request_id", "user_id", EVENT_TYPE, "item_id", POSITION, "query"]
    return events.with_columns(
        pl.concat_str([pl.lit("event"), *(pl.col(name).fill_null("") for name in said)], separator="/").alias(EVENT_ID)
    ).select(EVENT_COLUMNS)


def _user_query() -> pl.Expr:
    return _not_blank("user_query")


def _query_text() -> pl.Expr:
    """What was asked; `message` says it where its type is QUERY or not given. Null if nothing does."""
    is_query = _not_blank("message_type").str.to_uppercase().fill_null("QUERY") == "QUERY"
    return pl.coalesce(_user_query(), pl.when(is_query).then(_not_blank("message")))


def _not_blank(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().replace("", None)


def _id_lists(texts: pl.Series) -> pl.Series:
    """Lists of ids out of JSON lists or of what else `_ids` reads."""
    try:
        return texts.str.json_decode(pl.List(pl.String))
    except ComputeError:
        return pl.Series(texts.name, [_ids(text or "") for text in texts], pl.List(pl.String))


def _ids(text: str) -> list[str | None]:
    """The ids in a JSON list, a list as Python writes it, or a text with commas between them."""
    text = text.strip()
    if not text.startswith("["):
        return [name.strip() for name in text.split(",")] if text else []
    found: list[Any] = []
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            found = [name.strip() for name in text.strip("[]").split(",")]
    return [value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in found]
