"""Every feature name of Souk, once.

An Examples artifact has three splits. `train` and `eval` hold one search request per example (the SEARCH
environment of `souk.pbtxt`), `catalog` holds one item per example (the CATALOG environment). Search examples
carry item ids only; item features are joined in memory at training and in the servable (DPSR, arXiv
2006.02282, section on the training system).

A feature that has no value for a row is written with no value, never as an empty string or a zero.
"""

from enum import IntEnum
from typing import Final

SEARCH_ENVIRONMENT: Final = "SEARCH"
CATALOG_ENVIRONMENT: Final = "CATALOG"

TRAIN_SPLIT: Final = "train"
EVAL_SPLIT: Final = "eval"
CATALOG_SPLIT: Final = "catalog"
SPLITS: Final = (TRAIN_SPLIT, EVAL_SPLIT, CATALOG_SPLIT)

# Search features: one value each.
REQUEST_ID: Final = "request_id"
USER_ID: Final = "user_id"
TIMESTAMP_MS: Final = "timestamp_ms"
QUERY: Final = "query"

# Behavior before the request, newest first: any number of values.
HISTORY_QUERIES: Final = "history_queries"
REAL_TIME_ITEMS: Final = "real_time_items"
SHORT_TERM_ITEMS: Final = "short_term_items"
LONG_TERM_CLICKS: Final = "long_term_clicks"
LONG_TERM_ORDERS: Final = "long_term_orders"
LONG_TERM_CARTS: Final = "long_term_carts"
BEHAVIOR_ITEM_FEATURES: Final = (
    REAL_TIME_ITEMS,
    SHORT_TERM_ITEMS,
    LONG_TERM_CLICKS,
    LONG_TERM_ORDERS,
    LONG_TERM_CARTS,
)

# Profile columns are named by the shop; each becomes one feature with this prefix and one value.
PROFILE_PREFIX: Final = "profile_"

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
CATEGORY_SEPARATOR: Final = " > "

# Request options that only a served request carries. Filters: brands, of which one will do; categories, each a path
# from the root joined by CATEGORY_SEPARATOR that may end at any node; ids of items; one float each.
FILTER_BRAND: Final = "filter_brand"
FILTER_CATEGORY: Final = "filter_category"
EXCLUDE_ITEMS: Final = "exclude_items"
FILTER_MIN_PRICE: Final = "filter_min_price"
FILTER_MAX_PRICE: Final = "filter_max_price"
# b"on" or b"off"; absent, or anything else, the servable's own setting counts.
RELEVANCE_CONTROL: Final = "relevance_control"

# The servable's signatures and their tensors.
SIGNATURE_DEFAULT: Final = "serving_default"
SIGNATURE_QUERY_TEXT: Final = "query_text"
SIGNATURE_ENCODE_QUERY: Final = "encode_query"
SIGNATURE_ENCODE_ITEMS: Final = "encode_items"
INPUT_EXAMPLES: Final = "examples"
INPUT_QUERY: Final = "query"
OUTPUT_ITEM_IDS: Final = "item_ids"
OUTPUT_SCORES: Final = "scores"
OUTPUT_VECTORS: Final = "vectors"
OUTPUT_RELEVANCE_CONTROL: Final = "relevance_control"

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


class Stage(IntEnum):
    """How far an item of a request got; the largest stage that its events reach."""

    SHOWN = 1
    CLICKED = 2
    ORDERED = 3


class RelevanceControl:
    """What relevance control did to an answer: the values of the output `relevance_control`."""

    # Not asked for, or the model was trained without it.
    OFF: Final = "off"
    # The query names no brand and no category, so nothing was discarded.
    NOTHING_NAMED: Final = "nothing_named"
    # Only items of the brands and categories that the query names are in the answer.
    APPLIED: Final = "applied"
    # Too few such items were found; the answer is as without relevance control.
    FALLBACK: Final = "fallback"


class EventType:
    """The event types of the `events` input; an added-to-cart item counts as `Stage.CLICKED`."""

    SEARCH: Final = "search"
    IMPRESSION: Final = "impression"
    CLICK: Final = "click"
    ADD_TO_CART: Final = "add_to_cart"
    ORDER: Final = "order"
    ALL: Final = (SEARCH, IMPRESSION, CLICK, ADD_TO_CART, ORDER)


def profile_feature(column: str) -> str:
    """Name of the search feature that holds the user's profile `column`."""
    return PROFILE_PREFIX + column
