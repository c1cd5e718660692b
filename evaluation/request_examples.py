"""Picks a few evaluation requests for a person to look at."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from evaluation import metrics
from evaluation.eval_set import EvalCatalog, EvalRequests
from evaluation.metrics import IntArray
from evaluation.results import ExampleItem, RequestExample
from evaluation.slices import Slice

_RESULTS = 5


def choose_examples(
    requests: EvalRequests,
    catalog: EvalCatalog,
    slices: Sequence[Slice],
    candidate: IntArray,
    bm25: IntArray,
    count: int,
) -> tuple[RequestExample, ...]:
    """`count` requests of distinct queries, taken in turn from frequent, middling, rare and unseen queries.

    They are the first of the sample, which is in the order of a hash: neither the best nor the worst.

    Args:
      requests: the evaluation requests.
      catalog: gives titles and brands.
      slices: those of the group `query_frequency` are taken in turn.
      candidate: [requests, k] rows that the candidate returned.
      bm25: the same of BM25.
      count: how many to choose.
    """
    groups = [
        [(int(row), piece.name) for row in np.flatnonzero(piece.requests)]
        for piece in slices
        if piece.group == "query_frequency"
    ]
    in_turn = (pick for turn in zip_longest(*groups) for pick in turn if pick is not None)
    ranks = metrics.first_ranks(candidate, requests.relevant)
    chosen: dict[str, RequestExample] = {}
    for row, frequency in in_turn:
        if len(chosen) >= count:
            break
        query = requests.queries[row]
        if query not in chosen:
            chosen[query] = _example(row, frequency, requests, catalog, candidate, bm25, ranks)
    return tuple(chosen.values())


def _example(
    row: int,
    frequency: str,
    requests: EvalRequests,
    catalog: EvalCatalog,
    candidate: IntArray,
    bm25: IntArray,
    ranks: IntArray,
) -> RequestExample:
    mine = np.flatnonzero(requests.relevant.request == row)
    relevant = {int(item) for item in requests.relevant.rows[mine]}
    wanted = tuple((_title(int(requests.relevant.rows[place]), catalog), int(ranks[place])) for place in mine)

    def results(rows: IntArray) -> tuple[ExampleItem, ...]:
        return tuple(
            ExampleItem(_title(int(item), catalog), catalog.brands[item], int(item) in relevant)
            for item in rows[row, :_RESULTS]
            if item >= 0
        )

    return RequestExample(
        query=requests.queries[row],
        frequency=frequency,
        has_history=bool(requests.has_history[row]),
        wanted=wanted,
        candidate=results(candidate),
        bm25=results(bm25),
    )


def _title(row: int, catalog: EvalCatalog) -> str:
    if row >= len(catalog):
        return "(an item that is not in the catalog)"
    return catalog.titles[row] or catalog.item_ids[row]
