"""Attention over padded sequences, in which padding changes nothing."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from trainer.randomness import Dropout

# Added to the logits of what is not there; its exponential is 0 in float32.
_ABSENT = -1e9


def attend(query: tf.Tensor, memory: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """`softmax(Q M^T) M` over what is present, together with a zero vector (MGDSPR, arXiv 2106.09297, section 3.2).

    The zero vector lets a query ignore a memory that has nothing to do with it; an empty memory gives zero.

    Args:
      query: [batch, queries, dim].
      memory: [batch, steps, dim].
      present: [batch, steps] bool.

    Returns:
      [batch, queries, dim].
    """
    logits = tf.matmul(query, memory, transpose_b=True) + tf.where(present, 0.0, _ABSENT)[:, tf.newaxis, :]
    return tf.matmul(_softmax_with_zero(logits), memory)


def attend_each(query: tf.Tensor, memories: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """The sum of `attend` over several memories that have the same steps, by the matrix products of one.

    Args:
      query: [batch, queries, dim].
      memories: [batch, memories, steps, dim].
      present: [batch, steps] bool.

    Returns:
      [batch, queries, dim].
    """
    count, steps, dim = memories.shape[1:]
    queries = tf.shape(query)[1]
    together = tf.reshape(memories, [-1, count * steps, dim])
    logits = tf.reshape(tf.matmul(query, together, transpose_b=True), [-1, queries, count, steps])
    weights = _softmax_with_zero(logits + tf.where(present, 0.0, _ABSENT)[:, tf.newaxis, tf.newaxis, :])
    return tf.matmul(tf.reshape(weights, [-1, queries, count * steps]), together)


def _softmax_with_zero(logits: tf.Tensor) -> tf.Tensor:
    """The softmax over the last axis and one more logit of 0, whose own weight is left out."""
    more = tf.pad(logits, [[0, 0]] * (logits.shape.rank - 1) + [[1, 0]])
    return tf.nn.softmax(more)[..., 1:]


class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention with a residual connection and layer normalization; a Transformer block with `inner`.

    Args:
      dim: width of inputs and outputs, a multiple of `heads`.
      heads: attention heads.
      inner: width of the feed-forward layer after it; 0 leaves that layer out.
      dropout: share of each sub-layer's output that is dropped in training.
    """

    def __init__(self, dim: int, heads: int, inner: int = 0, dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.dim, self.heads, self.inner, self.dropout = dim, heads, inner, dropout
        self._query = keras.layers.Dense(dim)
        self._key_value = keras.layers.Dense(2 * dim)
        self._output = keras.layers.Dense(dim)
        self._drop = Dropout(dropout)
        self._norms = [keras.layers.LayerNormalization(epsilon=1e-6) for _ in range(2 if inner else 1)]
        self._feed_forward = [keras.layers.Dense(inner, activation="relu"), keras.layers.Dense(dim)] if inner else []

    def call(self, sequence: tf.Tensor, present: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Each step in the light of all steps that are present.

        Args:
          sequence: [batch, steps, dim].
          present: [batch, steps] bool.
          training: whether dropout is on.

        Returns:
          [batch, steps, dim], zero where not present.
        """
        batch, steps = tf.unstack(tf.shape(sequence)[:2])
        width = self.dim // self.heads
        # What is not present is left out of all but the attention itself: most lists are far shorter than the longest.
        places = tf.where(present)

        def by_step(values: tf.Tensor) -> tf.Tensor:
            shape = tf.stack([batch, steps, values.shape[-1]])
            return tf.scatter_nd(places, values, tf.cast(shape, places.dtype))

        x = tf.gather_nd(sequence, places)
        parts = by_step(tf.concat([self._query(x), self._key_value(x)], axis=-1))
        parts = tf.reshape(parts, [batch, steps, 3, self.heads, width])
        query, key, value = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))
        logits = tf.matmul(query, key, transpose_b=True) / width**0.5
        weights = tf.nn.softmax(logits + tf.where(present, 0.0, _ABSENT)[:, tf.newaxis, tf.newaxis, :])
        mixed = tf.reshape(tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3]), [batch, steps, self.dim])
        return by_step(self._finish(x, tf.gather_nd(mixed, places), training))

    def first(self, sequence: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The first step alone in the light of all steps, for a fraction of the cost: all of them are present.

        One step asks, so that its query is brought to the steps, not their keys and values to the query.

        Args:
          sequence: [batch, steps, dim].
          training: whether dropout is on.

        Returns:
          [batch, dim].
        """
        batch = tf.shape(sequence)[0]
        width = self.dim // self.heads
        first = sequence[:, 0]
        query = tf.reshape(self._query(first), [batch, self.heads, width])
        if not self._key_value.built:
            self._key_value.build(sequence.shape)
        key, value = tf.unstack(tf.reshape(self._key_value.kernel, [self.dim, 2, self.heads, width]), axis=1)
        # A key's bias is the same for all steps; the softmax does not see it.
        asked = tf.einsum("bhw,dhw->bhd", query, key)
        weights = tf.nn.softmax(tf.matmul(asked, sequence, transpose_b=True) / width**0.5)
        mixed = tf.einsum("bhd,dhw->bhw", tf.matmul(weights, sequence), value)
        mixed = tf.reshape(mixed, [batch, self.dim]) + self._key_value.bias[self.dim :]
        return self._finish(first, mixed, training)

    def _finish(self, x: tf.Tensor, mixed: tf.Tensor, training: bool) -> tf.Tensor:
        x = self._norms[0](x + self._drop(self._output(mixed), training=training))
        if self.inner:
            widen, narrow = self._feed_forward
            x = self._norms[1](x + self._drop(narrow(widen(x)), training=training))
        return x

    def get_config(self) -> dict[str, Any]:
        """Settings to make the layer again."""
        return {
            **super().get_config(),
            "dim": self.dim,
            "heads": self.heads,
            "inner": self.inner,
            "dropout": self.dropout,
        }
