"""An approximate index of plain TensorFlow ops, for servers that lack ScaNN's: an inverted file of 8-bit vectors.

Vectors are partitioned by k-means. A search scores the 8-bit vectors of the nearest partitions and scores the best of
those again in full precision (IVF-SQ8 with re-ranking, as in Faiss: Johnson, Douze and Jegou, arXiv 1702.08734).
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.index_builder.search_index import Parameters, SearchIndex

Floats = NDArray[np.float32]

# Vectors per partition that k-means is trained with, as many as Faiss recommends at least.
_SAMPLE_PER_LEAF = 64
_ITERATIONS = 12
_CHUNK = 16_384


@dataclass(frozen=True)
class Partition:
    """A catalog split up by nearness.

    Attributes:
      centroids: [leaves, dim] float32.
      starts: [leaves + 1] int32; leaf `n` has `members[starts[n]:starts[n + 1]]`.
      members: [items] int32, every item once.
    """

    centroids: Floats
    starts: NDArray[np.int32]
    members: NDArray[np.int32]


def nearest(vectors: Floats, centroids: Floats) -> NDArray[np.int64]:
    """The centroid at the least Euclidean distance of each vector, [vectors]."""
    half_squares = (centroids**2).sum(axis=1) / 2
    return np.concatenate(
        [
            (vectors[start : start + _CHUNK] @ centroids.T - half_squares).argmax(axis=1)
            for start in range(0, len(vectors), _CHUNK)
        ]
    )


def partition(vectors: Floats, leaves: int, seed: int) -> Partition:
    """Splits vectors by k-means (Lloyd's algorithm on a sample).

    Args:
      vectors: [items, dim].
      leaves: how many parts, at most as many as there are items; some may be empty.
      seed: of the sample and the first centroids.
    """
    rng = np.random.default_rng(seed)
    size = min(len(vectors), _SAMPLE_PER_LEAF * leaves)
    sample = vectors[np.sort(rng.choice(len(vectors), size, replace=False))]
    centroids = sample[rng.choice(size, leaves, replace=False)].copy()
    for _ in range(_ITERATIONS):
        leaf = nearest(sample, centroids)
        counts = np.bincount(leaf, minlength=leaves)
        order = np.argsort(leaf, kind="stable")
        filled = np.flatnonzero(counts)
        starts = np.cumsum(counts) - counts
        centroids[filled] = np.add.reduceat(sample[order], starts[filled]) / counts[filled, np.newaxis]
        # An empty part starts again at some vector, most likely one of a crowded part.
        empty = np.flatnonzero(counts == 0)
        centroids[empty] = sample[rng.choice(size, len(empty))]
    leaf = nearest(vectors, centroids)
    starts = np.concatenate([[0], np.cumsum(np.bincount(leaf, minlength=leaves))])
    return Partition(centroids, starts.astype(np.int32), np.argsort(leaf, kind="stable").astype(np.int32))


class InvertedFileIndex(SearchIndex):
    """Searches the partitions nearest to a query, in 8 bits first and the best again in full.

    Args:
      vectors: [items, dim] float32.
      parameters: `leaves`, how many partitions; `leaves_to_search` of them; `reorder`, how many are re-scored.
      k: for which the parameters are; a search for more takes as many times more partitions and candidates.
      seed: of the partitions.
    """

    def __init__(self, vectors: np.ndarray, parameters: Parameters, k: int, seed: int):
        super().__init__()
        vectors = np.asarray(vectors, np.float32)
        self._parameters = dict(parameters)
        self._k, self._items = k, len(vectors)
        parts = partition(vectors, int(parameters["leaves"]), seed)
        scale = np.maximum(np.abs(vectors).max(axis=0), 1e-12) / 127
        self._vectors = tf.Variable(vectors, trainable=False, name="vectors")
        self._centroids = tf.Variable(parts.centroids, trainable=False, name="centroids")
        self._starts = tf.Variable(parts.starts, trainable=False, name="starts")
        self._members = tf.Variable(parts.members, trainable=False, name="members")
        # In the order of the leaves, so that a leaf is read from one place.
        codes = np.rint(vectors[parts.members] / scale).astype(np.int8)
        self._codes = tf.Variable(codes, trainable=False, name="codes")
        self._scale = tf.Variable(scale.astype(np.float32), trainable=False, name="scale")

    def with_parameters(self, parameters: Parameters) -> "InvertedFileIndex":
        """The same index searched with another `reorder` or `leaves_to_search`; shares the data."""
        other = object.__new__(InvertedFileIndex)
        tf.Module.__init__(other)
        for name in ("_k", "_items", "_vectors", "_centroids", "_starts", "_members", "_codes", "_scale"):
            setattr(other, name, getattr(self, name))
        other._parameters = {**self._parameters, **parameters}
        return other

    def search(self, vectors: tf.Tensor, k: int | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `SearchIndex.search`."""
        times = tf.maximum(1.0, tf.cast(k, tf.float32) / self._k)

        def more(name: str, most: int) -> tf.Tensor:
            return tf.minimum(most, tf.cast(tf.math.ceil(self._parameters[name] * times), tf.int32))

        leaves = more("leaves_to_search", int(self._parameters["leaves"]))
        reorder = tf.maximum(more("reorder", self._items), k)
        near = tf.math.top_k(tf.matmul(vectors, self._centroids, transpose_b=True), leaves, sorted=False).indices
        return tf.map_fn(
            lambda query: self._search_leaves(query[0], query[1], reorder, k),
            (vectors, near),
            fn_output_signature=(tf.int32, tf.float32),
        )

    def vectors_at(self, positions: tf.Tensor) -> tf.Tensor:
        """See `SearchIndex.vectors_at`."""
        return tf.gather(self._vectors, positions)

    def _search_leaves(
        self, query: tf.Tensor, leaves: tf.Tensor, reorder: tf.Tensor, k: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One query [dim] in some leaves: positions and scores, [k]."""
        rows = tf.ragged.range(tf.gather(self._starts, leaves), tf.gather(self._starts, leaves + 1)).values
        codes = tf.cast(tf.gather(self._codes, rows), tf.float32)
        rough = tf.linalg.matvec(codes, query * self._scale)
        best = tf.math.top_k(rough, tf.minimum(reorder, tf.size(rows)), sorted=False).indices
        candidates = tf.gather(self._members, tf.gather(rows, best))
        scores = tf.linalg.matvec(self.vectors_at(candidates), query)
        scores, best = tf.math.top_k(scores, tf.minimum(k, tf.size(candidates)))
        missing = [[0, k - tf.size(best)]]
        positions = tf.pad(tf.gather(candidates, best), missing, constant_values=-1)
        scores = tf.pad(scores, missing, constant_values=float("-inf"))
        if isinstance(k, int):
            # Of no queries at all, answers can only be stacked where their shape is known.
            positions, scores = tf.ensure_shape(positions, [k]), tf.ensure_shape(scores, [k])
        return positions, scores
