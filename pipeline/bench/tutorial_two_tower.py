"""The two-tower model of TensorFlow Recommenders' own tutorial, as a reference that has no settings of Souk.

https://www.tensorflow.org/recommenders/examples/basic_retrieval: each tower is a `StringLookup` and an `Embedding`, the
loss is `tfrs.tasks.Retrieval` (softmax over the batch's other items), the optimizer Adagrad, the model is served as a
`factorized_top_k.BruteForce` layer in a SavedModel. Here the query text takes the place of the user id.

So that it has a fair chance, these differ from the tutorial: vectors are as wide as those that it is compared with (the
tutorial: 32); the best of three learning rates is taken (the tutorial: 0.1; TFRS's front page: 0.5); batches are as
small as those of its rivals, because 8,192 would leave it a dozen steps an epoch; it trains for as many epochs as its
rivals at most and keeps its best one (the tutorial: 3 epochs); the order is shuffled anew in every epoch; queries are
brought to lower case and single spaces. Queries that were never seen in training share one vector, as in the tutorial.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras
from numpy.typing import NDArray

LEARNING_RATES = (0.1, 0.2, 0.5)
_SHUFFLED = 100_000
_QUERIES_AT_ONCE = 256

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Trained:
    """The model at its best epoch.

    Attributes:
      model: towers.
      learning_rate: the best of those tried.
      history: by metric a value per epoch, of that learning rate.
      tried: best validation recall by learning rate.
    """

    model: "TutorialTwoTower"
    learning_rate: float
    history: dict[str, list[float]]
    tried: dict[float, float]


class TutorialTwoTower(tfrs.Model):
    """Query text against item id.

    Args:
      queries: the query vocabulary.
      item_ids: the item vocabulary.
      dim: width of the vectors.
    """

    def __init__(self, queries: Sequence[str], item_ids: Sequence[str], dim: int):
        super().__init__()
        self.query_model = _tower(queries, dim)
        self.item_model = _tower(item_ids, dim)
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Softmax over the items of the batch, summed over it."""
        return self.task(self.query_model(features["query"]), self.item_model(features["item_id"]))


def _tower(vocabulary: Sequence[str], dim: int) -> keras.Sequential:
    lookup = keras.layers.StringLookup(vocabulary=list(vocabulary), mask_token=None)
    return keras.Sequential([lookup, keras.layers.Embedding(len(vocabulary) + 1, dim)])


def train(
    pairs: Pairs,
    validation: Pairs,
    item_ids: Sequence[str],
    dim: int,
    batch_size: int,
    epochs: int,
    patience: int,
    k: int,
    seed: int,
    learning_rates: Sequence[float] = LEARNING_RATES,
) -> Trained:
    """Trains with each learning rate and returns the model with the best validation recall of all epochs.

    Args:
      pairs: (query, clicked item) to train on.
      validation: (query, clicked item) that no step sees.
      item_ids: the catalog.
      dim: width of the vectors.
      batch_size: pairs per step.
      epochs: passes over the pairs, at most.
      patience: epochs without a better recall before training stops.
      k: list length of the validation recall.
      seed: of initial weights and of shuffling.
      learning_rates: to try.
    """
    queries = sorted({query for query, _ in pairs})
    best: Trained | None = None
    tried: dict[float, float] = {}
    for rate in learning_rates:
        keras.utils.set_random_seed(seed)
        model = TutorialTwoTower(queries, item_ids, dim)
        model.compile(optimizer=keras.optimizers.Adagrad(learning_rate=rate))
        recall = _BestEpoch(model, validation, item_ids, k, len(pairs), patience)
        model.fit(_batches(pairs, batch_size, seed), epochs=epochs, verbose=0, callbacks=[recall])
        tried[rate] = recall.best
        if best is None or recall.best > best.tried[best.learning_rate]:
            best = Trained(model, rate, recall.history, tried)
    if best is None:
        raise ValueError("`learning_rates` is empty")
    return best


def _batches(pairs: Pairs, batch_size: int, seed: int) -> tf.data.Dataset:
    queries, items = zip(*pairs, strict=True)
    rows = tf.data.Dataset.from_tensor_slices({"query": list(queries), "item_id": list(items)})
    return rows.cache().shuffle(_SHUFFLED, seed=seed).batch(batch_size).prefetch(tf.data.AUTOTUNE)


class _BestEpoch(keras.callbacks.Callback):
    """Measures validation recall after each epoch and leaves the model with the weights of the best."""

    def __init__(
        self,
        model: TutorialTwoTower,
        validation: Pairs,
        item_ids: Sequence[str],
        k: int,
        training_pairs: int,
        patience: int,
    ):
        super().__init__()
        self._towers = model
        self._queries = [query for query, _ in validation]
        rows = {item: row for row, item in enumerate(item_ids)}
        self._wanted = np.array([rows.get(item, -1) for _, item in validation])
        self._item_ids, self._k = list(item_ids), k
        self._training_pairs, self._patience = training_pairs, patience
        self._weights: tuple[Any, Any] = (None, None)
        self._since_best = 0
        self.best = -1.0
        self.history: dict[str, list[float]] = {"pairs_per_second": [], f"recall@{k}": []}

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures, keeps the weights if they are the best, and stops training after `patience` worse epochs."""
        self.history["pairs_per_second"].append(self._training_pairs / (time.perf_counter() - self._started))
        recall = self._recall()
        self.history[f"recall@{self._k}"].append(recall)
        self._since_best += 1
        if recall > self.best:
            self.best, self._since_best = recall, 0
            towers = self._towers.query_model, self._towers.item_model
            self._weights = tuple(tower.layers[-1].get_weights() for tower in towers)
        if self._since_best >= self._patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Puts the best weights back."""
        for tower, weights in zip((self._towers.query_model, self._towers.item_model), self._weights, strict=True):
            tower.layers[-1].set_weights(weights)

    def _recall(self) -> float:
        """Share of validation pairs whose item is among the k best; 0.0 without any."""
        items = self._towers.item_model(tf.constant(self._item_ids))
        k = min(self._k, len(self._item_ids))
        found = [
            (
                tf.math.top_k(
                    tf.matmul(
                        self._towers.query_model(tf.constant(self._queries[start : start + _QUERIES_AT_ONCE])),
                        items,
                        transpose_b=True,
                    ),
                    k,
                ).indices.numpy()
                == self._wanted[start : start + _QUERIES_AT_ONCE, None]
            ).any(axis=1)
            for start in range(0, len(self._queries), _QUERIES_AT_ONCE)
        ]
        return float(np.concatenate(found).mean()) if found else 0.0


def export(model: TutorialTwoTower, item_ids: Sequence[str], k: int, directory: str) -> None:
    """Writes the SavedModel that answers queries with items, as the tutorial does."""
    index = tfrs.layers.factorized_top_k.BruteForce(model.query_model, k=k)
    ids = tf.data.Dataset.from_tensor_slices(list(item_ids)).batch(1024)
    index.index_from_dataset(tf.data.Dataset.zip((ids, ids.map(model.item_model))))
    # Called once, so that its signature is known.
    index(tf.constant([""]))
    tf.saved_model.save(index, directory)


def pair_scores(
    model: TutorialTwoTower, queries: Sequence[str], item_ids: Sequence[str], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Inner product of each query with each of its item `rows` [queries, n]; 0 for rows that are no item's."""
    items = model.item_model(tf.constant(list(item_ids))).numpy()
    vectors = model.query_model(tf.constant(list(queries))).numpy()
    is_item = (rows >= 0) & (rows < len(items))
    scores = np.einsum("qd,qnd->qn", vectors, items[np.where(is_item, rows, 0)])
    return np.where(is_item, scores, 0.0)
