"""The part of a text vector that is its words and nothing else."""

import tensorflow as tf
import tf_keras as keras

from trainer.layers.embedding import PaddedEmbedding


class LexicalSkip(keras.layers.Layer):
    """A weighted sum of token embeddings, mapped linearly and alike for queries and titles.

    Added to the last layer of both towers, it makes them start as a bag-of-words match and learn what differs from it.
    Without it a rare token must survive two separately learned networks to count, so that new items and rare queries
    are found worse than by BM25. Each token's weight is learned, starting equal: frequent words lose weight, as they
    do by inverse document frequency. [ours]

    Args:
      tokens: how many token ids there are, padding not counted.
      dim: width of the result.
    """

    def __init__(self, tokens: int, dim: int, **kwargs):
        super().__init__(**kwargs)
        self._weights = PaddedEmbedding(tokens, 1, name="token_weights")
        self._map = keras.layers.Dense(dim, use_bias=False, kernel_initializer="orthogonal")

    def call(self, embedded: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Unit vectors of texts, zero for an empty one.

        Args:
          embedded: [batch, tokens, embedding_dim], zero for padding.
          ids: [batch, tokens] int, 0 is padding.

        Returns:
          [batch, dim].
        """
        total = tf.reduce_sum(embedded * tf.nn.softplus(self._weights(ids)), axis=1)
        return tf.math.l2_normalize(self._map(total), axis=-1, epsilon=1e-12)
