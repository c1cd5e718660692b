"""Parts of TensorFlow Recommenders that Souk has of its own, beside Souk's, over the same vectors."""

from collections.abc import Callable

import tensorflow as tf
import tensorflow_recommenders as tfrs

from benchmarks.training.data import Training
from benchmarks.training.timing import Contender
from schema import features
from trainer import losses, negatives
from trainer.layers.scoring import head_scores
from trainer.recall import ndcg_by_rank, positive_ranks, recall_by_rank

_K = 100
_QUERIES = 256


def loss_contenders(training: Training) -> list[Contender]:
    """The loss of one step and its gradients by the vectors of queries, positives and random negatives.

    Both see the same candidates, correct for how often they are drawn, and leave out accidental hits.
    """
    config, size = training.config, training.table.size
    items = next(iter(training.batches()))[features.ITEMS] - 1
    request = tf.cast(tf.where(items >= 0)[:, 0], tf.int32)
    rows = tf.boolean_mask(items, items >= 0)
    drawn = tf.random.stateless_uniform([negatives.random_count(config.negatives)], [1, 2], 0, size, tf.int32)
    candidates = negatives.join_candidates(drawn, rows, config.negatives)
    counts = training.positive_counts
    share = tf.constant(counts / counts.sum(), tf.float32)
    sizes = (len(items), len(rows), len(drawn))
    vectors = tuple(_unit_vectors(count, config.dim, seed) for seed, count in enumerate(sizes))
    task = tfrs.tasks.Retrieval(temperature=config.loss.temperature, remove_accidental_hits=True)

    def souk(query: tf.Tensor, positive: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
        of_positive, of_shared = (
            negatives.log_expected_count(ids, candidates, share, size) for ids in (rows, candidates.rows)
        )
        scores = head_scores(query[:, tf.newaxis], tf.concat([random, positive], axis=0))[:, 0]
        masked = negatives.accidental_hits(candidates.rows, request, rows, len(items))
        log_sum = losses.log_sum(scores / config.loss.temperature - of_shared, masked)
        own = tf.reduce_sum(tf.gather(query, request) * positive, axis=1) / config.loss.temperature - of_positive
        return tf.reduce_sum(losses.sampled_softmax_loss(own, tf.gather(log_sum, request)))

    def tfrs_task(query: tf.Tensor, positive: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
        ids = tf.concat([rows, drawn], axis=0)
        expected = tf.exp(negatives.log_expected_count(ids, candidates, share, size))
        return task(
            tf.gather(query, request),
            tf.concat([positive, random], axis=0),
            candidate_sampling_probability=expected / tf.cast(tf.size(ids), tf.float32),
            candidate_ids=ids,
        )

    named = {"tasks.Retrieval": tfrs_task, "Souk": souk}
    return [Contender(name, _with_gradients(loss, vectors), len(items)) for name, loss in named.items()]


def metric_contenders(training: Training) -> list[Contender]:
    """Exact recall@100 of a block of requests; Souk's way gives NDCG of the whole ranking besides."""
    batch = next(iter(training.requests.rebatch(_QUERIES, drop_remainder=True)))
    items = batch[features.ITEMS] - 1
    request, rows = tf.where(items >= 0)[:, 0], tf.boolean_mask(items, items >= 0)
    query = _unit_vectors(_QUERIES, training.config.dim, 0)
    catalog = _unit_vectors(training.table.size, training.config.dim, 1)
    metric = tfrs.metrics.FactorizedTopK(tfrs.layers.factorized_top_k.BruteForce(k=_K).index(catalog), ks=(_K,))

    @tf.function(autograph=False)
    def souk() -> tuple[tf.Tensor, tf.Tensor]:
        ranks = positive_ranks(head_scores(query[:, tf.newaxis], catalog)[:, 0], items)
        return recall_by_rank(ranks, _K), ndcg_by_rank(ranks)

    @tf.function
    def factorized_top_k() -> None:
        metric.update_state(tf.gather(query, request), tf.gather(catalog, rows), rows[:, tf.newaxis])

    return [
        Contender("FactorizedTopK", factorized_top_k, _QUERIES),
        Contender("Souk", souk, _QUERIES),
    ]


def _unit_vectors(count: int, dim: int, seed: int) -> tf.Tensor:
    return tf.math.l2_normalize(tf.random.stateless_normal([count, dim], [seed, 7]), axis=1)


def _with_gradients(loss: Callable[..., tf.Tensor], vectors: tuple[tf.Tensor, ...]) -> Callable[[], list[tf.Tensor]]:
    @tf.function
    def step(*inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(*inputs)
        return tape.gradient(value, inputs)

    return lambda: step(*vectors)
