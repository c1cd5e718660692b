"""Losses over scores of positives and of the candidates that they must beat."""

import tensorflow as tf

# Large enough to vanish in a softmax, small enough to stay finite in half precision.
_MASKED = -1e4


def hinge_loss(positive: tf.Tensor, negative: tf.Tensor, masked: tf.Tensor, margin: float) -> tf.Tensor:
    """`sum over negatives of max(0, margin - f(q, s+) + f(q, s-))` (DPSR, arXiv 2006.02282), as a mean over negatives.

    The mean in place of the sum leaves the optimum where it is and the scale free of the number of negatives.

    Args:
      positive: [positives] scores.
      negative: [positives, candidates] scores.
      masked: [positives, candidates] bool, candidates that are no negatives.
      margin: delta.

    Returns:
      [positives].
    """
    counted = tf.cast(~masked, negative.dtype)
    violations = tf.nn.relu(margin - positive[:, tf.newaxis] + negative) * counted
    return tf.math.divide_no_nan(tf.reduce_sum(violations, axis=1), tf.reduce_sum(counted, axis=1))


def log_sum(logits: tf.Tensor, masked: tf.Tensor) -> tf.Tensor:
    """Log of the sum of a softmax's terms over the candidates of each row: [rows, candidates] to [rows].

    Args:
      logits: scores over temperature, less the log of the candidate's expected count (Yi et al., RecSys 2019).
      masked: [rows, candidates] bool, accidental hits.
    """
    return tf.reduce_logsumexp(tf.where(masked, tf.constant(_MASKED, logits.dtype), logits), axis=1)


def sampled_softmax_loss(positive: tf.Tensor, *log_sums: tf.Tensor) -> tf.Tensor:
    """Cross entropy of the positive among itself and its candidates.

    Args:
      positive: [positives] logits.
      log_sums: [positives] each, `log_sum` over candidates. They may be those of the positive's request, so that
        candidates are summed once for a request, not for each of its positives.

    Returns:
      [positives].
    """
    every = log_sums[0] if len(log_sums) == 1 else tf.reduce_logsumexp(tf.stack(log_sums, axis=1), axis=1)
    return tf.nn.softplus(every - positive)


def stage_ranking_loss(scores: tf.Tensor, stages: tf.Tensor, kind: str, margin: float) -> tf.Tensor:
    """MMSE's ranking loss among the items of one search (arXiv 2303.11009), our reading of its abstract [ours].

    A mean over pairs with `stage(i) > stage(j)`: ordered over clicked over shown. Of each pair `hinge` has
    `max(0, m_ij - s_i + s_j)`, with `m_ij` = `margin` times how many stages apart the two are; `logistic` has
    `log(1 + exp(s_j - s_i))` (RankNet, Burges et al., ICML 2005).

    Args:
      scores: [requests, items].
      stages: [requests, items] int, `schema.features.Stage`; 0 is padding.
      kind: `hinge` or `logistic`.
      margin: for one stage, of `hinge`.

    Returns:
      Scalar, the mean over requests that have such a pair; 0 where none has.
    """
    apart = tf.cast(stages[:, :, tf.newaxis] - stages[:, tf.newaxis, :], scores.dtype)
    behind = scores[:, tf.newaxis, :] - scores[:, :, tf.newaxis]
    costs = tf.nn.softplus(behind) if kind == "logistic" else tf.nn.relu(margin * apart + behind)
    return _mean_by_request(costs, _got_less_far(stages))


def level_loss(logits: tf.Tensor, stages: tf.Tensor, sampled: tf.Tensor) -> tf.Tensor:
    """Levels of one search, the lowest of them the sampled negatives (after MOPPR, arXiv 2210.04170) [ours].

    Each item's cross entropy among itself, the items of its search that got less far and the sampled negatives.

    Args:
      logits: [requests, items].
      stages: [requests, items] int, `schema.features.Stage`; 0 is padding.
      sampled: [requests], `log_sum` over the sampled negatives.

    Returns:
      Scalar, the mean over requests that have an item; 0 where none has.
    """
    lowest = tf.constant(_MASKED, logits.dtype)
    below = tf.reduce_logsumexp(tf.where(_got_less_far(stages), logits[:, tf.newaxis, :], lowest), axis=2)
    others = tf.reduce_logsumexp(tf.stack([below, tf.broadcast_to(sampled[:, tf.newaxis], tf.shape(below))]), axis=0)
    return _mean_by_request(tf.nn.softplus(others - logits), stages > 0)


def _got_less_far(stages: tf.Tensor) -> tf.Tensor:
    """Which second item of a request is there and got less far than the first: [requests, items, items] bool."""
    second = stages[:, tf.newaxis, :]
    return (stages[:, :, tf.newaxis] > second) & (second > 0)


def _mean_by_request(costs: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    """Mean over requests with something `counted`, [requests, ...] bool, of the mean of its costs; 0 without any."""
    counted = tf.cast(counted, costs.dtype)
    axes = list(range(1, costs.shape.rank))
    counts = tf.reduce_sum(counted, axis=axes)
    by_request = tf.math.divide_no_nan(tf.reduce_sum(costs * counted, axis=axes), counts)
    return tf.math.divide_no_nan(tf.reduce_sum(by_request), tf.math.count_nonzero(counts, dtype=costs.dtype))
