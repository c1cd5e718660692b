"""User Behavior Insights 1.x: the `ubi_queries` and `ubi_events` dumps of OpenSearch, Solr and Elasticsearch.

An input that holds both kinds of document may be named as both; each reader takes its own. `ubi_documents` reads them.
A query becomes a search event and one impression per id of what was found, in their order from position 1.
UBI numbers no events, and engines give a repeated delivery a new `_id`; so an event is what it says:
two documents of the same client, query, action, object, position, text and millisecond are one event.
Source: https://github.com/o19s/ubi
"""

import re
from collections.abc import Iterator, Mapping

import polars as pl
from polars.exceptions import ComputeError

from components.example_gen.columns import (
    CLIENT_ID,
    EVENT_COLUMNS,
    EVENT_ID,
    EVENT_TYPE,
    POSITION,
    TIMESTAMP,
    USER_ID,
    RecordBatch,
)
from components.example_gen.inputs import Split
from components.example_gen.ubi_documents import FOUND, ITEM, OF_QUERIES, ORDINAL, USER, read_documents
from schema.features import EventType
from schema.values import written_value

UBI_QUERIES_REQUIRED = ("query_id", "user_query", "timestamp")
UBI_EVENTS_REQUIRED = ("action_name", "timestamp")
# What is known of an event of UBI; whose it is, only the other events of its query tell.
UBI_COLUMNS = (*EVENT_COLUMNS, CLIENT_ID)

# UBI leaves the names of actions free; these are the ones of its schemas, of OpenSearch's documentation and of the
# collectors that say what was done with which item. Any other action (a filter, a login, a hover, a click on no item
# in particular, the start of a checkout) is no event of Souk and is only counted.
ACTIONS: Mapping[str, str] = {
    **dict.fromkeys(("search", "on_search", "query"), EventType.SEARCH),
    **dict.fromkeys(
        ("impression", "view", "item_impression", "product_impression", "result_impression"), EventType.IMPRESSION
    ),
    **dict.fromkeys(
        (
            "click",
            "on_click",
            "click_through",
            "item_click",
            "product_click",
            "result_click",
            "click_item",
            "click_product",
            "click_result",
            "select_item",
            # Of Amazon Personalize: a video was watched; shops mean the list of items to watch.
            "watch",
        ),
        EventType.CLICK,
    ),
    **dict.fromkeys(("add_to_cart", "add_to_basket", "add_to_bag"), EventType.ADD_TO_CART),
    **dict.fromkeys(("purchase", "item_purchase", "product_purchase", "order", "buy"), EventType.ORDER),
}


def event_type_of(action: str, own: Mapping[str, str]) -> str | None:
    """Souk's event type of an action, None if it is none of ours.

    Args:
      action: as a document names it; `addToCart` and `Add to cart` are `add_to_cart`.
      own: the shop's own event types by action name, as `ubi_actions` gives them.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", action.strip())
    return own.get(action) or ACTIONS.get(re.sub(r"[\W_]+", "_", words).lower())


def read_queries(source: Split, user_field: str = USER_ID) -> Iterator[RecordBatch]:
    """The search and impression events of a `ubi_queries` dump, as the text columns `UBI_COLUMNS`.

    The query of a document without text, as browse pages have, is "".

    Args:
      source: what to read.
      user_field: as for `read_events`.
    """
    for rows, rejects in read_documents(source, events=False):
        yield RecordBatch(_query_events(rows.filter(pl.col("action_name").is_null()), user_field), rejects)


def read_events(
    source: Split, own: Mapping[str, str], user_field: str = USER_ID
) -> Iterator[tuple[RecordBatch, dict[str, int]]]:
    """The events of a `ubi_events` dump as the text columns `UBI_COLUMNS`, and how many rows had each action, ours or
    not.

    The query of a search without text is null: another document of its `query_id` may hold it. A search without
    `query_id` is a request of its own. Positions are ordinals as they are logged, from wherever these begin.

    Args:
      source: what to read.
      own: as for `event_type_of`.
      user_field: `user_id` where it is given, or `client_id` always.
    """
    for rows, rejects in read_documents(source, events=True):
        of_query = pl.any_horizontal([pl.col(name).is_not_null() for name in ("user_query", *OF_QUERIES)])
        events = rows.filter(pl.col("action_name").is_not_null() | ~of_query)
        counts = dict(events["action_name"].drop_nulls().value_counts().iter_rows())
        types = {action: event_type_of(action, own) for action in counts}
        ours = [action for action, event_type in types.items() if event_type]
        known = events.filter(pl.col("action_name").is_in(ours) | pl.col("action_name").is_null())
        yield RecordBatch(_action_events(known, types, user_field), rejects), counts


def _query_events(rows: pl.DataFrame, user_field: str) -> pl.DataFrame:
    if user_field == USER_ID:
        rows = rows.with_columns(_attribute_user(rows).alias("attribute_user"))
    rows = rows.with_columns(
        _query_text().fill_null("").alias("query"),
        _user(user_field, ("user_id", "attribute_user")).alias("user"),
        *(_id_lists(rows[name]) for name in FOUND),
    )
    # Of events at the same time the one with the least id decides whose request it is, and what was asked: the engine
    # knows better than the page, so this comes before `event` in the alphabet.
    asked = [pl.lit("asked"), "query_id", "timestamp", "query"]
    search = rows.select(
        pl.concat_str(asked, separator="/").alias(EVENT_ID),
        pl.col("timestamp").alias(TIMESTAMP),
        pl.col("query_id").alias("request_id"),
        pl.col("user").alias(USER_ID),
        pl.lit(EventType.SEARCH).alias(EVENT_TYPE),
        pl.col("query"),
        pl.lit(None, pl.String).alias("item_id"),
        pl.lit(None, pl.String).alias(POSITION),
        pl.col(CLIENT_ID),
    )
    found = pl.coalesce([pl.when(pl.col(name).list.len() > 0).then(pl.col(name)) for name in FOUND])
    shown = (
        rows.select(
            "query_id",
            "timestamp",
            "user",
            CLIENT_ID,
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
        pl.col("user").alias(USER_ID),
        pl.lit(EventType.IMPRESSION).alias(EVENT_TYPE),
        pl.lit(None, pl.String).alias("query"),
        pl.col("item_id"),
        pl.col(POSITION).cast(pl.String),
        pl.col(CLIENT_ID),
    )
    return pl.concat([search, impressions]).select(UBI_COLUMNS)


def _action_events(rows: pl.DataFrame, types: Mapping[str, str | None], user_field: str) -> pl.DataFrame:
    # Collectors write -1 for what is not on the page.
    ordinal = pl.coalesce([pl.col(name).str.extract(r"(-?\d+)") for name in ORDINAL]).cast(pl.Int64, strict=False)
    events = rows.select(
        pl.col("timestamp").alias(TIMESTAMP),
        _not_blank("query_id").alias("request_id"),
        _user(user_field, USER).alias(USER_ID),
        pl.col("action_name").replace_strict(types, default=None, return_dtype=pl.String).alias(EVENT_TYPE),
        _query_text().alias("query"),
        _user_query().alias("user_query"),
        pl.coalesce(_not_blank(name) for name in ITEM).alias("item_id"),
        pl.when(ordinal >= 0).then(ordinal).cast(pl.String).alias(POSITION),
        pl.col(CLIENT_ID),
    ).with_columns(query=pl.when(pl.col(EVENT_TYPE) == EventType.SEARCH).then("query").otherwise("user_query"))
    said = [pl.col(name) for name in (TIMESTAMP, "request_id", EVENT_TYPE, "item_id", POSITION, "query")]
    said.insert(2, pl.coalesce(CLIENT_ID, USER_ID))
    texts = [value.fill_null("") for value in said]
    asked = (pl.col(EVENT_TYPE) == EventType.SEARCH) & pl.col("query").is_not_null()
    return (
        events.with_columns(pl.concat_str([pl.lit("event"), *texts], separator="/").alias(EVENT_ID))
        .with_columns(request_id=pl.coalesce("request_id", pl.when(asked).then(EVENT_ID)))
        .select(UBI_COLUMNS)
    )


def _user(user_field: str, names: tuple[str, ...]) -> pl.Expr:
    """Who did it, as far as one document says."""
    if user_field == CLIENT_ID:
        return pl.col(CLIENT_ID)
    return pl.coalesce(*(_not_blank(name) for name in names), CLIENT_ID)


def _attribute_user(queries: pl.DataFrame) -> pl.Series:
    """The `user_id` among the attributes of each query, where the plugin puts what it has no field for."""
    attributes = queries["query_attributes"]
    if not attributes.str.contains('"user_id"', literal=True).any():
        return pl.Series([None] * len(queries), dtype=pl.String)
    return attributes.str.json_path_match("$.user_id")


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
    """The ids in a list as JSON, Python or NumPy writes it, or in a text with commas between them, as Java's lists and
    Postgres' arrays have.
    """
    found = written_value(text)
    if isinstance(found, list):
        return [value if value is None or isinstance(value, str) else str(value) for value in found]
    text = text.strip()
    return [name.strip().strip('"') for name in text.strip("[]{}").split(",")] if text else []
