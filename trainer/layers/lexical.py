"""The part of a text vector that is its words and nothing else."""

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from trainer.layers.embedding import EmbeddedLists, PaddedEmbedding


class LexicalSkip(keras.layers.Layer):
    """A weighted sum of token embeddings, mapped linearly and alike for queries and titles.

    Added to the last layer of both towers, it makes them start as a bag-of-words match and learn what differs from it.
    Without it a rare token must survive two separately learned networks to count, so that new items and rare queries
    are found worse than by BM25. Each token's weight is learned, and starts from `start_from_frequencies`. [ours]

    Args:
      tokens: how many token ids there are, padding not counted.
      dim: width of the result.
    """

    def __init__(self, tokens: int, dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self._weights = PaddedEmbedding(tokens, 1, name="token_weights")
        self._map = keras.layers.Dense(dim, use_bias=False, kernel_initializer="orthogonal")

    def start_from_frequencies(self, document_frequency: np.ndarray, documents: int, shares: np.ndarray) -> None:
        """Sets each token's weight to the root of its inverse document frequency, times its share.

        The weight counts on both sides, so that a token that query and item have in common adds its inverse document
        frequency to the score, as in BM25, and an item's length counts by the root, close to BM25's b = 0.75.

        Args:
          document_frequency: [tokens + 1], items that hold each token, by token id.
          documents: how many items there are.
          shares: [tokens + 1], how much each token is to count beside others of its rarity.
        """
        frequency = np.maximum(document_frequency, 0.5)
        weight = np.sqrt(np.log1p(documents / frequency)) * shares
        # The inverse of softplus, which keeps weights above zero.
        self._weights.table.assign(np.log(np.expm1(weight))[:, np.newaxis])

    def call(self, *texts: EmbeddedLists) -> tf.Tensor:
        """Unit vectors of texts, zero for an empty one.

        Args:
          texts: embedded token ids; the lists of the same row, one of each, make one text.

        Returns:
          [batch, dim].
        """
        total = tf.add_n([text.sum(tf.nn.softplus(self._weights(text.ids))) for text in texts])
        return tf.math.l2_normalize(self._map(total), axis=-1, epsilon=1e-12)
