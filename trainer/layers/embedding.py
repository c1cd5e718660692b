"""Embeddings of padded id lists."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

# Embeddings start uniformly between this and its negative.
_WIDEST_START = 0.05


@dataclass(frozen=True)
class EmbeddedLists:
    """Embeddings of id lists, each distinct id of the batch embedded once.

    A batch's lists hold the same few thousand ids many times over. Sums that read them from one small matrix move a
    fraction of the memory that an embedding per place does, and so does their gradient.

    Attributes:
      ids: [distinct] int, without padding.
      vectors: [distinct, dim].
      place: [entries] int32, for each id in the lists its index into `ids`.
      row: [entries] int32, ascending: which list it is in.
      count: [lists] int32, ids of each list.
    """

    ids: tf.Tensor
    vectors: tf.Tensor
    place: tf.Tensor
    row: tf.Tensor
    count: tf.Tensor

    def sum(self, weights: tf.Tensor | None = None) -> tf.Tensor:
        """Sum over each list, [lists, dim]; zero for an empty one.

        Args:
          weights: [distinct, 1], what each id counts; None counts all alike.
        """
        vectors = self.vectors if weights is None else self.vectors * weights
        return tf.sparse.segment_sum(vectors, self.place, self.row, num_segments=tf.size(self.count))

    def mean(self) -> tf.Tensor:
        """Mean over each list, [lists, dim]; zero for an empty one."""
        return tf.sparse.segment_mean(self.vectors, self.place, self.row, num_segments=tf.size(self.count))


def embed_lists(ids: tf.Tensor, embed: Callable[[tf.Tensor], tf.Tensor]) -> EmbeddedLists:
    """Padded id lists, embedded to be summed.

    Args:
      ids: [lists, width] int, 0 is padding.
      embed: maps [distinct] ids to [distinct, dim].
    """
    present = ids > 0
    places = tf.where(present)
    # Counted because Grappler rewrites `tf.unique`, a gather and `segment_sum` to a read of the whole matrix, which is
    # copied at each call where another op gathers from the same variable.
    distinct, place, _ = tf.unique_with_counts(tf.gather_nd(ids, places))
    row = tf.cast(places[:, 0], tf.int32)
    return EmbeddedLists(distinct, embed(distinct), place, row, tf.reduce_sum(tf.cast(present, tf.int32), axis=1))


class PaddedEmbedding(keras.layers.Layer):
    """An embedding matrix over ids `1..size`; id 0 is padding and embeds to zero.

    Args:
      size: how many ids there are, padding not counted.
      dim: width of an embedding.
    """

    def __init__(self, size: int, dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = size
        self.dim = dim
        self.first_row = 0
        self._padding_is_zero = False

    def build(self, input_shape: Any) -> None:
        """Makes the matrix, [size + 1, dim]."""
        self.table = self.add_weight(
            name="table",
            shape=[self.size + 1, self.dim],
            initializer=keras.initializers.RandomUniform(-_WIDEST_START, _WIDEST_START),
        )
        # For the optimizer (`optimizer.is_moved_by_rows`).
        self.table.read_by_rows = True
        super().build(input_shape)

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Rows of the matrix: [...] int to [..., dim]; that of padding is no zero."""
        if not self.built:
            self.build(ids.shape)
        return tf.gather(self.table, ids + self.first_row if self.first_row else ids)

    def read_from(self, table: tf.Variable, first_row: int) -> None:
        """Reads its rows from another matrix from now on, and gives up its own.

        Args:
          table: holds the rows one after another; that of padding is 0.
          first_row: where they begin.
        """
        del self.table
        # Not a weight of its own.
        object.__setattr__(self, "table", table)
        self.first_row = first_row
        self._padding_is_zero = True

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Embeddings of ids: [...] int to [..., dim]."""
        embedded = self.rows(ids)
        if self._padding_is_zero:
            return embedded
        return embedded * tf.cast(ids > 0, embedded.dtype)[..., tf.newaxis]

    def mean(self, ids: tf.Tensor) -> tf.Tensor:
        """Mean over the ids that are no padding: [batch, ids] int to [batch, dim]; zero where all are padding."""
        return self.lists(ids).mean()

    def lists(self, ids: tf.Tensor) -> EmbeddedLists:
        """Embeddings of padded lists, to be summed: [lists, width] int."""
        return embed_lists(ids, self.rows)

    def get_config(self) -> dict[str, Any]:
        """Settings to make the layer again."""
        return {**super().get_config(), "size": self.size, "dim": self.dim}


class EncodedWords(keras.layers.Layer):
    """What a text encoder knows of a text: the sum of its words' vectors, of one length for all texts. [ours]

    Its dimensions are its own. Added to learned vectors it would blur the words that a text has, by which most items
    are found; and a log in which nobody used other words than the shop's would teach that words of one meaning have
    nothing in common.

    Args:
      size: how many ids of words there are.
      dim: width of a vector.
      share: what the cosine of two texts adds to their score.
      trainable: whether training changes the words' vectors.
    """

    def __init__(self, size: int, dim: int, share: float, trainable: bool, **kwargs: Any):
        super().__init__(trainable=trainable, **kwargs)
        self._length = share**0.5
        self._words = PaddedEmbedding(size, dim)

    def start_from(self, vectors: np.ndarray, weights: np.ndarray) -> None:
        """Takes over the words' vectors.

        Args:
          vectors: [words, dim] of unit length, by id from 1 on; ids after these have none.
          weights: [at least words + 1], by id, what each word counts within a text.
        """
        rows = np.zeros((self._words.size + 1, self._words.dim), np.float32)
        rows[1 : 1 + len(vectors)] = vectors * weights[1 : 1 + len(vectors), np.newaxis]
        self._words.table.assign(rows)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Vectors of texts: [batch, words] int, 0 is padding, to [batch, dim]; zero where no word has a vector."""
        return self._length * tf.math.l2_normalize(self._words.lists(ids).sum(), axis=-1, epsilon=1e-12)


def trim(ids: tf.Tensor, shortest: int = 0) -> tf.Tensor:
    """Id lists without the columns that are padding in every row: [batch, width] to [batch, longest list].

    Lists are padded to a width that holds the long ones; most batches need far less, and every column costs.

    Args:
      ids: [batch, width] int, padding last.
      shortest: columns that are kept in any case; a recurrent layer needs one.
    """
    longest = tf.reduce_max(tf.reduce_sum(tf.cast(ids > 0, tf.int32), axis=1))
    return ids[:, : tf.maximum(longest, shortest)]


def mean_of_embedded(embedded: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Mean over embeddings of which those of padding are zero: [batch, ids, dim] and [batch, ids] to [batch, dim]."""
    count = tf.reduce_sum(tf.cast(ids > 0, embedded.dtype), axis=1, keepdims=True)
    return tf.reduce_sum(embedded, axis=1) * tf.math.reciprocal_no_nan(count)
