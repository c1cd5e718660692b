"""Confidence intervals of means over requests, by a bootstrap over queries.

Requests of the same query text succeed and fail together, so they are no independent evidence: a popular
query asked a hundred times is one query. Whole queries are drawn with replacement, each with all of its
requests (the cluster bootstrap; Davison and Hinkley, Bootstrap Methods and their Application, 1997, section
3.8), and the mean over the drawn requests is taken. Two systems are compared on the same draws (paired).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import FloatArray, IntArray

_CHUNK_VALUES = 8_000_000


@dataclass(frozen=True)
class Estimate:
    """A mean with the bounds of its confidence interval."""

    value: float
    low: float
    high: float


class QueryBootstrap:
    """Draws queries once and gives the interval of any mean over the same requests.

    Args:
      queries: the query of each request; equal values are drawn together.
      samples: number of bootstrap draws.
      confidence: two-sided, for example 0.95.
      seed: same seed, same intervals.
    """

    def __init__(self, queries: Sequence[str], samples: int = 1000, confidence: float = 0.95, seed: int = 0):
        _, self._cluster = np.unique(np.asarray(queries, dtype=object).astype(str), return_inverse=True)
        self._clusters = int(self._cluster.max(initial=-1)) + 1
        self._tail = (1.0 - confidence) / 2.0
        self._draws = _draws(self._clusters, samples, seed)

    def mean(self, values: FloatArray, mask: NDArray[np.bool_] | None = None) -> Estimate | None:
        """Mean of `values` [requests] where `mask` holds; NaN values are left out; None if none is left."""
        keep = ~np.isnan(values) if mask is None else mask & ~np.isnan(values)
        if not keep.any():
            return None
        sums = np.bincount(self._cluster[keep], values[keep], self._clusters)
        counts = np.bincount(self._cluster[keep], minlength=self._clusters)
        present = np.flatnonzero(counts)
        drawn_sums, drawn_counts = self._drawn(np.stack([sums, counts], axis=1), present).T
        means = drawn_sums[drawn_counts > 0] / drawn_counts[drawn_counts > 0]
        low, high = np.quantile(means, [self._tail, 1.0 - self._tail]) if len(means) else (np.nan, np.nan)
        value = float(values[keep].mean())
        # A draw's rounding must not put the estimate outside of its own interval.
        return Estimate(value, min(value, float(low)), max(value, float(high)))

    def difference(
        self, values: FloatArray, baseline: FloatArray, mask: NDArray[np.bool_] | None = None
    ) -> Estimate | None:
        """Mean of `values - baseline`, request by request; above zero where `values` are the better ones."""
        return self.mean(values - baseline, mask)

    def relative(
        self, values: FloatArray, baseline: FloatArray, mask: NDArray[np.bool_] | None = None
    ) -> Estimate | None:
        """The mean of `values` over that of `baseline`, less 1, on the same requests; None where that is no number."""
        known = ~np.isnan(values) & ~np.isnan(baseline)
        keep = known if mask is None else mask & known
        columns = [np.bincount(self._cluster[keep], column[keep], self._clusters) for column in (values, baseline)]
        mine, theirs = self._drawn(np.stack(columns, axis=1), np.flatnonzero(columns[0] + columns[1])).T
        if not (theirs > 0).any() or not baseline[keep].sum() > 0:
            return None
        ratios = mine[theirs > 0] / theirs[theirs > 0] - 1.0
        low, high = np.quantile(ratios, [self._tail, 1.0 - self._tail])
        value = float(values[keep].sum() / baseline[keep].sum()) - 1.0
        return Estimate(value, min(value, float(low)), max(value, float(high)))

    def _drawn(self, columns: FloatArray, present: IntArray) -> FloatArray:
        """Sums of `columns` [queries, n] over each draw, [samples, n]; only `present` rows are non-zero."""
        step = max(1, _CHUNK_VALUES // max(1, len(present)))
        parts = [
            self._draws[start : start + step][:, present].astype(np.float64) @ columns[present]
            for start in range(0, len(self._draws), step)
        ]
        return np.concatenate(parts)


def _draws(clusters: int, samples: int, seed: int) -> NDArray[np.uint8]:
    """How often each query is drawn, [samples, queries]; a count over 255 is out of reach."""
    generator = np.random.default_rng(seed)
    draws = np.zeros((samples, clusters), dtype=np.uint8)
    for row in draws:
        row[:] = np.bincount(generator.integers(0, max(1, clusters), clusters), minlength=clusters)
    return draws
