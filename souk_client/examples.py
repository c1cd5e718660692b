"""A search request as a serialized tf.Example, written without TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from souk_client import protocol
from souk_client.errors import InputError
from souk_client.filters import Filters
from souk_client.protos import example_pb2


@dataclass(frozen=True)
class Behavior:
    """What a user did before the request; every list is newest first, and may be empty.

    Attributes:
      history_queries: earlier queries.
      real_time_items: ids of the items clicked, carted or ordered in the real-time window.
      short_term_items: the same for the short-term window before it.
      long_term_clicks: ids of the items clicked in the long-term window.
      long_term_orders: ids of the items ordered in the long-term window.
      long_term_carts: ids of the items put into the cart in the long-term window.
      profile: profile column -> value ("gender" -> "f"), columns named as in the shop's users table.
    """

    history_queries: Sequence[str] = ()
    real_time_items: Sequence[str] = ()
    short_term_items: Sequence[str] = ()
    long_term_clicks: Sequence[str] = ()
    long_term_orders: Sequence[str] = ()
    long_term_carts: Sequence[str] = ()
    profile: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing at all is known."""
        return not self.profile and not any(
            getattr(self, name) for name in (protocol.HISTORY_QUERIES, *protocol.BEHAVIOR_ITEM_FEATURES)
        )


def search_example(
    query: str,
    user: str | None = None,
    behavior: Behavior | None = None,
    relevance_control: bool | None = None,
    filters: Filters | None = None,
    retrieval: str | None = None,
) -> bytes:
    """The serialized tf.Example of one search request; what is not known is left out, not written empty.

    Args:
      query: what the user typed.
      user: the user's id.
      behavior: what the user did before.
      relevance_control: whether hits must be of the brands and categories that the query names; None leaves it to the
        model's own setting.
      filters: which items may be in the answer.
      retrieval: how items are found, a value of `Retrieval`; None leaves it to the model's own setting.

    Raises:
      InputError: if the query holds nothing but white space, or `retrieval` is none of these.
    """
    if not query.strip():
        raise InputError(
            f"The query is empty (got {query!r}), so there is nothing to search for. Give at least one word."
        )
    if retrieval is not None and retrieval not in protocol.Retrieval.ALL:
        raise InputError(
            f"There is no retrieval {retrieval!r}. Give one of {', '.join(protocol.Retrieval.ALL)}, or leave it out "
            "for the model's own setting."
        )
    example = example_pb2.Example()
    feature = example.features.feature
    feature[protocol.QUERY].bytes_list.value.append(query.encode())
    if user:
        feature[protocol.USER_ID].bytes_list.value.append(user.encode())
    if relevance_control is not None:
        feature[protocol.RELEVANCE_CONTROL].bytes_list.value.append(b"on" if relevance_control else b"off")
    if retrieval is not None:
        feature[protocol.RETRIEVAL].bytes_list.value.append(retrieval.encode())
    if behavior is not None:
        for name in (protocol.HISTORY_QUERIES, *protocol.BEHAVIOR_ITEM_FEATURES):
            values = getattr(behavior, name)
            if values:
                feature[name].bytes_list.value.extend(value.encode() for value in values)
        for column, value in behavior.profile.items():
            feature[protocol.profile_feature(column)].bytes_list.value.append(value.encode())
    if filters is not None:
        for name, texts in (
            (protocol.FILTER_BRAND, filters.brands),
            (protocol.FILTER_CATEGORY, filters.categories),
            (protocol.EXCLUDE_ITEMS, filters.exclude),
        ):
            if texts:
                feature[name].bytes_list.value.extend(text.encode() for text in texts)
        for name, price in (
            (protocol.FILTER_MIN_PRICE, filters.min_price),
            (protocol.FILTER_MAX_PRICE, filters.max_price),
        ):
            if price is not None:
                feature[name].float_list.value.append(price)
        for one in filters.columns:
            if one.values:
                name = protocol.FILTER_CATEGORICAL_PREFIX + one.column
                feature[name].bytes_list.value.extend(value.encode() for value in one.values)
            for prefix, number in (
                (protocol.FILTER_MIN_NUMERIC_PREFIX, one.least),
                (protocol.FILTER_MAX_NUMERIC_PREFIX, one.most),
            ):
                if number is not None:
                    feature[prefix + one.column].float_list.value.append(number)
    return example.SerializeToString()
