"""The columns of the three inputs and of what moves between the steps of the job."""

from typing import Final

import polars as pl

from schema.features import EventType

EVENT_ID: Final = "event_id"
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
    "user_id",
    EVENT_TYPE,
    "query",
    "item_id",
    POSITION,
)
# Without positions a log is poorer, not useless.
REQUIRED_EVENT_COLUMNS: Final = EVENT_COLUMNS[:-1]

CATALOG_COLUMNS: Final = ("item_id", "title", "brand", CATEGORY, "shop", "price")
REQUIRED_CATALOG_COLUMNS: Final = ("item_id", "title")

# Event types as numbers; the order is that of `EventType.ALL`.
SEARCH, IMPRESSION, CLICK, ADD_TO_CART, ORDER = range(len(EventType.ALL))

# Validated events.
EVENTS: Final = pl.Schema(
    {
        EVENT_ID: pl.String(),
        "timestamp_ms": pl.Int64(),
        "request_id": pl.String(),
        "user_id": pl.String(),
        EVENT_TYPE: pl.UInt8(),
        "query": pl.String(),
        "item_id": pl.String(),
        POSITION: pl.Int32(),
        FILE: pl.Int32(),
    }
)
# Events joined by request: what was asked, and what came of it.
REQUESTS: Final = pl.Schema(
    {
        "request_id": pl.String(),
        "user_id": pl.String(),
        "timestamp_ms": pl.Int64(),
        "query": pl.String(),
        "items": pl.List(pl.String()),
        "stages": pl.List(pl.Int64()),
        "positions": pl.List(pl.Int64()),
    }
)
# What users did with items, whichever request it came from.
INTERACTIONS: Final = pl.Schema(
    {
        "user_id": pl.String(),
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
        FILE: pl.Int32(),
    }
)
