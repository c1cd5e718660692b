"""Measures what a servable's index loses of the exact answer."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.recall_gate import exact_search
from components.recall_gate.bootstrap import QueryBootstrap
from components.recall_gate.config import GateConfig
from components.recall_gate.eval_set import Catalogue, EvalRequests
from components.recall_gate.replay import Retrieved, Servable
from components.recall_gate.results import IndexRecall

_BATCH = 4096


def measure_index(
    servable: Servable,
    requests: EvalRequests,
    catalogue: Catalogue,
    answer: Retrieved,
    bootstrap: QueryBootstrap,
    config: GateConfig,
) -> IndexRecall | None:
    """Index recall at the primary k on the first requests of the sample; None without vectors to compare by.

    Args:
      servable: gives the vectors.
      requests: the evaluation requests.
      catalogue: every item, in the order of the answer's rows.
      answer: what the servable's index answered to `requests`.
      bootstrap: gives the interval.
      config: how many requests, and which k.
    """
    if not servable.can_encode():
        return None
    count = min(config.index_recall_requests, len(requests))
    shares = np.full(len(requests), np.nan)
    shares[:count] = exact_search.index_recall(
        answer.rows[:count],
        servable.encode_query(requests.examples[:count], config.batch_size),
        servable.encode_items(catalogue.examples),
        config.primary_k,
        _indexed(servable, catalogue),
    )
    estimate = bootstrap.mean(shares)
    return None if estimate is None else IndexRecall(config.primary_k, count, estimate)


def _indexed(servable: Servable, catalogue: Catalogue) -> NDArray[np.bool_] | None:
    """Which items the index builder kept; None for all. Of items that look alike it keeps the first by id."""
    if servable.card.get("indexed_items", len(catalogue)) >= len(catalogue):
        return None
    from components.index_builder.catalogue import fingerprint, raw_catalog_spec

    spec = raw_catalog_spec()
    looks: list[bytes] = []
    for start in range(0, len(catalogue), _BATCH):
        batch = tf.constant(catalogue.examples[start : start + _BATCH])
        looks.extend(fingerprint(tf.io.parse_example(batch, spec)).numpy())
    first: dict[bytes, int] = {}
    for row in sorted(range(len(catalogue)), key=lambda row: catalogue.item_ids[row].encode()):
        first.setdefault(looks[row], row)
    indexed = np.zeros(len(catalogue), dtype=bool)
    indexed[list(first.values())] = True
    return indexed
