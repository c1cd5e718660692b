"""The feed-forward end of a tower."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from trainer.randomness import Dropout


class Projection(keras.layers.Layer):
    """ReLU layers of decreasing width and an L2 normalization: a DPSR projection head (arXiv 2006.02282, section 4).

    The last layer is linear where the paper draws a third ReLU: vectors confined to the positive orthant can only have
    cosines above zero, which leaves the loss less room ([ours]).

    Args:
      hidden: widths of the ReLU layers.
      dim: width of the result.
      dropout: share of each hidden layer's outputs dropped in training.
    """

    def __init__(self, hidden: Sequence[int], dim: int, dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden = tuple(hidden)
        self.dim = dim
        self.dropout = dropout
        self._dense = [keras.layers.Dense(width, activation="relu") for width in self.hidden]
        self._drop = Dropout(dropout)
        self._last = keras.layers.Dense(dim)

    def call(self, inputs: tf.Tensor, skip: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """Unit vectors.

        Args:
          inputs: [batch, width].
          skip: [batch, dim], added to the last layer before the normalization.
          training: whether dropout is on.

        Returns:
          [batch, dim].
        """
        x = inputs
        for dense in self._dense:
            x = self._drop(dense(x), training=training)
        x = self._last(x)
        return tf.math.l2_normalize(x if skip is None else x + skip, axis=-1, epsilon=1e-12)

    def get_config(self) -> dict[str, Any]:
        """Settings to make the layer again."""
        return {**super().get_config(), "hidden": self.hidden, "dim": self.dim, "dropout": self.dropout}
