"""Every head searches on its own; the results are united, de-duplicated and re-ranked, all in the graph.

DPSR (arXiv 2006.02282): online, each of a query's heads runs its own nearest-neighbor search over the one item index.
"""

import tensorflow as tf

from components.index_builder.search_index import SearchIndex


def search_heads(index: SearchIndex, vectors: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best items over all heads, each with the score of its best head.

    Args:
      index: what each head searches for its own k best.
      vectors: [batch, heads, dim] float32.
      k: how many items, at most as many as are indexed.

    Returns:
      Positions in the index [batch, k] int32, -1 where there are fewer hits, and scores [batch, k] float32.
    """
    batch, heads, dim = tf.unstack(tf.shape(vectors))
    positions, scores = index.search(tf.reshape(vectors, [batch * heads, dim]), k)
    if vectors.shape[1] == 1:
        return positions, scores
    return unite(tf.reshape(positions, [batch, heads * k]), tf.reshape(scores, [batch, heads * k]), k)


def unite(positions: tf.Tensor, scores: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best distinct positions, each with its best score.

    Args:
      positions: [batch, hits] int32 of several searches, -1 for no hit.
      scores: [batch, hits] float32.
      k: how many, at most the number of hits.

    Returns:
      Positions [batch, k], -1 where there are fewer, and scores [batch, k], -inf there.
    """
    by_score = tf.argsort(scores, axis=1, direction="DESCENDING", stable=True)
    positions = tf.gather(positions, by_score, batch_dims=1)
    scores = tf.gather(scores, by_score, batch_dims=1)
    # Stable, so that of equal positions the one with the best score comes first.
    by_position = tf.argsort(positions, axis=1, stable=True)
    positions = tf.gather(positions, by_position, batch_dims=1)
    scores = tf.gather(scores, by_position, batch_dims=1)
    repeated = tf.pad(positions[:, 1:] == positions[:, :-1], [[0, 0], [1, 0]])
    scores = tf.where(repeated | (positions < 0), float("-inf"), scores)
    scores, best = tf.math.top_k(scores, k=k)
    positions = tf.gather(positions, best, batch_dims=1)
    return tf.where(tf.math.is_finite(scores), positions, -1), scores
