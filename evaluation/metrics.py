"""Retrieval metrics, vectorized over requests.

Everything per request follows from one array: for each relevant item of each request, its rank in what was
retrieved. `Relevant` holds the relevant items of all requests flat, so that no request is padded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

NOT_AN_ITEM = -1


@dataclass(frozen=True)
class Relevant:
    """The relevant items of `requests` requests, flat and grouped by request.

    Attributes:
      request: [relevant] index of the request, ascending.
      rows: [relevant] item rows (>= 0), distinct within a request.
      gains: [relevant] worth of the item to the searcher, > 0 where it is relevant; what judges hold to be wrong has 0.
      requests: number of requests; some may have no relevant item.
    """

    request: IntArray
    rows: IntArray
    gains: FloatArray
    requests: int

    def counts(self) -> IntArray:
        """Relevant items per request, [requests]."""
        return np.bincount(self.request, minlength=self.requests)

    def only(self, keep: NDArray[np.bool_]) -> "Relevant":
        """The same requests with only the relevant items where `keep` [relevant] is true."""
        return Relevant(self.request[keep], self.rows[keep], self.gains[keep], self.requests)


def first_ranks(retrieved: IntArray, relevant: Relevant) -> IntArray:
    """Rank from 1 of each relevant item in its request's list, 0 where it was not retrieved.

    Args:
      retrieved: [requests, k] item rows, best first; a negative row is no item (padding, or an id that is
        in no catalog) but keeps its place in the list. Of an item that comes twice the first counts.
      relevant: the relevant items.

    Returns:
      [relevant] ranks.
    """
    if len(retrieved) != relevant.requests:
        raise ValueError(f"`retrieved` has {len(retrieved)} requests, `relevant` has {relevant.requests}")
    ranks = np.zeros(len(relevant.rows), dtype=np.int64)
    if not retrieved.size or not len(ranks):
        return ranks
    request, position = np.nonzero(retrieved >= 0)
    rows = retrieved[request, position]
    stride = int(max(rows.max(initial=0), relevant.rows.max())) + 1
    keys, first = np.unique(request * stride + rows, return_index=True)
    if not len(keys):
        return ranks
    wanted = relevant.request * stride + relevant.rows
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found = keys[place] == wanted
    ranks[found] = position[first[place[found]]] + 1
    return ranks


def recall_at(ranks: IntArray, relevant: Relevant, k: int) -> FloatArray:
    """Share of a request's relevant items among its first `k`, [requests]; NaN where none is relevant."""
    hits = np.bincount(relevant.request, (ranks > 0) & (ranks <= k), relevant.requests)
    counts = relevant.counts()
    return np.divide(hits, counts, out=np.full(relevant.requests, np.nan), where=counts > 0)


def reciprocal_rank(ranks: IntArray, relevant: Relevant, k: int) -> FloatArray:
    """1 / rank of the first relevant item within the first `k`, else 0, [requests]; NaN where none is."""
    inverse = np.divide(1.0, ranks, out=np.zeros(len(ranks)), where=(ranks > 0) & (ranks <= k))
    best = np.zeros(relevant.requests)
    np.maximum.at(best, relevant.request, inverse)
    best[relevant.counts() == 0] = np.nan
    return best


def ndcg_at(ranks: IntArray, relevant: Relevant, k: int) -> FloatArray:
    """Normalized discounted cumulative gain of the first `k`, [requests]; NaN where none is relevant.

    Discount 1 / log2(1 + rank); the ideal list holds all of the request's relevant items by falling gain.
    """
    found = (ranks > 0) & (ranks <= k)
    discounted = np.divide(relevant.gains, np.log2(1.0 + ranks), out=np.zeros(len(ranks)), where=found)
    gained = np.bincount(relevant.request, discounted, relevant.requests)

    order = np.lexsort((-relevant.gains, relevant.request))
    starts = np.concatenate([[0], np.cumsum(relevant.counts())])[relevant.request]
    ideal_rank = np.arange(len(order)) - starts + 1
    ideal = np.where(ideal_rank <= k, relevant.gains[order] / np.log2(1.0 + ideal_rank), 0.0)
    best = np.bincount(relevant.request, ideal, relevant.requests)
    return np.divide(gained, best, out=np.full(relevant.requests, np.nan), where=best > 0)


def among(retrieved: IntArray, items: Relevant) -> NDArray[np.bool_]:
    """Which places of each request's list hold one of its `items`, [requests, k]."""
    stride = int(max(retrieved.max(initial=0), items.rows.max(initial=0))) + 1
    keys = np.arange(len(retrieved))[:, np.newaxis] * stride + retrieved
    found: NDArray[np.bool_] = np.isin(keys, items.request * stride + items.rows) & (retrieved >= 0)
    return found


def condensed(retrieved: IntArray, judged: Relevant) -> IntArray:
    """Each request's list without the rows that nobody has judged, [requests, k], padded with -1.

    What is measured on it does not count an item as wrong because nobody has looked at it (Sakai, Alternatives to
    Bpref, SIGIR 2007).

    Args:
      retrieved: [requests, k] item rows, best first.
      judged: every judged item of each request, right or wrong.
    """
    known = among(retrieved, judged)
    order = np.argsort(~known, axis=1, kind="stable")
    return np.where(np.take_along_axis(known, order, 1), np.take_along_axis(retrieved, order, 1), NOT_AN_ITEM)


def judged_at(retrieved: IntArray, judged: Relevant, k: int) -> FloatArray:
    """Share of each request's first `k` hits that are judged, [requests]; NaN where nothing was retrieved."""
    hits = np.count_nonzero(retrieved[:, :k] >= 0, axis=1)
    known = np.count_nonzero(among(retrieved, judged)[:, :k], axis=1)
    return np.divide(known, hits, out=np.full(len(retrieved), np.nan), where=hits > 0)


def coverage_at(retrieved: IntArray, k: int, items: int) -> float:
    """Share of the catalog's `items` that some request saw among its first `k`."""
    rows = np.unique(retrieved[:, :k])
    return float(np.count_nonzero((rows >= 0) & (rows < items)) / items) if items else 0.0
