"""How well a score orders the items of one search: ordered above clicked above only shown."""

import numpy as np

from evaluation.eval_set import EvalRequests
from evaluation.metrics import FloatArray, IntArray
from schema.features import Stage

_ROWS_AT_ONCE = 256


def page_stages(requests: EvalRequests, items: int) -> IntArray:
    """The `Stage` of each item of each page, [requests, widest page]; 0 for padding and what left the catalog.

    Args:
      requests: the evaluation requests.
      items: size of the catalog.
    """
    shown = requests.shown
    stages = np.where((shown >= 0) & (shown < items), int(Stage.SHOWN), 0)
    relevant = requests.relevant
    place = shown[relevant.request] == relevant.rows[:, None]
    found, column = np.nonzero(place & (stages[relevant.request] > 0))
    stages[relevant.request[found], column] = requests.stages[found]
    return stages


def pairwise_auc(scores: FloatArray, stages: IntArray, above: int = 1) -> FloatArray:
    """Share of a page's pairs of different stage that the scores order as the searcher did, [requests].

    Equal scores count half. NaN where a page has no such pair. The pages are those that the shop showed, and a searcher
    takes what stands above: who repeats the shop's order is favored.

    Args:
      scores: [requests, page].
      stages: [requests, page]; 0 is no item.
      above: only pairs whose better item reached this stage or a higher one.
    """
    shares = np.full(len(scores), np.nan)
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        score = scores[start : start + _ROWS_AT_ONCE]
        stage = stages[start : start + _ROWS_AT_ONCE]
        better, worse = stage[:, :, None], stage[:, None, :]
        pairs = (better > worse) & (worse > 0) & (better >= above)
        gap = score[:, :, None] - score[:, None, :]
        right = ((gap > 0) + 0.5 * (gap == 0)) * pairs
        counts = pairs.sum(axis=(1, 2))
        share = shares[start : start + _ROWS_AT_ONCE]
        np.divide(right.sum(axis=(1, 2)), counts, out=share, where=counts > 0)
    return shares
