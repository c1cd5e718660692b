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
    heads, dim = vectors.shape[1:]
    positions, scores = index.search(tf.reshape(vectors, [-1, dim]), k)
    if heads == 1:
        return positions, scores
    return unite(tf.reshape(positions, [-1, heads * k]), tf.reshape(scores, [-1, heads * k]), k)


def unite(positions: tf.Tensor, scores: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best distinct positions, each with its best score.

    Args:
      positions: [batch, hits] int32 of several searches, -1 for no hit.
      scores: [batch, hits] float32.
      k: how many, at most the number of hits.

    Returns:
      Positions [batch, k], -1 where there are fewer, and scores [batch, k], -inf there.
    """
    # By position and, of equal ones, the best score first, in one sort: as integers, the bits of floats have the order
    # of the floats, those of negative ones the opposite order.
    bits = tf.bitcast(scores, tf.int32)
    ascending = tf.where(bits < 0, bits ^ tf.int32.max, bits)
    order = tf.cast(~positions, tf.int64) * 2**32 + tf.cast(ascending, tf.int64)
    order = tf.math.top_k(order, tf.shape(order)[1]).indices
    positions, scores = (tf.gather(values, order, batch_dims=1) for values in (positions, scores))
    repeated = tf.pad(positions[:, 1:] == positions[:, :-1], [[0, 0], [1, 0]])
    scores = tf.where(repeated | (positions < 0), float("-inf"), scores)
    scores, best = tf.math.top_k(scores, k=k)
    positions = tf.gather(positions, best, batch_dims=1)
    return tf.where(tf.math.is_finite(scores), positions, -1), scores
