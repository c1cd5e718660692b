"""Recall@k on held-out requests while a model trains."""

import time

import numpy as np
import tensorflow as tf
import tf_keras as keras

from schema import features
from trainer import item_table
from trainer.item_table import ItemTable
from trainer.layers.scoring import best_head, head_scores
from trainer.models.towers import Towers

_ITEMS_AT_ONCE = 8192
_QUERIES_AT_ONCE = 256


class ExactRecall:
    """Measures recall@k by exact search; its graphs are traced once and serve every epoch.

    Args:
      towers: the model, whose current weights are measured at each call.
      table: the catalogue.
      k: how many items are retrieved.
    """

    def __init__(self, towers: Towers, table: ItemTable, k: int):
        columns = table.as_tensors()
        self._size = table.size

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.int32)])
        def encode_items(rows: tf.Tensor) -> tf.Tensor:
            return towers.encode_items(item_table.gather(columns, rows))

        @tf.function(autograph=False, reduce_retracing=True)
        def shares(batch: dict[str, tf.Tensor], items: tf.Tensor) -> tf.Tensor:
            scores = best_head(head_scores(towers.encode_query(batch, columns), items))
            retrieved = tf.math.top_k(scores, k=min(k, table.size)).indices
            wanted = batch[features.ITEMS] - 1
            found = tf.reduce_any(wanted[:, :, tf.newaxis] == retrieved[:, tf.newaxis, :], axis=2) & (wanted >= 0)
            count = tf.reduce_sum(tf.cast(wanted >= 0, tf.float32), axis=1)
            return tf.reduce_sum(tf.cast(found, tf.float32), axis=1) / count

        self._encode_items = encode_items
        self._shares = shares

    def catalogue_vectors(self) -> np.ndarray:
        """Vectors of all items, [items, dim] float32."""
        starts = range(0, self._size, _ITEMS_AT_ONCE)
        parts = [self._encode_items(tf.range(s, min(s + _ITEMS_AT_ONCE, self._size))) for s in starts]
        return tf.concat(parts, axis=0).numpy()

    def __call__(self, requests: tf.data.Dataset) -> float:
        """Mean over requests of the share of their positives among the k best items.

        Args:
          requests: chunks of `trainer.input.read_requests`.
        """
        items = tf.constant(self.catalogue_vectors())
        shares = [self._shares(batch, items).numpy() for batch in requests.rebatch(_QUERIES_AT_ONCE)]
        return float(np.concatenate(shares).mean()) if shares else float("nan")


class EpochMetrics(keras.callbacks.Callback):
    """Puts into the logs of each epoch `recall@k` on the validation requests, the mean loss and the speed.

    Keras by itself logs the last batch's loss, which jumps from epoch to epoch.
    """

    def __init__(self, towers: Towers, table: ItemTable, requests: tf.data.Dataset, training_requests: int, k: int):
        super().__init__()
        self._recall = ExactRecall(towers, table, k)
        self._requests = requests
        self._training_requests = training_requests
        self.recall_name = f"recall@{k}"
        self.losses: list[float] = []
        self._resumed: list[float] = []

    def resume(self, losses: list[float]) -> None:
        """Goes on in the middle of an epoch whose first steps had these losses."""
        self._resumed = losses

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self.losses, self._resumed = self._resumed, []
        self._steps_before = len(self.losses)
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Keeps the batch's loss."""
        if logs is not None:
            self.losses.append(float(logs["loss"]))

    def on_epoch_end(self, epoch, logs=None):
        """Measures and logs."""
        if logs is not None:
            logs["loss"] = float(np.mean(self.losses))
            share = 1.0 - self._steps_before / len(self.losses)
            logs["examples_per_second"] = share * self._training_requests / (time.perf_counter() - self._started)
            logs[self.recall_name] = self._recall(self._requests)
