"""What client and server agree on: names of features, signatures and tensors, of models and their shards.

A search request is a tf.Example with the features below; a feature without a value is left out.
"""

from typing import Final

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8500
DEFAULT_MODEL_NAME: Final = "souk"

# The request: one value each.
QUERY: Final = "query"
USER_ID: Final = "user_id"

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

# Request options that only a served request carries. Filters: brands, of which one will do; categories, each a path
# from the root joined by " > " that may end at any node; ids of items; one float each.
FILTER_BRAND: Final = "filter_brand"
FILTER_CATEGORY: Final = "filter_category"
EXCLUDE_ITEMS: Final = "exclude_items"
FILTER_MIN_PRICE: Final = "filter_min_price"
FILTER_MAX_PRICE: Final = "filter_max_price"
# By further columns of the catalog, as `ingest.data.catalog_columns` names them: values, of which one will do; one
# float each.
FILTER_CATEGORICAL_PREFIX: Final = "filter_categorical_"
FILTER_MIN_NUMERIC_PREFIX: Final = "filter_min_numeric_"
FILTER_MAX_NUMERIC_PREFIX: Final = "filter_max_numeric_"
# b"on" or b"off"; absent, or anything else, the servable's own setting counts.
RELEVANCE_CONTROL: Final = "relevance_control"
# A value of `Retrieval` in any case; absent, or anything else, the servable's own setting counts.
RETRIEVAL: Final = "retrieval"

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
# The signatures of a delta index (docs/delta.md): its items for a request whose vectors the full index has given; which
# version of the full index it belongs to, and which ids of that it takes away.
SIGNATURE_BY_VECTORS: Final = "retrieve_by_vectors"
SIGNATURE_DELTA: Final = "delta"
INPUT_VECTORS: Final = "vectors"
OUTPUT_FULL_VERSION: Final = "full_version"
OUTPUT_LEFT_OUT: Final = "left_out"


class EventType:
    """The event types of the `events` input."""

    SEARCH: Final = "search"
    IMPRESSION: Final = "impression"
    CLICK: Final = "click"
    ADD_TO_CART: Final = "add_to_cart"
    ORDER: Final = "order"
    ALL: Final = (SEARCH, IMPRESSION, CLICK, ADD_TO_CART, ORDER)


class Retrieval:
    """How items are found: the values of the feature `retrieval`."""

    # By the towers and the index of their vectors.
    DENSE: Final = "dense"
    # By the words of query and items.
    LEXICAL: Final = "lexical"
    # By both, fused.
    HYBRID: Final = "hybrid"
    ALL: Final = (DENSE, LEXICAL, HYBRID)


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


def profile_feature(column: str) -> str:
    """Name of the search feature that holds the user's profile `column`."""
    return PROFILE_PREFIX + column


def delta_model(name: str) -> str:
    """What the delta index of a model is called when served, beside the full one.

    Args:
      name: of the model, or the path of the folder of its versions.
    """
    return f"{name}_delta"


def shard_folder(shard: int, shards: int) -> str:
    """Name of a shard's folder in a servable's payload."""
    return f"shard-{shard}-of-{shards}"


def shard_models(name: str, shards: int) -> list[str]:
    """What the shards of a model are called when served, in order; the model's own name where there is but one.

    As the name says which of how many it is, a client that is given the servers in a wrong order, or those of another
    number of shards, is refused (NOT_FOUND) instead of being answered wrongly.

    Args:
      name: of the model, or the path of the folder of its versions.
      shards: how many.
    """
    return [name] if shards == 1 else [f"{name}-{shard_folder(shard, shards)}" for shard in range(shards)]
