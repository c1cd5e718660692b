"""One training step: requests against their positives and shared negatives."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from schema import features
from schema.features import Stage
from trainer import item_table, losses, negatives
from trainer.config import TrainerConfig
from trainer.item_table import ItemTable
from trainer.layers.scoring import head_scores
from trainer.models.towers import Towers


class RetrievalModel(tfrs.models.Model):
    """Trains a pair of towers with the loss and the negatives of the settings.

    Args:
      towers: what is trained.
      config: loss, negatives and weights.
      table: the catalogue that items are joined from and random negatives are drawn from.
      positive_counts: [items + 1], how often each item is a positive of the training requests (for logQ).
    """

    def __init__(self, towers: Towers, config: TrainerConfig, table: ItemTable, positive_counts: np.ndarray):
        super().__init__()
        self.towers = towers
        self._config = config
        self._columns = table.as_tensors()
        self._catalogue_size = table.size
        share = positive_counts / max(1, positive_counts.sum())
        self._positive_share = tf.constant(share, tf.float32)

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Mean loss over the batch's positives.

        Args:
          inputs: a batch of `trainer.input`.
          training: whether dropout is on.

        Returns:
          Scalar.
        """
        request_items = inputs[features.ITEMS] - 1
        is_positive = request_items >= 0
        request = tf.cast(tf.where(is_positive)[:, 0], tf.int32)
        positive_rows = tf.boolean_mask(request_items, is_positive)
        candidates = negatives.sample_candidates(positive_rows, self._catalogue_size, self._config.negatives)
        masked = negatives.accidental_hits(candidates.rows, request, positive_rows, request_items)

        query = self.towers.encode_query(inputs, self._columns, training=training)
        # One pass of the item tower for both: an item that is both is encoded twice, which costs less than a `unique`.
        rows = tf.concat([positive_rows, candidates.rows], axis=0)
        items = self.towers.encode_items(item_table.gather(self._columns, rows), training=training)
        positive_items, candidate_items = tf.split(items, [tf.size(positive_rows), tf.size(candidates.rows)])

        by_head = tf.einsum("phd,pd->ph", tf.gather(query, request), positive_items)
        positive = self.towers.training_score(by_head[:, :, tf.newaxis])[:, 0]
        negative = tf.gather(self.towers.training_score(head_scores(query, candidate_items)), request)
        loss = self._loss(positive, negative, masked, positive_rows, candidates)

        ordered = tf.boolean_mask(inputs[features.STAGES], is_positive) == int(Stage.ORDERED)
        weight = tf.where(ordered, self._config.loss.order_weight, 1.0)
        return tf.math.divide_no_nan(tf.reduce_sum(loss * weight), tf.reduce_sum(weight))

    def _loss(
        self,
        positive: tf.Tensor,
        negative: tf.Tensor,
        masked: tf.Tensor,
        positive_rows: tf.Tensor,
        candidates: negatives.Candidates,
    ) -> tf.Tensor:
        settings = self._config.loss
        if settings.kind == "hinge":
            return losses.hinge_loss(positive, negative, masked, settings.margin)
        if not settings.logq_correction:
            return losses.sampled_softmax_loss(positive, negative, masked, settings.temperature)
        positive_log_expected, negative_log_expected = (
            negatives.log_expected_count(rows, candidates, self._positive_share, self._catalogue_size)
            for rows in (positive_rows, candidates.rows)
        )
        return losses.sampled_softmax_loss(
            positive, negative, masked, settings.temperature, positive_log_expected, negative_log_expected
        )
