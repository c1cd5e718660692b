"""Measures what a servable's index loses of the exact answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evaluation import exact_search
from evaluation.bootstrap import QueryBootstrap
from evaluation.config import EvaluationConfig
from evaluation.eval_set import EvalCatalog, EvalRequests
from evaluation.example_columns import StrPath
from evaluation.replay_job import Question
from evaluation.results import IndexRecall
from evaluation.servable import ITEM_BATCH, Answer, Retrieved
from schema import features
from trainer.raw_catalog import fingerprint, raw_catalog_spec

_BATCH = 4096
_REQUEST_BATCH = 256
_ITEM_BATCHES_PER_PART = 8


@dataclass(frozen=True)
class Vectors:
    """A servable's own vectors: of the first requests [requests, heads, dim], of the catalog [items, dim]."""

    requests: NDArray[np.float32]
    items: NDArray[np.float32]

    @classmethod
    def of(cls, requests: Answer, items: Answer) -> Self:
        """The vectors in the answers to `vector_questions`."""
        return cls(requests[features.OUTPUT_VECTORS], items[features.OUTPUT_VECTORS])


def vector_questions(servable: StrPath, examples: Sequence[bytes], catalog: EvalCatalog) -> tuple[Question, Question]:
    """What to ask the servable at a path for the vectors of search examples and of the whole catalog."""
    return (
        Question(servable, features.SIGNATURE_ENCODE_QUERY, examples, _REQUEST_BATCH),
        Question(servable, features.SIGNATURE_ENCODE_ITEMS, catalog.examples, ITEM_BATCH, _ITEM_BATCHES_PER_PART),
    )


def measure_index(
    answer: Retrieved,
    vectors: Vectors,
    indexed: NDArray[np.bool_] | None,
    requests: EvalRequests,
    catalog: EvalCatalog,
    bootstrap: QueryBootstrap,
    config: EvaluationConfig,
) -> IndexRecall | None:
    """Index recall at the primary k on the first requests of the sample; None where it cannot be estimated.

    Args:
      answer: what the servable's index alone answered to `requests`.
      vectors: the servable's.
      indexed: [items] which of them the index was given, None for all; see `indexed_rows`.
      requests: the evaluation requests.
      catalog: every item, in the order of the answer's rows.
      bootstrap: gives the interval.
      config: which k.
    """
    count = len(vectors.requests)
    shares = np.full(len(requests), np.nan)
    shares[:count] = exact_search.index_recall(
        answer.rows[:count], vectors.requests, vectors.items, config.primary_k, indexed
    )
    estimate = bootstrap.mean(shares)
    return None if estimate is None else IndexRecall(config.primary_k, count, estimate)


def indexed_rows(indexed_items: int, catalog: EvalCatalog) -> NDArray[np.bool_] | None:
    """Which items [items] the index builder kept, None for all; of items that look alike it keeps the first by id.

    Args:
      indexed_items: how many items it kept.
      catalog: every item.
    """
    if indexed_items >= len(catalog):
        return None
    spec = raw_catalog_spec(catalog.further)
    looks: list[bytes] = []
    for start in range(0, len(catalog), _BATCH):
        batch = tf.constant(catalog.examples[start : start + _BATCH])
        looks.extend(fingerprint(tf.io.parse_example(batch, spec)).numpy())
    first: dict[bytes, int] = {}
    for row in sorted(range(len(catalog)), key=lambda row: catalog.item_ids[row].encode()):
        first.setdefault(looks[row], row)
    indexed = np.zeros(len(catalog), dtype=bool)
    indexed[list(first.values())] = True
    return indexed
