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


def encode_catalogue(towers: Towers, columns: dict[str, tf.Tensor], size: int) -> np.ndarray:
    """Vectors of all items of a table, [items, dim] float32."""
    encode = tf.function(lambda rows: towers.encode_items(item_table.gather(columns, rows)))
    starts = range(0, size, _ITEMS_AT_ONCE)
    return np.concatenate([encode(tf.range(s, min(s + _ITEMS_AT_ONCE, size))).numpy() for s in starts])


def recall_at_k(towers: Towers, columns: dict[str, tf.Tensor], size: int, requests: tf.data.Dataset, k: int) -> float:
    """Mean over requests of the share of their positives among the k best items, by exact search.

    Args:
      towers: the model.
      columns: the item table's columns.
      size: items in the table.
      requests: chunks of `trainer.input.read_requests`.
      k: how many items are retrieved.
    """
    items = tf.constant(encode_catalogue(towers, columns, size))

    @tf.function(reduce_retracing=True)
    def hits(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        scores = best_head(head_scores(towers.encode_query(batch, columns), items))
        retrieved = tf.math.top_k(scores, k=min(k, size)).indices
        wanted = batch[features.ITEMS] - 1
        found = tf.reduce_any(wanted[:, :, tf.newaxis] == retrieved[:, tf.newaxis, :], axis=2) & (wanted >= 0)
        count = tf.reduce_sum(tf.cast(wanted >= 0, tf.float32), axis=1)
        return tf.reduce_sum(tf.cast(found, tf.float32), axis=1) / count

    shares = [hits(batch).numpy() for batch in requests.rebatch(_QUERIES_AT_ONCE)]
    return float(np.concatenate(shares).mean()) if shares else float("nan")


class ValidationRecall(keras.callbacks.Callback):
    """Adds `recall@k` on the validation requests and `examples_per_second` to the logs of each epoch."""

    def __init__(self, towers: Towers, table: ItemTable, requests: tf.data.Dataset, training_requests: int, k: int):
        super().__init__()
        self._towers = towers
        self._columns = table.as_tensors()
        self._size = table.size
        self._requests = requests
        self._training_requests = training_requests
        self._k = k
        self.name = f"recall@{k}"

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Measures and logs."""
        if logs is not None:
            logs["examples_per_second"] = self._training_requests / (time.perf_counter() - self._started)
            logs[self.name] = recall_at_k(self._towers, self._columns, self._size, self._requests, self._k)
