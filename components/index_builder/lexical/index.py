"""The posting lists in the graph: what a query's terms are, and what items score for them."""

from typing import Final, NamedTuple

import tensorflow as tf

from components.index_builder.lexical.config import LexicalConfig
from components.index_builder.lexical.postings import SATURATION_STEPS, Postings
from components.index_builder.lexical.similar import SimilarWords, can_be_similar, place_of
from components.index_builder.lexical.terms import terms_of
from components.index_builder.search_index import when
from components.transform.ragged import rows_of

# Words of a query that are read, and those of them that similar words are looked for.
_MOST_WORDS: Final = 32
_MOST_UNKNOWN: Final = 4
# Scores are searched for their best in blocks of this many items.
_BLOCK: Final = 128


class LexicalQuery(NamedTuple):
    """What queries are searched for.

    Attributes:
      terms: [batch, terms] int32, those first that can count most; filled up with the term that no item has.
      weights: [batch, terms] float32, what a step of saturation counts: a query's best possible score is 1.
    """

    terms: tf.Tensor
    weights: tf.Tensor


class LexicalIndex(tf.Module):
    """Scores items by BM25F for the words of a query.

    Args:
      postings: of the items.
      config: what kinds of terms count, and how many of them and of their items are read.
      fold_plurals: as it was when the postings were built.
    """

    def __init__(self, postings: Postings, config: LexicalConfig, fold_plurals: bool):
        super().__init__()
        self._config = config
        self._fold_plurals = fold_plurals
        self._items = postings.count
        self._no_term = len(postings.fingerprints)
        self._fingerprints = tf.Variable(postings.fingerprints, trainable=False, name="fingerprints")
        self._starts = tf.Variable(postings.starts, trainable=False, name="starts")
        self._posted = tf.Variable(postings.items, trainable=False, name="posted")
        self._saturations = tf.Variable(postings.saturations, trainable=False, name="saturations")
        # Of the term that no item has, nothing.
        self._idf = tf.Variable(tf.pad(postings.idf, [[0, 1]]), trainable=False, name="idf")
        self._most = tf.Variable(tf.pad(postings.idf * postings.most, [[0, 1]]), trainable=False, name="most")
        self._similar = SimilarWords(postings.words, config.similar_words) if config.similar_words else None

    def understand(self, queries: tf.Tensor) -> LexicalQuery:
        """The terms of queries [batch] string."""
        found = terms_of(queries, _MOST_WORDS, self._fold_plurals)
        texts = (found.words, found.joined)
        terms = place_of(self._fingerprints, tf.concat([text.values for text in texts], axis=0))
        rows = tf.concat([rows_of(text) for text in texts], axis=0)
        count = tf.size(found.words.values)
        is_word = tf.range(tf.size(terms)) < count
        weights = tf.where(is_word, 1.0, self._config.joined_weight)
        if self._similar is not None:
            words = terms[:count]
            similar = when(
                tf.reduce_any(words == self._no_term),
                lambda: self._similar_to_unknown(found.units, words),
                lambda: (tf.zeros([0], tf.int64), tf.zeros([0], tf.int32), tf.zeros([0])),
            )
            rows, terms, weights = (
                tf.concat(parts, axis=0) for parts in zip((rows, terms, weights), similar, strict=True)
            )
        return self._strongest(rows, terms, weights, tf.size(queries, tf.int64))

    def nothing(self, batch: tf.Tensor) -> LexicalQuery:
        """What `understand` gives for so many queries without a word."""
        shape = tf.stack([batch, self._config.query_terms])
        return LexicalQuery(tf.fill(shape, self._no_term), tf.zeros(shape))

    def scores(self, query: LexicalQuery, depth: int | tf.Tensor) -> tf.Tensor:
        """What every item scores for one query, 0 for an item without any of its terms: [items or a few more] float32.

        Args:
          query: of one request, without the batch dimension.
          depth: how many items of each term are scored, those first in which it counts most.
        """
        return self.scores_of(*self.posted(query, depth))

    def posted(self, query: LexicalQuery, depth: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Items that have a term of one query, term after term, and what each scores for it: both [entries]."""
        starts = tf.gather(self._starts, query.terms)
        # By their number and not by their end: a depth may be larger than any place.
        counts = tf.minimum(tf.gather(self._starts, query.terms + 1) - starts, depth)
        places = tf.ragged.range(starts, starts + counts)
        weights = tf.gather(query.weights, _list_of_entries(places))
        return (
            tf.gather(self._posted, places.values),
            tf.cast(tf.gather(self._saturations, places.values), tf.float32) * weights,
        )

    def scores_of(self, items: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        """Sums what `posted` gave by item."""
        # In whole blocks. A sum into an array of all items is faster than a hash table of those that are found: the one
        # takes memory that is written once, the other several random reads for each entry.
        return tf.math.unsorted_segment_sum(scores, items, -(-self._items // _BLOCK) * _BLOCK)

    def best(self, scores: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The k best of all items by `scores`, of equal ones the first: positions and scores [k].

        Items that score 0 are none: their position is -1 and their score -inf.
        """
        blocks = tf.reshape(scores, [-1, _BLOCK])
        # No other block than the best k can hold one of the best k, also where scores are equal.
        best = tf.math.top_k(tf.reduce_max(blocks, axis=1), tf.minimum(k, blocks.shape[0])).indices
        best = tf.sort(best)
        values, places = tf.math.top_k(tf.reshape(tf.gather(blocks, best), [-1]), k)
        positions = tf.gather(best, places // _BLOCK) * _BLOCK + places % _BLOCK
        found = values > 0
        return tf.where(found, positions, -1), tf.where(found, values, float("-inf"))

    def _similar_to_unknown(self, units: tf.RaggedTensor, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Requests, terms and weights of the words that stand for those that no item has."""
        similar, most = self._similar, self._config.similar_words
        assert similar is not None
        unknown = units.with_values((words == self._no_term) & can_be_similar(units.values))
        looked_for = tf.ragged.boolean_mask(units, unknown)[:, :_MOST_UNKNOWN]
        terms, similarities = when(
            tf.size(looked_for.values) > 0,
            lambda: similar.find(looked_for.values),
            lambda: (tf.zeros([0, most], tf.int32), tf.zeros([0, most])),
        )
        terms = tf.where(terms < 0, self._no_term, terms)
        weights = similarities * self._config.similar_weight
        return tf.repeat(rows_of(looked_for), most), tf.reshape(terms, [-1]), tf.reshape(weights, [-1])

    def _strongest(self, rows: tf.Tensor, terms: tf.Tensor, weights: tf.Tensor, batch: tf.Tensor) -> LexicalQuery:
        """Entries of all queries as one row each, with a term once and not too many terms."""
        terms_and_none = self._no_term + 1
        keys, number, _ = tf.unique_with_counts(rows * terms_and_none + tf.cast(terms, tf.int64))
        weights = tf.math.unsorted_segment_sum(weights, number, tf.size(keys))
        rows, terms = keys // terms_and_none, tf.cast(keys % terms_and_none, tf.int32)
        most = weights * tf.gather(self._most, terms)
        # Of equal values the first comes first.
        order = tf.math.top_k(most, tf.size(most)).indices
        order = tf.gather(order, tf.math.top_k(-tf.gather(rows, order), tf.size(most)).indices)
        # Where each row's entries are; past its last, one that is the term which no item has.
        places = tf.raw_ops.RaggedTensorToTensor(
            shape=tf.constant([-1, self._config.query_terms], tf.int64),
            values=order,
            default_value=tf.size(terms),
            row_partition_tensors=[batch, tf.gather(rows, order)],
            row_partition_types=["FIRST_DIM_SIZE", "VALUE_ROWIDS"],
        )
        terms = tf.gather(tf.concat([terms, [self._no_term]], axis=0), places)
        weights = tf.gather(tf.concat([weights, [0.0]], axis=0), places)
        best = tf.reduce_sum(weights * tf.gather(self._most, terms), axis=1, keepdims=True)
        weights *= tf.gather(self._idf, terms)
        return LexicalQuery(terms, tf.math.divide_no_nan(weights, best * SATURATION_STEPS))


def _list_of_entries(lists: tf.RaggedTensor) -> tf.Tensor:
    """Which list each entry is in, [entries] int32; TensorFlow's own way takes a matrix of all lists by the longest."""
    entries = tf.size(lists.values)
    ends = lists.row_splits[1:-1]
    return tf.cumsum(tf.math.unsorted_segment_sum(tf.ones_like(ends, tf.int32), ends, entries + 1))[:-1]
