"""Filters that keep recall: hits of the brands, categories and prices that a request asks for, and no excluded item.

A filter that leaves few items is answered exactly: the items are found by inverted lists and all of them scored. One
that leaves many is answered by the index, from which as many more hits are taken as the filter discards; where these
are still too few (what the query is about and what the filter leaves have little in common), all that it leaves are
scored. How many items a filter leaves is counted, not estimated.
"""

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import tensorflow as tf

from components.index_builder.attributes import BRAND_KEY, CATEGORY_KEY, ItemAttributes, invert
from components.index_builder.multi_head import search_heads
from components.index_builder.search_index import SearchIndex
from schema import features

_PRICES: Final = (features.FILTER_MIN_PRICE, features.FILTER_MAX_PRICE)
# Hits taken from the index for each one wanted, beyond what the filter is expected to discard of them.
_OVERFETCH: Final = 2.0


def filter_spec() -> dict[str, tf.io.VarLenFeature]:
    """Parsing spec of what a request may be filtered by."""
    texts = (features.FILTER_BRAND, features.FILTER_CATEGORY, features.EXCLUDE_ITEMS)
    return {
        **{name: tf.io.VarLenFeature(tf.string) for name in texts},
        **{name: tf.io.VarLenFeature(tf.float32) for name in _PRICES},
    }


class Conditions(NamedTuple):
    """What requests ask for; a condition that a request lacks is met by every item.

    Attributes:
      brands, categories: [batch, (values)] int32 value numbers, of which an item must have one.
      prices: [batch, 2] float32, least and most; infinite where not asked for.
      excluded: [batch, (items)] int32 positions.
      given: [batch] bool, whether there is any condition at all.
    """

    brands: tf.RaggedTensor
    categories: tf.RaggedTensor
    prices: tf.Tensor
    excluded: tf.RaggedTensor
    given: tf.Tensor

    def of(self, requests: tf.Tensor) -> "Conditions":
        """The conditions of some of the requests, by their place in the batch."""
        return Conditions(*(tf.gather(part, requests) for part in self))


class ItemFilters(tf.Module):
    """Searches an index under the conditions of each request.

    Args:
      index: over the items.
      attributes: of the indexed items, by index position.
      exact_up_to: a filter that leaves as many items as this or fewer has all of them scored.
      vocabulary_dir: where the file of values is written until it is saved as an asset.
    """

    def __init__(self, index: SearchIndex, attributes: ItemAttributes, exact_up_to: int, vocabulary_dir: str):
        super().__init__()
        self._index = index
        self._items = len(attributes.prices)
        self._exact_up_to = exact_up_to
        postings = invert(attributes)
        self._starts = tf.Variable(postings.starts, trainable=False)
        self._posted = tf.Variable(postings.items, trainable=False)
        self._values_of_item = tf.Variable(postings.values_of_item, trainable=False)
        self._prices = tf.Variable(attributes.prices, trainable=False)
        priced = np.flatnonzero(np.isfinite(attributes.prices))
        by_price = priced[np.argsort(attributes.prices[priced], kind="stable")].astype(np.int32)
        self._by_price = tf.Variable(by_price, trainable=False)
        self._sorted_prices = tf.Variable(attributes.prices[by_price], trainable=False)
        path = os.path.join(vocabulary_dir, "filter_values.txt")
        with open(path, "wb") as file:
            # A table is not read from a file without a line; no value is empty.
            file.write(b"\n".join(postings.keys.tolist() or [BRAND_KEY]) + b"\n")
        self._numbers = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                tf.saved_model.Asset(path).asset_path,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=len(postings.keys),
        )

    def conditions(self, raw: Mapping[str, tf.SparseTensor], excluded: tf.RaggedTensor) -> Conditions:
        """What requests ask for.

        Args:
          raw: parsed by `filter_spec`.
          excluded: [batch, (items)] int32 positions of the excluded items that are indexed.
        """
        brands = self._values(raw[features.FILTER_BRAND], BRAND_KEY)
        categories = self._values(raw[features.FILTER_CATEGORY], CATEGORY_KEY)
        least, most = (_first(raw[name], infinite) for name, infinite in zip(_PRICES, (-np.inf, np.inf), strict=True))
        lists = tf.stack([part.row_lengths() for part in (brands, categories, excluded)], axis=1)
        prices = tf.stack([least, most], axis=1)
        given = tf.reduce_any(lists > 0, axis=1) | tf.reduce_any(tf.math.is_finite(prices), axis=1)
        return Conditions(brands, categories, prices, excluded, given)

    def search(self, vectors: tf.Tensor, conditions: Conditions, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The k best items that meet each request's conditions; nothing is spent on a request without any.

        Args:
          vectors: [batch, heads, dim] float32.
          conditions: of the same requests.
          k: at most the number of indexed items.

        Returns:
          Positions [batch, k] int32, -1 where fewer meet them, and scores [batch, k] float32, -inf there.
        """

        def mixed() -> tuple[tf.Tensor, tf.Tensor]:
            plain, filtered = (tf.where(which)[:, 0] for which in (~conditions.given, conditions.given))
            found = tf.cond(
                tf.size(plain) > 0,
                lambda: search_heads(self._index, tf.gather(vectors, plain), k),
                lambda: (tf.zeros([0, k], tf.int32), tf.zeros([0, k])),
            )
            each = tf.map_fn(
                lambda request: self._search_one(request[0], request[1], k),
                (tf.gather(vectors, filtered), conditions.of(filtered)),
                fn_output_signature=(tf.int32, tf.float32),
            )
            order = tf.argsort(tf.concat([plain, filtered], axis=0))
            positions, scores = (tf.gather(tf.concat([a, b], axis=0), order) for a, b in zip(found, each, strict=True))
            return positions, scores

        return tf.cond(tf.reduce_any(conditions.given), mixed, lambda: search_heads(self._index, vectors, k))

    def _search_one(
        self, vectors: tf.Tensor, conditions: Conditions, k: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The k best of one request: [heads, dim] to [k]."""
        share = self.share(conditions)

        def exactly() -> tuple[tf.Tensor, tf.Tensor]:
            return self._score_all(vectors, self.left(conditions), k)

        def from_index() -> tuple[tf.Tensor, tf.Tensor]:
            wanted = tf.cast(tf.math.ceil(_OVERFETCH * tf.cast(k, tf.float32) / share), tf.int32)
            wanted += tf.size(conditions.excluded)
            hits, scores = search_heads(self._index, vectors[tf.newaxis], tf.minimum(self._items, wanted))
            hits, scores = hits[0], scores[0]
            kept = (hits >= 0) & self.met(tf.maximum(hits, 0), conditions)
            hits, scores = tf.boolean_mask(hits, kept)[:k], tf.boolean_mask(scores, kept)[:k]
            return tf.cond(tf.size(hits) >= k, lambda: (hits, scores), exactly)

        return tf.cond(self.leaves_few(share), exactly, from_index)

    def share(self, conditions: Conditions) -> tf.Tensor:
        """About which share of the items one request's conditions leave, a scalar.

        As if conditions were independent; only finding the items tells, and that takes longer than most answers.
        """
        return tf.reduce_prod(tf.cast(self._sizes(conditions), tf.float32) / self._items)

    def leaves_few(self, share: tf.Tensor) -> tf.Tensor:
        """Whether a share of the items is so few that all of them are scored."""
        return share * self._items <= self._exact_up_to

    def _score_all(self, vectors: tf.Tensor, items: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scores = tf.reduce_max(tf.matmul(vectors, self._index.vectors_at(items), transpose_b=True), axis=0)
        scores, best = tf.math.top_k(scores, tf.minimum(k, tf.size(items)))
        return _filled(tf.gather(items, best), scores, k)

    def _sizes(self, conditions: Conditions) -> tf.Tensor:
        """How many items meet each kind of condition: [4] int32, all of them where there is no such condition."""
        brands, categories = conditions.brands, conditions.categories
        everything = tf.constant(self._items)
        first, last = self._price_range(conditions)
        return tf.stack(
            [
                # First, because of equal sizes the first is taken: a condition that is not there has no items.
                everything,
                tf.where(tf.size(brands) > 0, self._posted_count(brands), everything),
                tf.where(tf.size(categories) > 0, self._posted_count(categories), everything),
                tf.where(_limited(conditions), tf.maximum(0, last - first), everything),
            ]
        )

    def _price_range(self, conditions: Conditions) -> list[tf.Tensor]:
        return [
            tf.searchsorted(self._sorted_prices, conditions.prices[place : place + 1], side)[0]
            for place, side in ((0, "left"), (1, "right"))
        ]

    def left(self, conditions: Conditions) -> tf.Tensor:
        """Positions of all items that meet one request's conditions, [items] int32."""
        brands, categories = conditions.brands, conditions.categories
        first, last = self._price_range(conditions)
        candidates = tf.switch_case(
            tf.cast(tf.argmin(self._sizes(conditions)), tf.int32),
            [
                lambda: tf.range(self._items),
                lambda: self._posted_items(brands),
                lambda: self._posted_items(categories),
                lambda: self._by_price[first : tf.maximum(first, last)],
            ],
        )
        return tf.boolean_mask(candidates, self.met(candidates, conditions))

    def met(self, items: tf.Tensor, conditions: Conditions) -> tf.Tensor:
        """Whether items meet all conditions of one request: [items] int32 to [items] bool."""
        met = ~_holds(conditions.excluded, items)
        for values in (conditions.brands, conditions.categories):
            met &= tf.cond(
                tf.size(values) > 0,
                lambda wanted=values: tf.reduce_any(_holds(wanted, tf.gather(self._values_of_item, items)), axis=1),
                lambda: tf.ones_like(items, tf.bool),
            )
        prices = tf.gather(self._prices, items)
        # A comparison with NaN is false: an item without a price is in no range.
        within = (prices >= conditions.prices[0]) & (prices <= conditions.prices[1])
        return met & (within | ~_limited(conditions))

    def _values(self, given: tf.SparseTensor, key: bytes) -> tf.RaggedTensor:
        texts = tf.RaggedTensor.from_sparse(given)
        lines = tf.strings.regex_replace(texts.values, "\n", " ")
        return texts.with_values(tf.cast(self._numbers.lookup(tf.strings.join([key, lines])), tf.int32))

    def _posted_count(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.gather(self._starts, values + 1) - tf.gather(self._starts, values))

    def _posted_items(self, values: tf.Tensor) -> tf.Tensor:
        """Items that have any of the values, once each."""
        places = tf.ragged.range(tf.gather(self._starts, values), tf.gather(self._starts, values + 1))
        return tf.unique(tf.gather(self._posted, places.values)).y


def _first(given: tf.SparseTensor, default: float) -> tf.Tensor:
    """The first value of each row, [batch]."""
    first = given.indices[:, 1] == 0
    rows, values = tf.boolean_mask(given.indices[:, :1], first), tf.boolean_mask(given.values, first)
    return tf.tensor_scatter_nd_update(tf.fill(given.dense_shape[:1], default), rows, values)


def _limited(conditions: Conditions) -> tf.Tensor:
    return tf.reduce_any(tf.math.is_finite(conditions.prices))


def _holds(values: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Whether each of `numbers` [...] is among `values` [some]."""
    return tf.reduce_any(numbers[..., tf.newaxis] == values, axis=-1)


def _filled(positions: tf.Tensor, scores: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    missing = [[0, k - tf.size(positions)]]
    return (
        tf.pad(positions, missing, constant_values=-1),
        tf.pad(scores, missing, constant_values=float("-inf")),
    )
