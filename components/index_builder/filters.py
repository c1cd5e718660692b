"""Filters that keep recall: hits of the values and within the ranges that a request asks for, and no excluded item.

A filter that leaves few items is answered exactly: the items are found by inverted lists and all of them scored. One
that leaves many is answered by the index, from which as many more hits are taken as the filter discards; where these
are still too few (what the query is about and what the filter leaves have little in common), all that it leaves are
scored. How many items a filter leaves is counted, not estimated.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.index_builder.attributes import ItemAttributes, invert, key_of
from components.index_builder.lookup import place_table
from components.index_builder.multi_head import search_heads
from components.index_builder.search_index import SearchIndex, choose
from schema import features

# Hits taken from the index for each one wanted, beyond what the filter is expected to discard of them.
_OVERFETCH: Final = 2.0


def filter_spec(columns: Iterable[str] = ()) -> dict[str, tf.io.RaggedFeature]:
    """Parsing spec of what a request may be filtered by.

    Args:
      columns: features of the catalog, of which the categorical and numeric columns can be filtered by.
    """
    texts, numbers = filtered_features(columns)
    types = {
        **dict.fromkeys((*map(_wanted, texts), features.EXCLUDE_ITEMS), tf.string),
        **dict.fromkeys((bound for name in numbers for bound in _bounds(name)), tf.float32),
    }
    return {name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64) for name, dtype in types.items()}


def any_given(values: Iterable[tf.RaggedTensor]) -> tf.Tensor:
    """Whether any request of a batch brings any of the values of `filter_spec`, a scalar."""
    return tf.add_n([tf.size(of_feature.values) for of_feature in values]) > 0


def filtered_features(columns: Iterable[str]) -> tuple[list[str], list[str]]:
    """Features of items that can be filtered by their values, and by ranges of their numbers."""
    further = sorted(columns)
    return (
        [features.BRAND, features.CATEGORY_PATH, *(n for n in further if n.startswith(features.CATEGORICAL_PREFIX))],
        [features.PRICE, *(n for n in further if n.startswith(features.NUMERIC_PREFIX))],
    )


def _wanted(name: str) -> str:
    """The request's feature that holds the values wanted of an item's feature."""
    own = {features.BRAND: features.FILTER_BRAND, features.CATEGORY_PATH: features.FILTER_CATEGORY}
    return own.get(name) or features.FILTER_CATEGORICAL_PREFIX + name.removeprefix(features.CATEGORICAL_PREFIX)


def _bounds(name: str) -> tuple[str, str]:
    """The request's features that hold the least and the most wanted of an item's number."""
    if name == features.PRICE:
        return features.FILTER_MIN_PRICE, features.FILTER_MAX_PRICE
    column = name.removeprefix(features.NUMERIC_PREFIX)
    return features.FILTER_MIN_NUMERIC_PREFIX + column, features.FILTER_MAX_NUMERIC_PREFIX + column


class Conditions(NamedTuple):
    """What requests ask for; a condition that a request lacks is met by every item.

    Attributes:
      values: by feature of items, [batch, (values)] int32 value numbers, of which an item must have one.
      ranges: by feature of items, [batch, 2] float32, least and most; infinite where not asked for.
      excluded: [batch, (items)] int32 positions.
      given: [batch] bool, whether there is any condition at all.
    """

    values: dict[str, tf.RaggedTensor]
    ranges: dict[str, tf.Tensor]
    excluded: tf.RaggedTensor
    given: tf.Tensor

    def of(self, requests: tf.Tensor) -> "Conditions":
        """The conditions of some of the requests, by their place in the batch."""
        gathered: Conditions = tf.nest.map_structure(lambda part: tf.gather(part, requests), self)
        return gathered


class NumberColumn(tf.Module):
    """Finds the items whose number is within a range; an item without a number is in none.

    Args:
      numbers: [items] float32, NaN for none.
    """

    def __init__(self, numbers: NDArray[np.float32]):
        super().__init__()
        self._of_item = tf.Variable(numbers, trainable=False)
        there = np.flatnonzero(np.isfinite(numbers))
        ascending = there[np.argsort(numbers[there], kind="stable")].astype(np.int32)
        self._items = tf.Variable(ascending, trainable=False)
        self._sorted = tf.Variable(numbers[ascending], trainable=False)

    def count(self, limits: tf.Tensor) -> tf.Tensor:
        """How many items are within `limits`, [2] float32: a scalar."""
        first, last = self._ends(limits)
        return tf.maximum(0, last - first)

    def within(self, limits: tf.Tensor) -> tf.Tensor:
        """Positions of the items that are, [items] int32."""
        first, last = self._ends(limits)
        return self._items[first : tf.maximum(first, last)]

    def met(self, items: tf.Tensor, limits: tf.Tensor) -> tf.Tensor:
        """Which of some items are: [items] int32 to [items] bool."""
        numbers = tf.gather(self._of_item, items)
        # A comparison with NaN is false.
        return (numbers >= limits[0]) & (numbers <= limits[1])

    def _ends(self, limits: tf.Tensor) -> list[tf.Tensor]:
        return [
            tf.searchsorted(self._sorted, limits[place : place + 1], side)[0]
            for place, side in ((0, "left"), (1, "right"))
        ]


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
        self._texts = tuple(attributes.texts)
        self._numbers = {name: NumberColumn(numbers) for name, numbers in attributes.numbers.items()}
        path = os.path.join(vocabulary_dir, "filter_values.txt")
        # A table is not read from a file without a line; no value is empty.
        keys = postings.keys.tolist() or [key_of(features.BRAND, b"")]
        self._value_numbers = place_table(keys, path, len(postings.keys))

    def conditions(self, raw: Mapping[str, tf.RaggedTensor], excluded: tf.RaggedTensor) -> Conditions:
        """What requests ask for.

        Args:
          raw: parsed by `filter_spec`.
          excluded: [batch, (items)] int32 positions of the excluded items that are indexed.
        """
        values = {name: self._values(raw[_wanted(name)], name) for name in self._texts}
        ranges = {}
        for name in self._numbers:
            # Without a value, the infinite one.
            sides = zip(_bounds(name), (-np.inf, np.inf), strict=True)
            ranges[name] = tf.concat([raw[bound].to_tensor(no, shape=[None, 1]) for bound, no in sides], axis=1)
        lists = tf.stack([part.row_lengths() for part in (*values.values(), excluded)], axis=1)
        limited = tf.math.is_finite(tf.concat(list(ranges.values()), axis=1))
        given = tf.reduce_any(lists > 0, axis=1) | tf.reduce_any(limited, axis=1)
        return Conditions(values, ranges, excluded, given)

    def no_conditions(self, batch: tf.Tensor) -> Conditions:
        """What `conditions` gives for so many requests, int32, without any."""
        nothing = tf.RaggedTensor.from_row_splits(
            tf.zeros([0], tf.int32), tf.zeros([batch + 1], tf.int64), validate=False
        )
        anything = tf.tile(tf.constant([[-np.inf, np.inf]], tf.float32), [batch, 1])
        given = tf.zeros([batch], tf.bool)
        return Conditions(dict.fromkeys(self._texts, nothing), dict.fromkeys(self._numbers, anything), nothing, given)

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

        any_given = tf.cast(tf.reduce_any(conditions.given), tf.int32)
        return choose(any_given, [lambda: search_heads(self._index, vectors, k), mixed])

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
        """How many items meet each condition: [1 + conditions] int32, all of them where there is none of the kind."""
        everything = tf.constant(self._items)
        posted = [
            tf.where(tf.size(values) > 0, self._posted_count(values), everything)
            for values in conditions.values.values()
        ]
        within = [
            tf.where(_limited(limits), self._numbers[name].count(limits), everything)
            for name, limits in conditions.ranges.items()
        ]
        # First, because of equal sizes the first is taken: a condition that is not there has no items.
        return tf.stack([everything, *posted, *within])

    def left(self, conditions: Conditions) -> tf.Tensor:
        """Positions of all items that meet one request's conditions, [items] int32."""
        candidates = tf.switch_case(
            tf.cast(tf.argmin(self._sizes(conditions)), tf.int32),
            [
                lambda: tf.range(self._items),
                *((lambda v=values: self._posted_items(v)) for values in conditions.values.values()),
                *((lambda n=name, r=limits: self._numbers[n].within(r)) for name, limits in conditions.ranges.items()),
            ],
        )
        return tf.boolean_mask(candidates, self.met(candidates, conditions))

    def met(self, items: tf.Tensor, conditions: Conditions) -> tf.Tensor:
        """Whether items meet all conditions of one request: [items] int32 to [items] bool."""
        met = ~_holds(conditions.excluded, items)
        everything = tf.ones_like(items, tf.bool)
        for values in conditions.values.values():
            met &= tf.cond(
                tf.size(values) > 0,
                lambda wanted=values: tf.reduce_any(_holds(wanted, tf.gather(self._values_of_item, items)), axis=1),
                lambda: everything,
            )
        for name, limits in conditions.ranges.items():
            met &= tf.cond(
                _limited(limits),
                lambda column=self._numbers[name], limits=limits: column.met(items, limits),
                lambda: everything,
            )
        return met

    def _values(self, texts: tf.RaggedTensor, name: str) -> tf.RaggedTensor:
        lines = tf.strings.regex_replace(texts.values, "\n", " ")
        keys = tf.strings.join([key_of(name, b""), lines])
        return texts.with_values(tf.cast(self._value_numbers.lookup(keys), tf.int32))

    def _posted_count(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.gather(self._starts, values + 1) - tf.gather(self._starts, values))

    def _posted_items(self, values: tf.Tensor) -> tf.Tensor:
        """Items that have any of the values, once each."""
        places = tf.ragged.range(tf.gather(self._starts, values), tf.gather(self._starts, values + 1))
        return tf.unique(tf.gather(self._posted, places.values)).y


def _limited(limits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(tf.math.is_finite(limits))


def _holds(values: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Whether each of `numbers` [...] is among `values` [some]."""
    return tf.reduce_any(numbers[..., tf.newaxis] == values, axis=-1)


def _filled(positions: tf.Tensor, scores: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    missing = [[0, k - tf.size(positions)]]
    return (
        tf.pad(positions, missing, constant_values=-1),
        tf.pad(scores, missing, constant_values=float("-inf")),
    )
