"""Embeddings of padded id lists."""

import tensorflow as tf
import tf_keras as keras


class PaddedEmbedding(keras.layers.Layer):
    """An embedding matrix over ids `1..size`; id 0 is padding and embeds to zero.

    Args:
      size: how many ids there are, padding not counted.
      dim: width of an embedding.
    """

    def __init__(self, size: int, dim: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.dim = dim

    def build(self, input_shape):
        """Makes the matrix, [size + 1, dim]."""
        self.table = self.add_weight(
            name="table",
            shape=[self.size + 1, self.dim],
            initializer=keras.initializers.RandomUniform(-0.05, 0.05),
        )
        super().build(input_shape)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Embeddings of ids: [...] int to [..., dim]."""
        embedded = tf.gather(self.table, ids)
        return embedded * tf.cast(ids > 0, embedded.dtype)[..., tf.newaxis]

    def mean(self, ids: tf.Tensor) -> tf.Tensor:
        """Mean over the ids that are no padding: [batch, ids] int to [batch, dim]; zero where all are padding."""
        ids = trim(ids)
        return mean_of_embedded(self(ids), ids)

    def get_config(self):
        """Settings to make the layer again."""
        return {**super().get_config(), "size": self.size, "dim": self.dim}


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
    return tf.math.divide_no_nan(tf.reduce_sum(embedded, axis=1), count)
