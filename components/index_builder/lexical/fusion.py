"""Hybrid answers: what the dense and the lexical search found, ranked by both of their scores.

Scores are combined convexly, each divided by the largest that it can be for the query, which keeps what differences
mean where ranks would not (Bruch, Gai and Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, TOIS 2023).
That both are theoretical bounds, not the largest of what was found as in their TM2C2, makes scores of shards
comparable.
"""

import tensorflow as tf

from components.index_builder.search_index import SearchIndex


def dense_scores(index: SearchIndex, vectors: tf.Tensor, positions: tf.Tensor, longest: float) -> tf.Tensor:
    """Inner products with the best head, over the largest possible: cosines, where vectors have unit length.

    Args:
      index: has the items.
      vectors: [heads, dim] float32, of one request.
      positions: [some] int32.
      longest: the largest length of a vector in the catalog.

    Returns:
      [some] float32, at most 1.
    """
    products = tf.reduce_max(tf.matmul(vectors, index.vectors_at(positions), transpose_b=True), axis=0)
    return tf.math.divide_no_nan(products, tf.reduce_max(tf.norm(vectors, axis=1)) * longest)


def union(first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What is in either of two lists of positions, ascending, and whether each is there for the first time.

    Args:
      first: [some] int32, -1 for no hit.
      second: [others] int32.

    Returns:
      Positions [some + others] int32, 0 for no hit, and whether they count [some + others] bool.
    """
    positions = tf.sort(tf.concat([first, second], axis=0))
    new = tf.concat([[True], positions[1:] != positions[:-1]], axis=0)
    return tf.maximum(positions, 0), new & (positions >= 0)


def fuse(dense: tf.Tensor, lexical: tf.Tensor, dense_weight: float | tf.Tensor) -> tf.Tensor:
    """The score of a hybrid answer, of both scores, each at most 1."""
    return dense_weight * dense + (1 - dense_weight) * lexical
