"""Joins rankings of the same requests into one."""

from collections.abc import Sequence

import numpy as np

from evaluation.metrics import NOT_AN_ITEM, IntArray

# Cormack, Clarke and Buettcher, Reciprocal Rank Fusion outperforms Condorcet, SIGIR 2009: k = 60 there.
RANK_CONSTANT = 60


def reciprocal_rank_fusion(rankings: Sequence[IntArray], k: int) -> IntArray:
    """The best `k` rows by the sum of 1 / (RANK_CONSTANT + rank) over the rankings that have them.

    Args:
      rankings: each [requests, any depth] rows, best first; negative ones are no items. Of a row that comes twice in
        one of them the first counts.
      k: list length.

    Returns:
      [requests, k] rows, equal sums by the first ranking and rank that has them, padded with -1.
    """
    fused = np.full((len(rankings[0]), k), NOT_AN_ITEM, dtype=np.int64)
    for request, lists in enumerate(zip(*rankings, strict=True)):
        sums: dict[int, float] = {}
        for rows in lists:
            seen: set[int] = set()
            for rank, row in enumerate(rows.tolist(), start=1):
                if row >= 0 and row not in seen:
                    seen.add(row)
                    sums[row] = sums.get(row, 0.0) + 1.0 / (RANK_CONSTANT + rank)
        best = sorted(sums, key=lambda row: -sums[row])[:k]
        fused[request, : len(best)] = best
    return fused
