"""Which items a batch's positives are compared with."""

from dataclasses import dataclass

import tensorflow as tf

from trainer.config import NegativesConfig
from trainer.randomness import Random


@dataclass(frozen=True)
class Candidates:
    """Items that every positive of a batch is compared with.

    Attributes:
      rows: [candidates] int32, item rows: the random ones, then the in-batch ones. May hold the same item twice.
      in_batch_count: scalar int32, how many come from the batch.
      random_count: how many are drawn uniformly.
    """

    rows: tf.Tensor
    in_batch_count: tf.Tensor
    random_count: int


def random_count(config: NegativesConfig) -> int:
    """How many shared negatives are drawn uniformly."""
    return round(config.per_positive * config.random_ratio)


def join_candidates(random_rows: tf.Tensor, positive_rows: tf.Tensor, config: NegativesConfig) -> Candidates:
    """Shared negatives: a uniform sample of the catalog and the positives of the batch (DPSR's N_rand and N_batch).

    Args:
      random_rows: [`random_count`] int32.
      positive_rows: [positives] int32, the batch's positives in random order.
      config: how many of these are used.
    """
    drawn = random_count(config)
    most = None if config.all_in_batch and config.random_ratio < 1.0 else config.per_positive - drawn
    in_batch = positive_rows[:most]
    return Candidates(tf.concat([random_rows, in_batch], axis=0), tf.size(in_batch), drawn)


def log_expected_count(
    rows: tf.Tensor, candidates: Candidates, positive_share: tf.Tensor, catalog_size: int
) -> tf.Tensor:
    """Log of how often items are expected among the candidates: what logQ correction subtracts.

    Args:
      rows: [...] int32, item rows.
      candidates: how many of each kind were drawn.
      positive_share: [items + 1] float32, each item's share of all training positives.
      catalog_size: items that the random ones are drawn from.

    Returns:
      [...] float32.
    """
    in_batch = tf.cast(candidates.in_batch_count, tf.float32) * tf.gather(positive_share, rows)
    # The floor keeps an item that is no training positive finite where no random negatives are drawn.
    return tf.math.log(tf.maximum(in_batch + candidates.random_count / catalog_size, 1e-9))


def log_expected_own(of_shared: tf.Tensor, config: NegativesConfig) -> tf.Tensor:
    """What stands in for the log of the expected count of a request's own negatives, scalar.

    Args:
      of_shared: [candidates], `log_expected_count` of the shared ones.
      config: the count, or that of the shared ones.
    """
    return tf.math.log(config.own_expected_count) if config.own_expected_count else tf.reduce_mean(of_shared)


def accidental_hits(
    candidate_rows: tf.Tensor, request_of_positive: tf.Tensor, positive_rows: tf.Tensor, requests: tf.Tensor
) -> tf.Tensor:
    """Where a candidate is no negative, because the request led to that very item.

    Args:
      candidate_rows: [candidates] int32.
      request_of_positive: [positives] int32, index of each positive's request.
      positive_rows: [positives] int32.
      requests: scalar int32, how many there are.

    Returns:
      [requests, candidates] bool.
    """
    every = tf.concat([positive_rows, candidate_rows], axis=0)
    distinct, place = tf.unique(every)
    of_positive, of_candidate = tf.split(place, [tf.size(positive_rows), tf.size(candidate_rows)])
    # The candidates by item, so that each positive finds those of its own: they are few among all pairs.
    by_item = tf.argsort(of_candidate)
    ends = tf.cumsum(tf.math.bincount(of_candidate, minlength=tf.size(distinct)))
    limits = tf.gather(ends, of_positive)
    starts = tf.gather(tf.pad(ends, [[1, 0]]), of_positive)
    hits = tf.ragged.range(starts, limits)
    pairs = tf.stack([tf.gather(request_of_positive, hits.value_rowids()), tf.gather(by_item, hits.values)], axis=1)
    none = tf.zeros(tf.stack([requests, tf.size(candidate_rows)]), tf.bool)
    return tf.tensor_scatter_nd_update(none, pairs, tf.ones_like(pairs[:, 0], tf.bool))


def mixed_negatives(
    positive: tf.Tensor,
    negative: tf.Tensor,
    masked: tf.Tensor,
    request: tf.Tensor,
    config: NegativesConfig,
    random: Random = tf.random,
) -> tf.Tensor:
    """Scores of MGDSPR's hard mixtures `I_mix = a i_pos + (1 - a) I_hard` (arXiv 2106.09297, section 3.4).

    The score of one head is linear in the item, so the mixture's score is the mixture of the scores: no vector is made.
    I_hard are the hardest of a request's negatives, shared or mined [ours]; `a` is drawn anew for each positive.

    Args:
      positive: [positives] scores.
      negative: [requests, candidates] scores.
      masked: [requests, candidates] bool, candidates that are no negatives.
      request: [positives] int32, index of each positive's request.
      config: how many, and the range of `a`.
      random: draws `a`.

    Returns:
      [positives, mixtures]; a mixture with a masked candidate scores very low.
    """
    lowest = tf.constant(-1e4, negative.dtype)
    hardest = tf.math.top_k(tf.where(masked, lowest, negative), tf.minimum(config.mixed, tf.shape(negative)[1])).values
    hardest = tf.gather(hardest, request)
    share = random.uniform([tf.size(positive), 1], config.mixing_low, config.mixing_high, positive.dtype)
    mixed = share * positive[:, tf.newaxis] + (1.0 - share) * hardest
    return tf.where(hardest > lowest, mixed, lowest)
