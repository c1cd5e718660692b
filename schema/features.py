"""Every feature name of Souk, once.

An Examples artifact has three splits. `train` and `eval` hold one search request per example (the SEARCH
environment of `souk.pbtxt`), `catalog` holds one item per example (the CATALOG environment). Search examples
carry item ids only; item features are joined in memory at training and in the servable (DPSR, arXiv
2006.02282, section on the training system).

A feature that has no value for a row is written with no value, never as an empty string or a zero.
"""

from enum import IntEnum
from typing import Final

# What a request and its answer name is the client's; here so that every name is found in one module.
from souk_client.protocol import (  # noqa: F401
    BEHAVIOR_ITEM_FEATURES,
    EXCLUDE_ITEMS,
    FILTER_BRAND,
    FILTER_CATEGORICAL_PREFIX,
    FILTER_CATEGORY,
    FILTER_MAX_NUMERIC_PREFIX,
    FILTER_MAX_PRICE,
    FILTER_MIN_NUMERIC_PREFIX,
    FILTER_MIN_PRICE,
    HISTORY_QUERIES,
    INPUT_EXAMPLES,
    INPUT_QUERY,
    INPUT_VECTORS,
    LONG_TERM_CARTS,
    LONG_TERM_CLICKS,
    LONG_TERM_ORDERS,
    OUTPUT_FULL_VERSION,
    OUTPUT_ITEM_IDS,
    OUTPUT_LEFT_OUT,
    OUTPUT_RELEVANCE_CONTROL,
    OUTPUT_SCORES,
    OUTPUT_VECTORS,
    PROFILE_PREFIX,
    QUERY,
    REAL_TIME_ITEMS,
    RELEVANCE_CONTROL,
    RETRIEVAL,
    SHORT_TERM_ITEMS,
    SIGNATURE_BY_VECTORS,
    SIGNATURE_DEFAULT,
    SIGNATURE_DELTA,
    SIGNATURE_ENCODE_ITEMS,
    SIGNATURE_ENCODE_QUERY,
    SIGNATURE_QUERY_TEXT,
    USER_ID,
    EventType,
    RelevanceControl,
    Retrieval,
    profile_feature,
)

SEARCH_ENVIRONMENT: Final = "SEARCH"
CATALOG_ENVIRONMENT: Final = "CATALOG"

TRAIN_SPLIT: Final = "train"
EVAL_SPLIT: Final = "eval"
CATALOG_SPLIT: Final = "catalog"
SPLITS: Final = (TRAIN_SPLIT, EVAL_SPLIT, CATALOG_SPLIT)

# Search features: one value each.
REQUEST_ID: Final = "request_id"
TIMESTAMP_MS: Final = "timestamp_ms"

# What came of the request, aligned lists: item id, stage and position on the page (0: not on the page).
ITEMS: Final = "items"
STAGES: Final = "stages"
POSITIONS: Final = "positions"

# Items that the last blessed model ranked well for the request though nobody took them for its query; any number of
# item ids. Only in the train split, and only where hard negatives were mined.
HARD_NEGATIVES: Final = "hard_negatives"

# Catalog features. `category_path` holds the names from the root down; `leaf_category` is that path
# joined by CATEGORY_SEPARATOR, because leaf names alone ("Accessories") repeat across branches.
ITEM_ID: Final = "item_id"
TITLE: Final = "title"
BRAND: Final = "brand"
CATEGORY_PATH: Final = "category_path"
LEAF_CATEGORY: Final = "leaf_category"
TOP_CATEGORY: Final = "top_category"
SHOP: Final = "shop"
PRICE: Final = "price"
# b"false" for an item that is not to be retrieved, such as one that is out of stock; without a value it is.
AVAILABLE: Final = "available"
CATEGORY_SEPARATOR: Final = " > "

# Further columns of the catalog, as `ingest.data.catalog_columns` names them: a text, distinct values, a number. A text
# of several parts has TEXT_SEPARATOR between them, across which no phrase goes.
TEXT_PREFIX: Final = "text_"
CATEGORICAL_PREFIX: Final = "categorical_"
NUMERIC_PREFIX: Final = "numeric_"
COLUMN_PREFIXES: Final = (TEXT_PREFIX, CATEGORICAL_PREFIX, NUMERIC_PREFIX)
TEXT_SEPARATOR: Final = "\n"

SEARCH_BYTES_FEATURES: Final = (
    REQUEST_ID,
    USER_ID,
    QUERY,
    HISTORY_QUERIES,
    *BEHAVIOR_ITEM_FEATURES,
    ITEMS,
    HARD_NEGATIVES,
)
SEARCH_INT_FEATURES: Final = (TIMESTAMP_MS, STAGES, POSITIONS)
CATALOG_BYTES_FEATURES: Final = (ITEM_ID, TITLE, BRAND, CATEGORY_PATH, LEAF_CATEGORY, TOP_CATEGORY, SHOP)
CATALOG_FLOAT_FEATURES: Final = (PRICE,)


def text_feature(column: str) -> str:
    """The catalog feature of a text column: bytes, at most one value."""
    return TEXT_PREFIX + column


def categorical_feature(column: str) -> str:
    """The catalog feature of a categorical column: bytes, any number of distinct values."""
    return CATEGORICAL_PREFIX + column


def numeric_feature(column: str) -> str:
    """The catalog feature of a numeric column: float, at most one value."""
    return NUMERIC_PREFIX + column


class Stage(IntEnum):
    """How far an item of a request got; the largest stage that its events reach."""

    SHOWN = 1
    CLICKED = 2
    ORDERED = 3
