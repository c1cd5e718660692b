"""Vocabularies learned over the data, looked up as ids or as counts in the graph.

Every look-up holds a table of the whole vocabulary, in training and in the servable. So whatever needs the same
vocabulary is looked up together.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf
import tensorflow_transform as tft

from schema.transformed import Vocabulary

Terms: TypeAlias = tf.RaggedTensor | tf.SparseTensor | tf.Tensor

_COUNT_COLUMN, _TERM_COLUMN = 0, 1


def learn(
    terms: tf.RaggedTensor | tf.SparseTensor,
    vocabulary: Vocabulary,
    top_k: int | None = None,
    min_count: int | None = None,
    store_counts: bool = False,
) -> tf.Tensor:
    """A vocabulary of the terms of the whole analyzed data, most frequent first.

    Args:
      terms: [batch, (terms)] string.
      vocabulary: its name becomes the file's name in the transform graph.
      top_k: most terms to keep.
      min_count: terms seen less often are left out.
      store_counts: also keep how often each was seen, for `look_up_counts`.

    Returns:
      The (deferred) file name, to pass to the look-ups.
    """
    return tft.vocabulary(
        terms,
        top_k=top_k,
        frequency_threshold=min_count,
        vocab_filename=vocabulary.name,
        store_frequency=store_counts,
    )


def look_up_ids(terms: Sequence[Terms], vocabulary_file: tf.Tensor, vocabulary: Vocabulary) -> list[Terms]:
    """Ids of terms; unknown ones are hashed to the vocabulary's buckets. Keeps each tensor's shape."""
    if vocabulary.oov_buckets == 1:
        # The one bucket needs no hash: whatever is not there gets the id that follows the known ones.
        lookup = _lookup_fn(_whole_lines, unknown_follow=True)
        return _restore(tft.apply_vocabulary(_flat(terms), vocabulary_file, lookup_fn=lookup), terms)
    flat = tft.apply_vocabulary(_flat(terms), vocabulary_file, num_oov_buckets=vocabulary.oov_buckets)
    return _restore(flat, terms)


def look_up_counted_ids(
    terms: Sequence[Terms], vocabulary_file: tf.Tensor, vocabulary: Vocabulary
) -> tuple[list[Terms], tf.Tensor]:
    """As `look_up_ids`, for a vocabulary learned with `store_counts`; -1 for an unknown term where it has no buckets.

    Returns:
      The ids, and how many ids there are, buckets included: a scalar int64.
    """

    def make_table(filename: tf.Tensor) -> tf.lookup.StaticHashTable | tf.lookup.StaticVocabularyTable:
        initializer = _column(filename, tf.lookup.TextFileIndex.LINE_NUMBER)
        if vocabulary.oov_buckets:
            return tf.lookup.StaticVocabularyTable(initializer, vocabulary.oov_buckets)
        return tf.lookup.StaticHashTable(initializer, default_value=-1)

    flat = tft.apply_vocabulary(_flat(terms), vocabulary_file, lookup_fn=_lookup_fn(make_table))
    return _restore(flat, terms), tft.get_num_buckets_for_transformed_feature(flat)


def look_up_counts(terms: Sequence[Terms], vocabulary_file: tf.Tensor) -> list[Terms]:
    """How often each term was seen in the analyzed data (int64); 0 for one that is not in the vocabulary."""

    def make_table(filename: tf.Tensor) -> tf.lookup.StaticHashTable:
        return tf.lookup.StaticHashTable(_column(filename, _COUNT_COLUMN), default_value=0)

    return _restore(tft.apply_vocabulary(_flat(terms), vocabulary_file, lookup_fn=_lookup_fn(make_table)), terms)


def _lookup_fn(
    make_table: Callable, unknown_follow: bool = False
) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    def look_up(x: tf.Tensor, filename: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Outside the graph a table is built once and not at every call; possible once its file is known.
        with contextlib.nullcontext() if tf.is_symbolic_tensor(filename) else tf.init_scope():
            table = make_table(filename)
            size = table.size()
        if unknown_follow:
            found = tf.raw_ops.LookupTableFindV2(table_handle=table.resource_handle, keys=x, default_value=size)
            return found, size + 1
        return table.lookup(x), size

    return look_up


def _whole_lines(filename: tf.Tensor) -> tf.lookup.StaticHashTable:
    """Line -> its number."""
    line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    return tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(filename, tf.string, line, tf.int64, number), -1)


def _column(filename: tf.Tensor, value_index: int) -> tf.lookup.TextFileInitializer:
    """Term -> count or line number, out of a file of "count term" lines."""
    return tf.lookup.TextFileInitializer(filename, tf.string, _TERM_COLUMN, tf.int64, value_index, delimiter=" ")


def _flat(terms: Sequence[Terms]) -> tf.Tensor:
    return tf.concat([_values(term) for term in terms], axis=0)


def _restore(flat: tf.Tensor, like: Sequence[Terms]) -> list[Terms]:
    # Of one tensor too another one than was looked up, to which the schema's bounds are tied.
    parts = tf.split(flat, [tf.size(_values(term)) for term in like]) if len(like) > 1 else [tf.identity(flat)]
    return [_with_values(term, part) for part, term in zip(parts, like, strict=True)]


def _with_values(term: Terms, values: tf.Tensor) -> Terms:
    if isinstance(term, tf.SparseTensor):
        return tf.SparseTensor(term.indices, values, term.dense_shape)
    return term.with_flat_values(values) if isinstance(term, tf.RaggedTensor) else tf.reshape(values, tf.shape(term))


def _values(terms: Terms) -> tf.Tensor:
    if isinstance(terms, tf.SparseTensor):
        return terms.values
    return terms.flat_values if isinstance(terms, tf.RaggedTensor) else tf.reshape(terms, [-1])
