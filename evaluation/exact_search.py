"""Search by looking at every item: what an approximate index is measured against."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import FloatArray, IntArray

_BLOCK_VALUES = 16_000_000
# Products of equal vectors differ in the last bits between a matrix product and the index's own kernels.
_SCORE_TOLERANCE = 1e-5


def exact_search(
    query_vectors: NDArray[np.float32], item_vectors: NDArray[np.float32], k: int
) -> tuple[IntArray, NDArray[np.float32]]:
    """Best `k` items by the largest inner product over the query's heads, by looking at every item.

    Args:
      query_vectors: [requests, heads, dim].
      item_vectors: [items, dim].
      k: at most the number of items are returned.

    Returns:
      rows [requests, k] and scores [requests, k], best first; equal scores by row.
    """
    k = min(k, len(item_vectors))
    rows = np.empty((len(query_vectors), k), dtype=np.int64)
    scores = np.empty((len(query_vectors), k), dtype=np.float32)
    step = max(1, _BLOCK_VALUES // max(1, len(item_vectors)))
    for start in range(0, len(query_vectors), step):
        block = query_vectors[start : start + step]
        products = block[:, 0] @ item_vectors.T
        for head in range(1, block.shape[1]):
            np.maximum(products, block[:, head] @ item_vectors.T, out=products)
        rows[start : start + step] = top_k(products, k)
        scores[start : start + step] = np.take_along_axis(products, rows[start : start + step], axis=1)
    return rows, scores


def top_k(scores: NDArray[np.floating[Any]], k: int) -> IntArray:
    """Columns of the `k` largest of each row, best first, equal ones by column; [rows, k]."""
    k = min(k, scores.shape[1])
    if k < scores.shape[1]:
        # Everything at least as good as the k-th is a candidate, so that ties at the edge go by column too.
        edge = np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k]
        return np.stack([_best(row, low, k) for row, low in zip(scores, edge, strict=True)])
    return np.argsort(-scores, axis=1, kind="stable")


def _best(row: NDArray[np.floating[Any]], low: float, k: int) -> IntArray:
    candidates = np.flatnonzero(row >= low)
    return candidates[np.argsort(-row[candidates], kind="stable")][:k]


def index_recall(
    retrieved: IntArray,
    query_vectors: NDArray[np.float32],
    item_vectors: NDArray[np.float32],
    k: int,
    indexed: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Share of the exact top `k` that the index returned, [requests].

    An item counts as right if its exact score reaches that of the k-th exact result (as ann-benchmarks
    counts), so that items of equal score may stand for each other. Items with the very same vector are one
    here: an index that keeps one of them loses nothing.

    Args:
      retrieved: [requests, >= k] item rows of the index, padded with -1.
      query_vectors: [requests, heads, dim].
      item_vectors: [items, dim].
      k: at most the number of distinct item vectors are compared.
      indexed: [items] which items the index was given; None for all.
    """
    distinct = _distinct(item_vectors if indexed is None else item_vectors[indexed])
    k = min(k, len(distinct))
    _, exact = exact_search(query_vectors, distinct, k)
    found = retrieved[:, :k]
    scores = np.einsum("qhd,qkd->qhk", query_vectors, item_vectors[np.maximum(found, 0)]).max(axis=1)
    right = (found >= 0) & (scores >= exact[:, -1:] - _SCORE_TOLERANCE)
    return right.sum(axis=1) / k


def _distinct(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The different rows of `vectors`, in their first order."""
    # Compared as bytes: ten times as fast as np.unique(axis=0), which compares value by value.
    rows = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.itemsize * vectors.shape[1]))).ravel()
    return vectors[np.sort(np.unique(rows, return_index=True)[1])]
