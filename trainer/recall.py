"""Recall@k and NDCG on held-out requests while a model trains."""

import time

import numpy as np
import tensorflow as tf
import tf_keras as keras

from schema import features
from trainer import item_table
from trainer.item_table import ItemTable
from trainer.layers.scoring import best_head, head_scores
from trainer.models.towers import Towers

# NDCG over the whole catalog. Early stopping watches it: recall@k of a small catalog is soon as good as it gets, and
# of few requests it moves in steps, while each place that a positive gains counts here.
NDCG = "ndcg"

_ITEMS_AT_ONCE = 8192
_QUERIES_AT_ONCE = 256
_SCORES_AT_ONCE = 2**24


class ExactMetrics:
    """Measures recall@k and NDCG by exact search; its graphs are traced once and serve every epoch.

    Args:
      towers: the model, whose current weights are measured at each call.
      table: the catalog.
      k: of recall.
    """

    def __init__(self, towers: Towers, table: ItemTable, k: int):
        columns = table.as_tensors()
        self._size = table.size
        self.recall_name = f"recall@{k}"

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.int32)])
        def encode_items(rows: tf.Tensor) -> tf.Tensor:
            return towers.encode_items(item_table.gather(columns, rows))

        @tf.function(autograph=False, reduce_retracing=True)
        def measure(batch: dict[str, tf.Tensor], items: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            scores = best_head(head_scores(towers.encode_query(batch, columns), items))
            ranks = positive_ranks(scores, batch[features.ITEMS] - 1)
            return recall_by_rank(ranks, k), ndcg_by_rank(ranks)

        self._encode_items = encode_items
        self._measure = measure

    def catalog_vectors(self) -> np.ndarray:
        """Vectors of all items, [items, dim] float32."""
        starts = range(0, self._size, _ITEMS_AT_ONCE)
        parts = [self._encode_items(tf.range(s, min(s + _ITEMS_AT_ONCE, self._size))) for s in starts]
        return tf.concat(parts, axis=0).numpy()

    def __call__(self, requests: tf.data.Dataset) -> dict[str, float]:
        """`recall@k` and `ndcg`, means over requests; NaN where there is no request.

        Args:
          requests: chunks of `trainer.input.read_requests`.
        """
        items = tf.constant(self.catalog_vectors())
        at_once = max(1, min(_QUERIES_AT_ONCE, _SCORES_AT_ONCE // self._size))
        measured = [self._measure(batch, items) for batch in requests.rebatch(at_once)]
        return {
            name: float(np.concatenate([values[place] for values in measured]).mean()) if measured else float("nan")
            for place, name in enumerate((self.recall_name, NDCG))
        }


def positive_ranks(scores: tf.Tensor, positives: tf.Tensor) -> tf.RaggedTensor:
    """Rank of each positive, from 1: [queries, items] scores and [queries, width] rows to [queries, (positives)] int32.

    An item of equal score counts as better, and all do where a score is NaN, so that a model that scores all items
    alike, or has diverged, has the worst ranks.

    Args:
      scores: of every item.
      positives: item rows, -1 is padding.
    """
    request = tf.where(positives >= 0)[:, 0]
    rows = tf.boolean_mask(positives, positives >= 0)
    of_request = tf.gather(scores, request)
    own = tf.gather(of_request, rows, batch_dims=1)
    # Less what is worse, where `~(a < b)` would say the same: Grappler makes `a >= b` of it, of which NaN is no part.
    worse = tf.math.count_nonzero(of_request < own[:, tf.newaxis], axis=1, dtype=tf.int32)
    ranks = tf.shape(scores)[1] - worse
    return tf.RaggedTensor.from_value_rowids(ranks, request, nrows=tf.shape(positives, tf.int64)[0], validate=False)


def recall_by_rank(ranks: tf.RaggedTensor, k: int) -> tf.Tensor:
    """Share of each request's positives that are among the k best: [queries, (positives)] int32 to [queries]."""
    return tf.reduce_mean(tf.cast(ranks <= k, tf.float32), axis=1)


def ndcg_by_rank(ranks: tf.RaggedTensor) -> tf.Tensor:
    """NDCG of the whole ranking, each positive a gain of 1: [queries, (positives)] int32 to [queries]."""
    best = tf.ragged.range(1, ranks.row_lengths() + 1)
    gained, most = (
        tf.reduce_sum(tf.math.reciprocal(tf.math.log(tf.cast(places, tf.float32) + 1.0)), axis=1)
        for places in (ranks, best)
    )
    return gained / most


class EpochMetrics(keras.callbacks.Callback):
    """Puts into the logs of each epoch recall@k and NDCG on the validation requests, the mean loss and the speed.

    Keras by itself logs the last batch's loss, which jumps from epoch to epoch.
    """

    def __init__(self, towers: Towers, table: ItemTable, requests: tf.data.Dataset, training_requests: int, k: int):
        super().__init__()
        self._metrics = ExactMetrics(towers, table, k)
        self._requests = requests
        self._training_requests = training_requests
        self.losses: list[float] = []
        self._resumed: list[float] = []

    def resume(self, losses: list[float]) -> None:
        """Goes on in the middle of an epoch whose first steps had these losses."""
        self._resumed = losses

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self.losses, self._resumed = self._resumed, []
        self._steps_before = len(self.losses)
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Keeps the batch's loss."""
        if logs is not None:
            self.losses.append(float(logs["loss"]))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures and logs."""
        if logs is not None:
            logs["loss"] = float(np.mean(self.losses))
            share = 1.0 - self._steps_before / len(self.losses)
            logs["examples_per_second"] = share * self._training_requests / (time.perf_counter() - self._started)
            logs.update(self._metrics(self._requests))
