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
        """Mean over the ids that are no padding: [..., ids] int to [..., dim]; zero where all are padding."""
        count = tf.reduce_sum(tf.cast(ids > 0, tf.float32), axis=-1, keepdims=True)
        return tf.math.divide_no_nan(tf.reduce_sum(self(ids), axis=-2), count)

    def get_config(self):
        """Settings to make the layer again."""
        return {**super().get_config(), "size": self.size, "dim": self.dim}
