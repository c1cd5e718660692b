"""Chooses what dense and lexical scores count in hybrid answers, on requests that training has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.index_builder.lexical.fusion import dense_scores, fuse, union
from components.index_builder.lexical.index import LexicalIndex, LexicalQuery
from components.index_builder.lexical.lexicon import MeasuredWeight
from components.index_builder.lexical.requests import read_chunks
from components.index_builder.multi_head import search_heads
from components.index_builder.search_index import SearchIndex
from evaluation.metrics import Relevant, first_ranks, ndcg_at, recall_at

# Where there are too few requests to choose on.
DEFAULT_DENSE_WEIGHT: Final = 0.5
# Below it, chance decides which of the weights is the best.
FEWEST_REQUESTS: Final = 100
MOST_REQUESTS: Final = 1000
_WEIGHTS: Final = tuple(step / 20 for step in range(21))
_REQUESTS_AT_ONCE = 32


@dataclass(frozen=True)
class ValidationRequests:
    """Requests that led to a click or better and were kept out of training.

    Attributes:
      examples: serialized, as they are sent.
      queries: their text.
      items: ids of the items that each led to, as far as they are in the catalog.
    """

    examples: list[bytes]
    queries: list[bytes]
    items: list[list[bytes]]

    def relevant(self, item_ids: NDArray[np.bytes_]) -> Relevant:
        """The items as places in `item_ids`, which has all of them, ascending."""
        counts = [len(items) for items in self.items]
        places = np.searchsorted(item_ids, np.array([item for items in self.items for item in items], item_ids.dtype))
        return Relevant(np.repeat(np.arange(len(counts)), counts), places, np.ones(len(places)), len(counts))


def read_validation_requests(pattern: str, share: float, known: NDArray[np.bytes_], seed: int) -> ValidationRequests:
    """Some of the requests that the trainer kept out for validation.

    Args:
      pattern: glob of the raw train split, gzip TFRecords.
      share: of the requests that the trainer kept out.
      known: ids of the items that can be found.
      seed: of which requests are taken.
    """
    found = ValidationRequests([], [], [])
    findable = set(known.tolist())
    for chunk in read_chunks(pattern, share, seed):
        examples, queries, reached = chunk.examples.numpy(), chunk.queries.numpy(), chunk.reached.to_list()
        for place in np.flatnonzero(chunk.in_validation.numpy()):
            items = [item for item in dict.fromkeys(reached[place]) if item in findable]
            if items:
                found.examples.append(examples[place])
                found.queries.append(queries[place])
                found.items.append(items)
            if len(found.examples) == MOST_REQUESTS:
                return found
    return found


def measure_weights(
    index: SearchIndex,
    lexical: LexicalIndex,
    vectors: NDArray[np.float32],
    queries: Sequence[bytes],
    relevant: Relevant,
    k: int,
    depth: int,
    longest: float,
) -> list[MeasuredWeight]:
    """What hybrid answers are like with each of some weights.

    Args:
      index: of the items' vectors.
      lexical: of their words.
      vectors: [requests, heads, dim] of the requests.
      queries: [requests] texts.
      relevant: the positions that each request led to.
      k: hits of an answer, at most the number of items.
      depth: as for `LexicalIndex.scores`.
      longest: the largest length of a vector in the catalog.
    """

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([None, *vectors.shape[1:]]), tf.TensorSpec([None], tf.string)],
    )
    def candidates(vectors: tf.Tensor, queries: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        hits, _ = search_heads(index, vectors, k)
        query = lexical.understand(queries)

        def of_one(
            one: tuple[tf.Tensor, tf.Tensor, tuple[tf.Tensor, tf.Tensor]],
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            all_scores = lexical.scores(LexicalQuery(*one[2]), depth)
            positions, counts = union(one[1], lexical.best(all_scores, k)[0])
            dense = dense_scores(index, one[0], positions, longest)
            return tf.where(counts, positions, -1), dense, tf.gather(all_scores, positions)

        sizes = [tf.TensorSpec([2 * k], kind) for kind in (tf.int32, tf.float32, tf.float32)]
        return tf.map_fn(of_one, (vectors, hits, tuple(query)), fn_output_signature=tuple(sizes))

    parts = [
        candidates(
            tf.constant(vectors[start : start + _REQUESTS_AT_ONCE]),
            tf.constant(list(queries[start : start + _REQUESTS_AT_ONCE]), tf.string),
        )
        for start in range(0, len(queries), _REQUESTS_AT_ONCE)
    ]
    positions, dense, words = (np.concatenate([part[n].numpy() for part in parts]) for n in range(3))
    metrics = []
    for weight in _WEIGHTS:
        scores = np.where(positions >= 0, fuse(dense, words, np.float32(weight)), -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        ranks = first_ranks(np.take_along_axis(positions, order, axis=1).astype(np.int64), relevant)
        metrics.append((ndcg_at(ranks, relevant, k), recall_at(ranks, relevant, k)))
    best = max((ndcg for ndcg, _ in metrics), key=np.mean)
    return [
        MeasuredWeight(
            weight,
            ndcg=float(np.mean(ndcg)),
            recall=float(np.mean(recall)),
            behind=float(np.mean(best - ndcg)),
            error=float(np.std(best - ndcg) / len(ndcg) ** 0.5),
        )
        for weight, (ndcg, recall) in zip(_WEIGHTS, metrics, strict=True)
    ]


def best_weight(measured: Sequence[MeasuredWeight]) -> float:
    """Of the weights that are not clearly behind the best NDCG, the nearest to the default.

    Clearly is by more than a standard error. Requests of a log are much like those that the towers have learned from,
    and what people search for tomorrow is less so: where the log does not decide, both ways of search shall count.
    """
    as_good = [point for point in measured if point.behind <= point.error]
    return min(as_good, key=lambda point: abs(point.dense_weight - DEFAULT_DENSE_WEIGHT)).dense_weight
