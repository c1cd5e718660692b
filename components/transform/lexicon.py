"""Vocabularies learned over the data, looked up as ids or as counts in the graph."""

import contextlib

import tensorflow as tf
import tensorflow_transform as tft

from schema.transformed import Vocabulary

_COUNT_COLUMN, _TERM_COLUMN = 0, 1


def learn(
    terms: tf.RaggedTensor | tf.SparseTensor,
    vocabulary: Vocabulary,
    top_k: int | None = None,
    min_count: int | None = None,
    store_counts: bool = False,
) -> tf.Tensor:
    """A vocabulary of the terms of the whole analysed data, most frequent first.

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


def look_up_ids(
    terms: tf.RaggedTensor | tf.Tensor, vocabulary_file: tf.Tensor, vocabulary: Vocabulary
) -> tf.RaggedTensor | tf.Tensor:
    """Ids of terms; unknown ones are hashed to the vocabulary's buckets."""
    return tft.apply_vocabulary(terms, vocabulary_file, num_oov_buckets=vocabulary.oov_buckets)


def look_up_counted_ids(
    terms: tf.RaggedTensor | tf.Tensor, vocabulary_file: tf.Tensor, vocabulary: Vocabulary
) -> tf.RaggedTensor | tf.Tensor:
    """As `look_up_ids`, for a vocabulary learned with `store_counts`; -1 for an unknown term without buckets."""

    def look_up(x: tf.Tensor, filename: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with _outside_graph(filename):
            initializer = _column(filename, tf.lookup.TextFileIndex.LINE_NUMBER)
            if vocabulary.oov_buckets:
                table = tf.lookup.StaticVocabularyTable(initializer, vocabulary.oov_buckets)
            else:
                table = tf.lookup.StaticHashTable(initializer, default_value=-1)
            size = table.size()
        return table.lookup(x), size

    return tft.apply_vocabulary(terms, vocabulary_file, lookup_fn=look_up)


def look_up_counts(terms: tf.Tensor, vocabulary_file: tf.Tensor) -> tf.Tensor:
    """How often each term was seen in the analysed data; 0 for a term that is not in the vocabulary.

    Args:
      terms: [...] string.
      vocabulary_file: from `learn` with `store_counts`.

    Returns:
      [...] int64.
    """

    def look_up(x: tf.Tensor, filename: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        table, size = _count_table(filename)
        return table.lookup(x), size

    return tft.apply_vocabulary(terms, vocabulary_file, lookup_fn=look_up)


def id_space(vocabulary_file: tf.Tensor, vocabulary: Vocabulary) -> tf.Tensor:
    """Scalar int64: how many ids a vocabulary learned with `store_counts` gives, buckets included."""

    def look_up(x: tf.Tensor, filename: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        _, size = _count_table(filename)
        return size + vocabulary.oov_buckets, size

    return tft.apply_vocabulary(tf.constant([""]), vocabulary_file, lookup_fn=look_up)


def _count_table(filename: tf.Tensor) -> tuple[tf.lookup.StaticHashTable, tf.Tensor]:
    with _outside_graph(filename):
        table = tf.lookup.StaticHashTable(_column(filename, _COUNT_COLUMN), default_value=0)
        return table, table.size()


def _outside_graph(filename: tf.Tensor) -> contextlib.AbstractContextManager:
    """Scope in which a table is built once and not at every call; possible once its file is known."""
    return contextlib.nullcontext() if tf.is_symbolic_tensor(filename) else tf.init_scope()


def _column(filename: tf.Tensor, value_index: int) -> tf.lookup.TextFileInitializer:
    """Term -> count or line number, out of a file of "count term" lines."""
    return tf.lookup.TextFileInitializer(filename, tf.string, _TERM_COLUMN, tf.int64, value_index, delimiter=" ")
