"""Picks the index's parameters by measuring them against exact search."""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from components.index_builder.config import IndexConfig
from components.index_builder.inverted_file import InvertedFileIndex
from components.index_builder.search_index import ExactIndex, Parameters, ScannIndex, SearchIndex

_LATENCY_SEARCHES = 64
# Exact search holds a score for each query and item; at ten million items this many queries take 1.3 GB.
_QUERIES_AT_ONCE = 32
# ScaNN trains 16 centers per block of dimensions; fewer items than this leave some of them empty.
SCANN_MINIMUM = 256


@dataclass(frozen=True)
class MeasuredIndex:
    """One point of the recall-latency curve.

    Attributes:
      name: kind of index.
      parameters: what it was searched with.
      recall: mean share of the exact top k that it found, over the sample.
      latency_ms: median time of one single-query search in this process.
      chosen: whether the servable holds it.
    """

    name: str
    recall: float
    latency_ms: float
    parameters: dict[str, int | float] = field(default_factory=dict)
    chosen: bool = False


def scan_grid(k: int, items: int) -> list[dict[str, int]]:
    """Numbers of candidates to re-score, from the fewest that can fill k."""
    return [{"reorder": min(items, k * factor)} for factor in (1, 2, 3, 5, 8) if k * (factor - 1) < items]


def tree_grid(k: int, items: int) -> list[dict[str, int]]:
    """Shares of about `2 sqrt(items)` partitions to search, with three numbers of candidates each."""
    leaves = max(2, round(2 * math.sqrt(items)))
    shares = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
    searched = sorted({max(1, round(leaves * share)) for share in shares})
    return [
        {"leaves": leaves, "leaves_to_search": count, "reorder": min(items, k * factor)}
        for count in searched
        for factor in (2, 5, 12)
    ]


def recall_against_exact(found: np.ndarray, exact: np.ndarray) -> float:
    """Mean share of each row of `exact` that the same row of `found` holds; both [queries, k] positions."""
    shares = [len(np.intersect1d(f, e)) / len(e) for f, e in zip(found, exact, strict=True)]
    return float(np.mean(shares))


def choose_index(
    vectors: np.ndarray, queries: np.ndarray, config: IndexConfig
) -> tuple[SearchIndex, list[MeasuredIndex]]:
    """An index of the configured kind that finds the wanted share of the exact top k, as fast as measured here.

    Where no parameters reach the wanted recall, those with the best recall are taken; the recall gate decides whether
    that is enough.

    Args:
      vectors: [items, dim] float32, what is indexed.
      queries: [queries, dim] float32, query vectors of real requests.
      config: kind and wanted recall.

    Returns:
      The index, and the measured curve with the chosen point marked.
    """
    # Compiled searches are reference cycles, which hold the vectors of an index that was chosen before, as of a shard.
    gc.collect()
    k = min(config.k, len(vectors))
    kind = config.kind_for(len(vectors))
    exact_index = ExactIndex(vectors)
    exact, exact_ms = _measure(lambda q: exact_index.search(q, k)[0], queries)
    points: list[tuple[SearchIndex, MeasuredIndex]] = [(exact_index, MeasuredIndex("exact", 1.0, exact_ms))]

    def add(name: str, index: SearchIndex, parameters: Parameters) -> None:
        found, latency_ms = _measure(lambda q: index.search(q, k)[0], queries)
        points.append((index, MeasuredIndex(name, recall_against_exact(found, exact), latency_ms, dict(parameters))))

    if kind == "inverted_file":
        grid = tree_grid(k, len(vectors))
        file = InvertedFileIndex(vectors, grid[-1], k, config.seed)
        for parameters in grid:
            add(kind, file.with_parameters(parameters), parameters)
    elif config.backend == "scann" and len(vectors) >= SCANN_MINIMUM:
        grids: Sequence[tuple[str, list[dict[str, int]]]] = [("scan", scan_grid(k, len(vectors)))]
        if kind == "tree":
            grids = [*grids, ("tree", tree_grid(k, len(vectors)))]
        for name, grid in grids:
            built = ScannIndex(vectors, grid[-1], k)
            for parameters in grid:
                add(name, built.with_parameters(parameters), parameters)

    of_kind = [point for point in points if point[1].name == kind] or points[:1]
    good = [point for point in of_kind if point[1].recall >= config.wanted_recall]
    chosen = min(good, key=lambda p: p[1].latency_ms) if good else max(of_kind, key=lambda p: p[1].recall)
    curve = [
        MeasuredIndex(p.name, p.recall, p.latency_ms, p.parameters, chosen=index is chosen[0]) for index, p in points
    ]
    return chosen[0], curve


def _measure(search: Callable[[tf.Tensor], tf.Tensor], queries: np.ndarray) -> tuple[np.ndarray, float]:
    signature = [tf.TensorSpec([None, queries.shape[1]], tf.float32)]
    compiled = tf.function(search, autograph=False, input_signature=signature)
    parts = (queries[start : start + _QUERIES_AT_ONCE] for start in range(0, len(queries), _QUERIES_AT_ONCE))
    found = np.concatenate([compiled(tf.constant(part)).numpy() for part in parts])
    times = []
    for i in range(_LATENCY_SEARCHES):
        single = tf.constant(queries[i % len(queries)][np.newaxis])
        started = time.perf_counter()
        compiled(single)
        times.append(time.perf_counter() - started)
    return found, float(np.median(times) * 1000)
