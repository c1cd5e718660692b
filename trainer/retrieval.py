"""One training step: requests against their positives and shared negatives."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from schema import features, transformed
from schema.features import Stage
from trainer import item_table, losses, negatives
from trainer.catalog_queries import draw_queries
from trainer.clicked_queries import without_own
from trainer.config import TrainerConfig
from trainer.input import PAGE_STAGES, SHOWN_ITEMS
from trainer.item_table import ItemTable
from trainer.layers.scoring import head_scores
from trainer.models.towers import Towers

_RANDOM = "random"


class RetrievalModel(tfrs.models.Model):
    """Trains a pair of towers with the loss and the negatives of the settings.

    Args:
      towers: what is trained.
      config: loss, negatives and weights.
      table: the catalog that items are joined from and random negatives are drawn from.
      positive_counts: [items + 1], how often each item is a positive of the training requests (for logQ).
      word_subwords: character n-grams of words (`catalog_queries.subwords_of_words`).
    """

    train_function: Callable[[Iterator[Mapping[str, tf.Tensor]]], dict[str, Any]] | None

    def __init__(
        self,
        towers: Towers,
        config: TrainerConfig,
        table: ItemTable,
        positive_counts: np.ndarray,
        word_subwords: np.ndarray,
    ):
        super().__init__()
        self.towers = towers
        self._config = config
        self._columns = table.as_tensors()
        self._word_subwords = tf.constant(word_subwords)
        self._catalog_size = table.size
        share = positive_counts / max(1, positive_counts.sum())
        self._positive_share = tf.constant(share, tf.float32)
        # Its state is a variable of the model: a checkpoint holds it, and what is drawn goes on from there.
        self._random = tf.random.Generator.from_seed(config.seed)

    def make_train_function(self, force: bool = False) -> Callable[[Iterator[Mapping[str, tf.Tensor]]], dict[str, Any]]:
        """One step on the next batch of an iterator; gives what Keras logs."""

        def step(batches: Iterator[Mapping[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
            logs = self.train_step(next(batches))
            self._train_counter.assign_add(1)
            return logs

        if self.train_function is None or force:
            # Nothing in a step branches on tensors in Python; AutoGraph's translation of it, which Keras' own function
            # asks for, would take much of the time of a short training.
            self.train_function = tf.function(step, autograph=False, reduce_retracing=True)
        return self.train_function

    def compute_loss(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Mean loss over the batch's positives, and the ranking loss over its requests where there is one.

        Args:
          inputs: a batch of `trainer.input`.
          training: whether dropout is on.

        Returns:
          Scalar.
        """
        asked = tf.math.count_nonzero(inputs[features.ITEMS], dtype=tf.int32)
        settings = self._config.negatives
        random_rows = self._random.uniform([negatives.random_count(settings)], 0, self._catalog_size, tf.int32)
        inputs = self._with_catalog_queries(inputs, random_rows)
        request_items = inputs[features.ITEMS] - 1
        is_positive = request_items >= 0
        request = tf.cast(tf.where(is_positive)[:, 0], tf.int32)
        positive_rows = tf.boolean_mask(request_items, is_positive)
        rows = {_RANDOM: random_rows}
        rows |= {name: inputs[name] - 1 for name in (features.HARD_NEGATIVES, SHOWN_ITEMS) if name in inputs}

        query = self.towers.encode_query(inputs, self._columns, training=training)
        words = tf.gather(inputs[transformed.QUERY_UNIGRAMS], request)
        items, own = self._encode_items(rows, positive_rows, words, training)
        by_head = tf.einsum("phd,pd->ph", tf.gather(query, request), own)
        positive = self.towers.training_score(by_head[:, :, tf.newaxis])[:, 0]
        # Catalog queries come last, and so do their positives, which are the random items once more.
        candidates = negatives.join_candidates(random_rows, positive_rows[:asked], settings)
        vectors = tf.concat([items[_RANDOM], own[: candidates.in_batch_count]], axis=0)
        negative = self.towers.training_score(head_scores(query, vectors))
        led_to, of_request = positive_rows, request
        if SHOWN_ITEMS in rows and self._config.loss.ranking_kind == "levels":
            # What a page showed is a level above the negatives, and so none of them.
            on_page = rows[SHOWN_ITEMS] >= 0
            led_to = tf.concat([led_to, tf.boolean_mask(rows[SHOWN_ITEMS], on_page)], axis=0)
            of_request = tf.concat([of_request, tf.cast(tf.where(on_page)[:, 0], tf.int32)], axis=0)
        masked = negatives.accidental_hits(candidates.rows, of_request, led_to, tf.shape(request_items)[0])
        if features.HARD_NEGATIVES in rows:
            negative = tf.concat([negative, self._own_scores(query, items[features.HARD_NEGATIVES])], axis=1)
            masked = tf.concat([masked, rows[features.HARD_NEGATIVES] < 0], axis=1)

        ordered = tf.boolean_mask(inputs[features.STAGES], is_positive) == int(Stage.ORDERED)
        weight = tf.where(ordered, self._config.loss.order_weight, 1.0)
        by_positive, sampled = self._retrieval_loss(positive, negative, masked, request, positive_rows, candidates)
        loss = tf.math.divide_no_nan(tf.reduce_sum(by_positive * weight), tf.reduce_sum(weight))
        if SHOWN_ITEMS in rows:
            by_request = tf.scatter_nd(tf.where(is_positive), positive, tf.shape(is_positive, out_type=tf.int64))
            scores = tf.concat([by_request, self._own_scores(query, items[SHOWN_ITEMS])], axis=1)
            shown = tf.where(rows[SHOWN_ITEMS] >= 0, int(Stage.SHOWN), 0)
            stages = tf.concat([inputs[PAGE_STAGES], shown], axis=1)
            loss += self._config.loss.ranking_weight * self._ranking_loss(scores, stages, sampled)
        return loss

    def _with_catalog_queries(self, inputs: Mapping[str, tf.Tensor], random_rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The batch and, after its requests, queries made from the first of the random items."""
        config = self._config.catalog_queries
        count = min(round(config.share * self._config.batch_size), negatives.random_count(self._config.negatives))
        if not count:
            return dict(inputs)
        rows = random_rows[:count]
        widths = {name: matrix.shape[1] for name, matrix in inputs.items()}
        items = item_table.gather(self._columns, rows)
        made = draw_queries(items, self._word_subwords, widths, config, self._random)
        no_more = [[0, 0], [0, widths[features.ITEMS] - 1]]
        made[features.ITEMS] = tf.pad(rows[:, tf.newaxis] + 1, no_more)
        made[features.STAGES] = tf.pad(tf.fill([count, 1], int(Stage.CLICKED)), no_more)
        return {name: tf.concat([matrix, made[name]], axis=0) for name, matrix in inputs.items()}

    def _encode_items(
        self, rows: Mapping[str, tf.Tensor], positive_rows: tf.Tensor, queries: tf.Tensor, training: bool
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Vectors of items, by one pass of the item tower.

        Args:
          rows: [...] int32 by name; -1 is the unknown item. Each item is encoded once.
          positive_rows: [positives] int32. Each is encoded as it is without its own request's click.
          queries: [positives, width] int32, unigrams of the query that led to each positive.
          training: whether dropout is on.

        Returns:
          Vectors of the `rows`, [..., dim] by name, and of the positives, [positives, dim].
        """
        flat = tf.concat([tf.reshape(part, [-1]) for part in rows.values()], axis=0)
        distinct, place = tf.unique(tf.where(flat < 0, self._catalog_size, flat))
        every = tf.concat([distinct, positive_rows], axis=0)
        no_query = tf.zeros(tf.stack([tf.size(distinct), queries.shape[1]]), queries.dtype)
        item = without_own(item_table.gather(self._columns, every), tf.concat([no_query, queries], axis=0))
        vectors = self.towers.encode_items(item, training=training)
        items, own = tf.split(vectors, [tf.size(distinct), tf.size(positive_rows)])
        parts = tf.split(tf.gather(items, place), [tf.size(part) for part in rows.values()])
        by_name = {
            name: tf.reshape(part, tf.concat([tf.shape(rows[name]), [vectors.shape[1]]], axis=0))
            for name, part in zip(rows, parts, strict=True)
        }
        return by_name, own

    def _own_scores(self, query: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Scores of a request's own items: [requests, heads, dim] and [requests, items, dim] to [requests, items]."""
        return self.towers.training_score(tf.einsum("bhd,bnd->bhn", query, items))

    def _retrieval_loss(
        self,
        positive: tf.Tensor,
        negative: tf.Tensor,
        masked: tf.Tensor,
        request: tf.Tensor,
        positive_rows: tf.Tensor,
        candidates: negatives.Candidates,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The loss of each positive, [positives], and `log_sum` over the negatives of each request, [requests].

        The sum is `log sum exp(score / temperature - log count) + log own count`, with counts as logQ expects them. A
        request's own item, whose logit is its score over temperature, is compared with it. Hinge has none.

        Args:
          positive: [positives] scores.
          negative: [requests, candidates] scores: the shared candidates, then the request's own.
          masked: [requests, candidates] bool.
          request: [positives] int32, index of each positive's request.
          positive_rows: [positives] int32.
          candidates: the shared ones.
        """
        settings, own_settings = self._config.loss, self._config.negatives
        if settings.kind == "hinge":
            negative, masked = tf.gather(negative, request), tf.gather(masked, request)
            return losses.hinge_loss(positive, negative, masked, settings.margin), None
        of_positive = of_shared = of_own = 0.0
        if settings.logq_correction:
            of_positive, of_shared = (
                negatives.log_expected_count(rows, candidates, self._positive_share, self._catalog_size)
                for rows in (positive_rows, candidates.rows)
            )
            of_own = negatives.log_expected_own(of_shared, own_settings)
            own = tf.shape(negative)[1] - tf.size(candidates.rows)
            of_shared = tf.concat([of_shared, tf.fill([own], of_own)], axis=0)
        sampled = losses.log_sum(negative / settings.temperature - of_shared, masked)
        sums = [tf.gather(sampled, request)]
        if own_settings.mixed:
            mixed = negatives.mixed_negatives(positive, negative, masked, request, own_settings, self._random)
            sums.append(losses.log_sum(mixed / settings.temperature - of_own, tf.zeros_like(mixed, tf.bool)))
        return losses.sampled_softmax_loss(positive / settings.temperature - of_positive, *sums), sampled + of_own

    def _ranking_loss(self, scores: tf.Tensor, stages: tf.Tensor, sampled: tf.Tensor | None) -> tf.Tensor:
        """The loss among the items of each search, [requests, items] scores and stages, as `ranking_kind` has it."""
        settings = self._config.loss
        logits = scores / settings.temperature
        if settings.ranking_kind == "levels":
            return losses.level_loss(logits, stages, sampled)
        return losses.stage_ranking_loss(logits, stages, settings.ranking_kind, settings.ranking_margin)
