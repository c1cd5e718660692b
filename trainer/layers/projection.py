"""The feed-forward end of a tower."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import tensorflow as tf
import tf_keras as keras

from trainer.randomness import Dropout


@dataclass(frozen=True)
class Repeated:
    """A part of a batch's inputs in which few rows are distinct.

    A training step maps hundreds of rows that have the same brand, or no behavior at all: each distinct row is mapped
    once.

    Attributes:
      rows: [distinct, width].
      place: [batch] int32, which of `rows` is that of each input.
    """

    rows: tf.Tensor
    place: tf.Tensor


Part: TypeAlias = tf.Tensor | Repeated


def present_rows(values: tf.Tensor) -> Repeated:
    """Rows of which many are zero, [batch, width]: means over lists that may be empty."""
    present = tf.reduce_any(values != 0.0, axis=1)
    count = tf.cumsum(tf.cast(present, tf.int32))
    rows = tf.concat([tf.zeros_like(values[:1]), tf.boolean_mask(values, present)], axis=0)
    return Repeated(rows, tf.where(present, count, 0))


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

    def call(
        self, inputs: tf.Tensor | Sequence[Part], skip: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Unit vectors.

        Args:
          inputs: [batch, width], or the parts of it, side by side.
          skip: [batch, dim], added to the last layer before the normalization.
          training: whether dropout is on.

        Returns:
          [batch, dim].
        """
        first, *others = [*self._dense, self._last]
        x = first(inputs) if tf.is_tensor(inputs) else map_parts(first, inputs)
        for dense in others:
            x = dense(self._drop(x, training=training))
        return tf.math.l2_normalize(x if skip is None else x + skip, axis=-1, epsilon=1e-12)

    def get_config(self) -> dict[str, Any]:
        """Settings to make the layer again."""
        return {**super().get_config(), "hidden": self.hidden, "dim": self.dim, "dropout": self.dropout}


def map_parts(dense: keras.layers.Dense, parts: Sequence[Part]) -> tf.Tensor:
    """What a dense layer makes of inputs in parts, [batch, units]."""
    if all(tf.is_tensor(part) for part in parts):
        return dense(tf.concat(parts, axis=-1))
    widths = [part.rows.shape[1] if isinstance(part, Repeated) else part.shape[1] for part in parts]
    if not dense.built:
        dense.build([None, sum(widths)])
    kernels = list(zip(parts, tf.split(dense.kernel, widths), strict=True))
    mapped = [
        tf.gather(tf.matmul(part.rows, kernel), part.place) for part, kernel in kernels if isinstance(part, Repeated)
    ]
    whole = [(part, kernel) for part, kernel in kernels if not isinstance(part, Repeated)]
    if whole:
        values, their_kernels = zip(*whole, strict=True)
        mapped.append(tf.matmul(tf.concat(values, axis=-1), tf.concat(their_kernels, axis=0)))
    return dense.activation(tf.nn.bias_add(tf.add_n(mapped), dense.bias))
