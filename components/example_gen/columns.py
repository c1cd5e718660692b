"""The columns of the inputs, and the schemas of what moves between the steps of the job."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from schema import features
from schema.features import EventType

if TYPE_CHECKING:
    from components.example_gen.config import CatalogColumns

EVENT_ID: Final = "event_id"
USER_ID: Final = "user_id"
TIMESTAMP: Final = "timestamp"
EVENT_TYPE: Final = "event_type"
POSITION: Final = "position"
CATEGORY: Final = "category"
# Index of the input file that a row came from; only dead letters show it.
FILE: Final = "file"

EVENT_COLUMNS: Final = (
    EVENT_ID,
    TIMESTAMP,
    "request_id",
    USER_ID,
    EVENT_TYPE,
    "query",
    "item_id",
    POSITION,
)
# Without positions a log is poorer, not useless.
REQUIRED_EVENT_COLUMNS: Final = tuple(name for name in EVENT_COLUMNS if name != POSITION)

CATALOG_COLUMNS: Final = ("item_id", "title", "brand", CATEGORY, "shop", "price", "available")
REQUIRED_CATALOG_COLUMNS: Final = ("item_id", "title")

# Event types as numbers; the order is that of `EventType.ALL`.
SEARCH, IMPRESSION, CLICK, ADD_TO_CART, ORDER = range(len(EventType.ALL))

# Validated events.
EVENTS: Final = pl.Schema(
    {
        EVENT_ID: pl.String(),
        "timestamp_ms": pl.Int64(),
        "request_id": pl.String(),
        USER_ID: pl.String(),
        EVENT_TYPE: pl.UInt8(),
        "query": pl.String(),
        "item_id": pl.String(),
        POSITION: pl.Int32(),
        FILE: pl.Int32(),
    }
)
# Validated events of UBI, whose user only the other events of their query tell.
CLIENT_ID: Final = "client_id"
UBI_EVENTS: Final = pl.Schema(dict(EVENTS) | {CLIENT_ID: pl.String()})
# Where an event id was seen, as hashes: whose request it was (null: of none known), and what happened there.
EVENT_IDS: Final = pl.Schema({"id": pl.UInt64(), "request": pl.UInt32(), "what": pl.UInt32(), FILE: pl.Int32()})
# Events joined by request: the query and its labels.
REQUESTS: Final = pl.Schema(
    {
        "request_id": pl.String(),
        USER_ID: pl.String(),
        "timestamp_ms": pl.Int64(),
        "query": pl.String(),
        "items": pl.List(pl.String()),
        "stages": pl.List(pl.Int64()),
        "positions": pl.List(pl.Int64()),
    }
)
# Clicks, carts and orders of users, of whichever request.
INTERACTIONS: Final = pl.Schema(
    {
        USER_ID: pl.String(),
        "timestamp_ms": pl.Int64(),
        EVENT_ID: pl.String(),
        EVENT_TYPE: pl.UInt8(),
        "item_id": pl.String(),
    }
)
CATALOG: Final = pl.Schema(
    {
        "item_id": pl.String(),
        "title": pl.String(),
        "brand": pl.String(),
        "category_path": pl.List(pl.String()),
        "shop": pl.String(),
        "price": pl.Float32(),
        "available": pl.Boolean(),
        FILE: pl.Int32(),
    }
)


def catalog_schema(columns: "CatalogColumns") -> pl.Schema:
    """The schema of validated items with further columns, which are named as the features that they become."""
    return pl.Schema(
        dict(CATALOG)
        | {features.text_feature(name): pl.String() for name in columns.text}
        | {features.categorical_feature(name): pl.List(pl.String()) for name in columns.categorical}
        | {features.numeric_feature(name): pl.Float32() for name in columns.numeric}
    )


def users_schema(columns: tuple[str, ...]) -> pl.Schema:
    """The schema of validated profiles."""
    return pl.Schema({USER_ID: pl.String()} | dict.fromkeys(columns, pl.String()) | {FILE: pl.Int32()})


@dataclass(frozen=True)
class RecordBatch:
    """Rows that a reader yields: `frame` has the requested columns, `rejects` what is no row, as (reason, raw text)."""

    frame: pl.DataFrame
    rejects: list[tuple[str, str]] = field(default_factory=list)
