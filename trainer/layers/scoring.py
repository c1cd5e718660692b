"""How a query of several vectors scores an item of one."""

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
    if scores.shape[1] == 1:
        return tf.squeeze(scores, axis=1)
    # Written out: `tf.nn.softmax` over any but the last axis transposes, which costs several times the softmax.
    weights = tf.exp((scores - tf.stop_gradient(tf.reduce_max(scores, axis=1, keepdims=True))) / beta)
    return tf.reduce_sum(weights * scores, axis=1) / tf.reduce_sum(weights, axis=1)


def best_head(scores: tf.Tensor) -> tf.Tensor:
    """Score when each head searches on its own and the results are united: [batch, heads, ...] to [batch, ...]."""
    return tf.reduce_max(scores, axis=1)
