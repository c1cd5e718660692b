"""The libraries that Souk's index is set beside, each called in this process the way its manual says."""

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from components.index_builder.parameters import recall_against_exact
from components.index_builder.search_index import SearchIndex

_SINGLES = 400
_UNTIMED = 20


class Library:
    """An index of one library.

    Attributes:
      name: what it is called in the table.
      knobs: values of the setting that trades recall for speed, fastest first.
    """

    name: str
    knobs: Sequence[int]

    @abstractmethod
    def build(self, vectors: np.ndarray, threads: int) -> None:
        """Indexes the vectors [items, dim]."""

    @abstractmethod
    def set(self, knob: int) -> None:
        """Takes one of `knobs`."""

    @abstractmethod
    def single(self, query: np.ndarray, k: int) -> np.ndarray:
        """Positions [k] for one query [dim], on the calling thread."""

    @abstractmethod
    def batch(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Positions [queries, k] for all queries, on all threads."""


class Scann(Library):
    """ScaNN's own Python interface, with the partitions and the quantization that Souk gives it."""

    name = "ScaNN, bare"

    def __init__(self, leaves: int, knobs: Sequence[tuple[int, int]], k: int) -> None:
        self._leaves, self._pairs, self._k = leaves, knobs, k
        self.knobs = range(len(knobs))

    def build(self, vectors: np.ndarray, threads: int) -> None:
        """See `Library`."""
        import scann

        self._searcher = (
            scann.scann_ops_pybind.builder(vectors, self._k, "dot_product")
            .set_n_training_threads(threads)
            .tree(self._leaves, self._pairs[0][0], training_sample_size=min(len(vectors), 250_000))
            .score_ah(2, anisotropic_quantization_threshold=0.2)
            .reorder(self._pairs[0][1])
            .build()
        )

    def set(self, knob: int) -> None:
        """See `Library`."""
        leaves, reorder = self._pairs[knob]
        self._options = {"leaves_to_search": leaves, "pre_reorder_num_neighbors": reorder}

    def single(self, query: np.ndarray, k: int) -> np.ndarray:
        """See `Library`."""
        return self._searcher.search(query, k, **self._options)[0]

    def batch(self, queries: np.ndarray, k: int) -> np.ndarray:
        """See `Library`."""
        return self._searcher.search_batched_parallel(queries, k, **self._options)[0]


class FaissIvf(Library):
    """FAISS' inverted file over full vectors, as many lists as Souk has partitions."""

    name = "FAISS IVF"
    knobs = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)

    def __init__(self, lists: int) -> None:
        self._lists = lists

    def build(self, vectors: np.ndarray, threads: int) -> None:
        """See `Library`."""
        import faiss

        faiss.omp_set_num_threads(threads)
        dim = vectors.shape[1]
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, self._lists, faiss.METRIC_INNER_PRODUCT)
        self._index.train(vectors[: 64 * self._lists])
        self._index.add(vectors)

    def set(self, knob: int) -> None:
        """See `Library`."""
        self._index.nprobe = knob

    def single(self, query: np.ndarray, k: int) -> np.ndarray:
        """See `Library`."""
        return self._index.search(query[np.newaxis], k)[1][0]

    def batch(self, queries: np.ndarray, k: int) -> np.ndarray:
        """See `Library`."""
        return self._index.search(queries, k)[1]


class FaissHnsw(Library):
    """FAISS' navigable graph with 16 links."""

    name = "FAISS HNSW"
    knobs = (100, 150, 200, 300, 400, 600, 800, 1200, 1600)

    def build(self, vectors: np.ndarray, threads: int) -> None:
        """See `Library`."""
        import faiss

        faiss.omp_set_num_threads(threads)
        self._index = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = 100
        self._index.add(vectors)

    def set(self, knob: int) -> None:
        """See `Library`."""
        self._index.hnsw.efSearch = knob

    def single(self, query: np.ndarray, k: int) -> np.ndarray:
        """See `Library`."""
        return self._index.search(query[np.newaxis], k)[1][0]

    def batch(self, queries: np.ndarray, k: int) -> np.ndarray:
        """See `Library`."""
        return self._index.search(queries, k)[1]


class Hnswlib(Library):
    """hnswlib's navigable graph with 16 links."""

    name = "hnswlib"
    knobs = FaissHnsw.knobs

    def build(self, vectors: np.ndarray, threads: int) -> None:
        """See `Library`."""
        import hnswlib

        self._index = hnswlib.Index("ip", vectors.shape[1])
        self._index.init_index(len(vectors), M=16, ef_construction=100, random_seed=17)
        self._index.set_num_threads(threads)
        self._index.add_items(vectors)

    def set(self, knob: int) -> None:
        """See `Library`."""
        self._index.set_ef(knob)

    def single(self, query: np.ndarray, k: int) -> np.ndarray:
        """See `Library`."""
        return self._index.knn_query(query, k, num_threads=1)[0][0]

    def batch(self, queries: np.ndarray, k: int) -> np.ndarray:
        """See `Library`."""
        return self._index.knn_query(queries, k)[0]


class ScannOp(Library):
    """ScaNN's TensorFlow op, as a servable has it, called by itself."""

    name = "ScaNN's TensorFlow op"
    knobs = (0,)

    def __init__(self, index: SearchIndex, k: int) -> None:
        self._search = tf.function(lambda vectors: index.search(vectors, k), autograph=False)

    def build(self, vectors: np.ndarray, threads: int) -> None:
        """It is built already."""

    def set(self, knob: int) -> None:
        """It has the parameters of the servable."""

    def single(self, query: np.ndarray, k: int) -> np.ndarray:
        """See `Library`."""
        return self._search(tf.constant(query[np.newaxis]))[0].numpy()[0]

    def batch(self, queries: np.ndarray, k: int) -> np.ndarray:
        """See `Library`."""
        return self._search(tf.constant(queries))[0].numpy()


def tune(library: Library, queries: np.ndarray, exact: np.ndarray, wanted: float) -> tuple[int, float]:
    """Sets the first knob whose recall is `wanted`, or else the last; returns it and its recall."""
    for knob in library.knobs:
        library.set(knob)
        recall = recall_against_exact(library.batch(queries, exact.shape[1]), exact)
        if recall >= wanted:
            break
    return knob, recall


@dataclass
class Cost:
    """What rounds of measuring found; medians are taken of each list.

    Attributes:
      cpu_ms: milliseconds of processor time a request; empty where it cannot be seen.
      p50_ms: median latency. In process of one request after another; of a server at half of its saturated rate.
      p99_ms: the same of 99 %.
      rate: most requests a second, one by one, on all processors; of a server the saturated rate.
    """

    cpu_ms: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)


def measure(ask: Callable[[Any], Any], requests: Any, threads: int, cost: Cost) -> None:
    """One round of what is asked in this process."""
    for request in requests[:_UNTIMED]:
        ask(request)
    times, used = [], time.process_time()
    for request in requests[:_SINGLES]:
        started = time.perf_counter()
        ask(request)
        times.append((time.perf_counter() - started) * 1e3)
    cost.cpu_ms.append((time.process_time() - used) / len(times) * 1e3)
    cost.p50_ms.append(float(np.percentile(times, 50)))
    cost.p99_ms.append(float(np.percentile(times, 99)))
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        shares = [requests[thread::threads] for thread in range(threads)]
        list(pool.map(lambda share: [ask(request) for request in share], shares))
        cost.rate.append(len(requests) / (time.perf_counter() - started))
