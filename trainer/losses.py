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


def sampled_softmax_loss(
    positive: tf.Tensor,
    negative: tf.Tensor,
    masked: tf.Tensor,
    temperature: float,
    positive_log_expected: tf.Tensor | None = None,
    negative_log_expected: tf.Tensor | None = None,
) -> tf.Tensor:
    """Cross entropy of the positive among itself and the candidates, with temperature and logQ correction.

    Args:
      positive: [positives] scores.
      negative: [positives, candidates] scores.
      masked: [positives, candidates] bool, accidental hits.
      temperature: divides the scores.
      positive_log_expected: [positives], log of the expected count of the positive among the candidates, subtracted
        from its logit (Yi et al., RecSys 2019); None leaves the correction out.
      negative_log_expected: [candidates], likewise.

    Returns:
      [positives].
    """
    positive_logit = positive / temperature
    negative_logits = negative / temperature
    if positive_log_expected is not None and negative_log_expected is not None:
        positive_logit -= positive_log_expected
        negative_logits -= negative_log_expected[tf.newaxis, :]
    negative_logits = tf.where(masked, tf.constant(_MASKED, negative.dtype), negative_logits)
    logits = tf.concat([positive_logit[:, tf.newaxis], negative_logits], axis=1)
    return tf.reduce_logsumexp(logits, axis=1) - positive_logit


def stage_ranking_loss(scores: tf.Tensor, stages: tf.Tensor, margin: float) -> tf.Tensor:
    """MMSE's ranking loss among the items of one search (arXiv 2303.11009), our reading of its abstract [ours].

    `sum over pairs with stage(i) > stage(j) of max(0, m_ij - s_i + s_j)`, as a mean over pairs, with `m_ij` = `margin`
    times how many stages apart the two are: ordered over clicked over shown.

    Args:
      scores: [requests, items].
      stages: [requests, items] int, `schema.features.Stage`; 0 is padding.
      margin: for one stage.

    Returns:
      [requests]; 0 for a request without such a pair.
    """
    apart = tf.cast(stages[:, :, tf.newaxis] - stages[:, tf.newaxis, :], scores.dtype)
    there = stages > 0
    counted = tf.cast((apart > 0) & there[:, :, tf.newaxis] & there[:, tf.newaxis, :], scores.dtype)
    violations = tf.nn.relu(margin * apart - scores[:, :, tf.newaxis] + scores[:, tf.newaxis, :]) * counted
    return tf.math.divide_no_nan(tf.reduce_sum(violations, axis=[1, 2]), tf.reduce_sum(counted, axis=[1, 2]))
