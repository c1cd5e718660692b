"""How a query of several vectors scores an item of one."""

from collections.abc import Callable, Sequence

import tensorflow as tf


def head_scores(query: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Inner product of every head with every item: [batch, heads, dim] x [items, dim] to [batch, heads, items]."""
    # One product of matrices, which `einsum` makes of it only after transpositions.
    heads, dim = query.shape[1:]
    scores = tf.matmul(tf.reshape(query, [-1, dim]), items, transpose_b=True)
    return tf.reshape(scores, [-1, heads, tf.shape(items)[0]])


def soft_dot_product(scores: tf.Tensor, beta: float) -> tf.Tensor:
    """DPSR's attentive score `sum_k w_k (e_k . g)`, `w_k = softmax_k(e_k . g / beta)` (arXiv 2006.02282).

    Args:
      scores: [batch, heads, ...], inner products of heads and items.
      beta: near 0 gives the best head, large gives the mean over heads.

    Returns:
      [batch, ...].
    """
    if scores.shape[1] == 2:
        return _of_two(scores[:, 0], scores[:, 1], beta)
    # Written out: `tf.nn.softmax` over any but the last axis transposes, which costs several times the softmax.
    weights = tf.exp((scores - tf.stop_gradient(tf.reduce_max(scores, axis=1, keepdims=True))) / beta)
    return tf.reduce_sum(weights * scores, axis=1) / tf.reduce_sum(weights, axis=1)


def _of_two(first: tf.Tensor, second: tf.Tensor, beta: float) -> tf.Tensor:
    """The soft dot product of two heads' scores, in less than half the passes over them, and so its gradient."""

    @tf.custom_gradient
    def of_both(first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Sequence[tf.Tensor]]]:
        # `w_1 = sigmoid((s_1 - s_2) / beta)`, hence `f = s_2 + w_1 (s_1 - s_2)`.
        apart = first - second
        weight = tf.sigmoid(apart * (1.0 / beta))

        def gradient(upstream: tf.Tensor) -> Sequence[tf.Tensor]:
            # `df/ds_1 = w_1 + w_1 (1 - w_1) (s_1 - s_2) / beta`, and the two add up to 1.
            slope = tf.raw_ops.SigmoidGrad(y=weight, dy=apart * (1.0 / beta))
            of_first = upstream * (weight + slope)
            return of_first, upstream - of_first

        return second + weight * apart, gradient

    return of_both(first, second)


def best_head(scores: tf.Tensor) -> tf.Tensor:
    """Score when each head searches on its own and the results are united: [batch, heads, ...] to [batch, ...]."""
    return tf.reduce_max(scores, axis=1)
