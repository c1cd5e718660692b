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


def sample_candidates(
    positive_rows: tf.Tensor, catalog_size: int, config: NegativesConfig, random: Random = tf.random
) -> Candidates:
    """Shared negatives: other positives of the batch and a uniform sample of the catalog (DPSR's N_batch and N_rand).

    Args:
      positive_rows: [positives] int32, the batch's positives in random order.
      catalog_size: items to draw from.
      config: how many, and the mixing ratio.
      random: draws the sample.
    """
    random_count = round(config.per_positive * config.random_ratio)
    in_batch = positive_rows[: config.per_positive - random_count]
    uniform = random.uniform([random_count], 0, catalog_size, tf.int32)
    return Candidates(tf.concat([uniform, in_batch], axis=0), tf.size(in_batch), random_count)


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


def accidental_hits(candidate_rows: tf.Tensor, request_of_positive: tf.Tensor, positive_rows: tf.Tensor) -> tf.Tensor:
    """Where a candidate is no negative, because the same request led to that very item.

    Args:
      candidate_rows: [candidates] int32.
      request_of_positive: [positives] int32, index of each positive's request, ascending.
      positive_rows: [positives] int32.

    Returns:
      [positives, candidates] bool.
    """
    itself = tf.cast(positive_rows[:, tf.newaxis] == candidate_rows[tf.newaxis, :], tf.float32)
    # Sums over a request's positives and not over all places of its padded list, which are several times as many.
    return tf.gather(tf.math.segment_sum(itself, request_of_positive), request_of_positive) > 0


def mixed_negatives(
    positive: tf.Tensor,
    negative: tf.Tensor,
    masked: tf.Tensor,
    config: NegativesConfig,
    random: Random = tf.random,
) -> tf.Tensor:
    """Scores of MGDSPR's hard mixtures `I_mix = a i_pos + (1 - a) I_hard` (arXiv 2106.09297, section 3.4).

    The score is linear in the item, so the mixture's score is the mixture of the scores: no vector is made. I_hard are
    the hardest of the batch's shared negatives [ours]; `a` is drawn anew for each positive.

    Args:
      positive: [positives] scores.
      negative: [positives, candidates] scores.
      masked: [positives, candidates] bool, candidates that are no negatives.
      config: how many, and the range of `a`.
      random: draws `a`.

    Returns:
      [positives, mixtures]; a mixture with a masked candidate scores very low.
    """
    lowest = tf.constant(-1e4, negative.dtype)
    hardest = tf.math.top_k(tf.where(masked, lowest, negative), tf.minimum(config.mixed, tf.shape(negative)[1])).values
    share = random.uniform([tf.size(positive), 1], config.mixing_low, config.mixing_high, positive.dtype)
    mixed = share * positive[:, tf.newaxis] + (1.0 - share) * hardest
    return tf.where(hardest > lowest, mixed, lowest)
