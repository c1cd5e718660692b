"""Metrics with intervals for every ranking, over all requests and per slice."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation import metrics
from evaluation.bootstrap import Estimate, QueryBootstrap
from evaluation.config import EvaluationConfig
from evaluation.eval_set import EvalRequests, normalize_query
from evaluation.metrics import FloatArray, IntArray
from evaluation.results import (
    AS_SHOWN,
    BASELINE,
    BM25,
    BM25_CLICKED_QUERIES,
    CANDIDATE,
    MEMORIZED_CLICKS,
    OTHER_WAYS,
    POPULARITY,
    SliceResult,
    SystemResult,
)
from evaluation.slices import Slice

SYSTEM_LABELS = {
    CANDIDATE: ("Candidate", "The servable under test, through its index."),
    BASELINE: ("Blessed servable", "What is served now: the latest servable that passed this gate."),
    POPULARITY: ("Popularity", "The items most clicked and ordered in training, the same for everyone."),
    MEMORIZED_CLICKS: (
        "Memorized clicks",
        "For a query seen in training the items clicked and ordered for it, most often first; for others nothing.",
    ),
    BM25: (
        "BM25",
        "Lexical search over the text that the model reads: title, brand, category, and the catalog's further text "
        "and categorical columns. No learning, no user.",
    ),
    BM25_CLICKED_QUERIES: (
        "BM25 + clicked queries",
        "The same, over texts to which the queries are added that led to a click or an order on the item in training.",
    ),
    **{key: (f"Candidate, {way}", f"The same servable, asked for {way} retrieval.") for way, key in OTHER_WAYS.items()},
    AS_SHOWN: (
        "As shown",
        "The shop's own page by position. On-policy: most clicks came from this very page, so its recall at page "
        "length is high by construction. It measures the logs, not a competitor.",
    ),
}


def query_bootstrap(requests: EvalRequests, config: EvaluationConfig) -> QueryBootstrap:
    """The bootstrap over the requests' queries that all intervals of one evaluation share."""
    queries = [normalize_query(query) for query in requests.queries]
    return QueryBootstrap(queries, config.bootstrap_samples, config.confidence, config.seed)


def compare_systems(
    ranked: Mapping[str, IntArray],
    requests: EvalRequests,
    items: int,
    bootstrap: QueryBootstrap,
    config: EvaluationConfig,
    default_way: str | None = None,
) -> tuple[SystemResult, ...]:
    """All metrics of all systems, and how far each is behind the candidate.

    Args:
      ranked: [requests, k] item rows by system key; must hold CANDIDATE.
      requests: the evaluation requests.
      items: catalog size.
      bootstrap: gives the intervals.
      config: gives ks and gains.
      default_way: how the candidate retrieves by default; None where it has but one way.
    """
    per_request = {key: _per_request(rows, requests, config) for key, rows in ranked.items()}
    lead = per_request[CANDIDATE]
    results = []
    for key, rows in ranked.items():
        label, note = SYSTEM_LABELS[key]
        if key == CANDIDATE and default_way is not None:
            label = f"{label}, {default_way} (default)"
        mine = per_request[key]
        behind = {} if key == CANDIDATE else {name: lead[name] - mine[name] for name in mine}
        results.append(
            SystemResult(
                key=key,
                label=label,
                note=note,
                metrics=_estimates(mine, bootstrap),
                coverage={f"coverage@{k}": metrics.coverage_at(rows, k, items) for k in config.ks},
                behind_candidate=_estimates(behind, bootstrap),
            )
        )
    return tuple(results)


def compare_slices(
    ranked: Mapping[str, IntArray],
    requests: EvalRequests,
    slices: Sequence[Slice],
    bootstrap: QueryBootstrap,
    config: EvaluationConfig,
) -> tuple[SliceResult, ...]:
    """Recall at the primary k of all systems but AS_SHOWN on each slice."""
    relevant, k = requests.relevant, config.primary_k
    ranks = {key: metrics.first_ranks(rows, relevant) for key, rows in ranked.items() if key != AS_SHOWN}
    results = []
    for piece in slices:
        keep = np.ones(len(relevant.rows), dtype=bool) if piece.items is None else piece.items
        recall = {key: metrics.recall_at(mine[keep], relevant.only(keep), k) for key, mine in ranks.items()}
        inside = {key: np.where(piece.requests, values, np.nan) for key, values in recall.items()}
        behind = {key: inside[CANDIDATE] - values for key, values in inside.items() if key != CANDIDATE}
        chosen = np.flatnonzero(piece.requests)
        results.append(
            SliceResult(
                group=piece.group,
                name=piece.name,
                requests=len(chosen),
                queries=len({normalize_query(requests.queries[row]) for row in chosen}),
                recall=_estimates(inside, bootstrap),
                behind_candidate=_estimates(behind, bootstrap),
            )
        )
    return tuple(results)


def _per_request(rows: IntArray, requests: EvalRequests, config: EvaluationConfig) -> dict[str, FloatArray]:
    relevant = requests.relevant
    ranks = metrics.first_ranks(rows, relevant)
    values = {f"recall@{k}": metrics.recall_at(ranks, relevant, k) for k in config.ks}
    values |= {f"ndcg@{k}": metrics.ndcg_at(ranks, relevant, k) for k in config.ks}
    values[f"mrr@{config.primary_k}"] = metrics.reciprocal_rank(ranks, relevant, config.primary_k)
    return values


def _estimates(values: Mapping[str, FloatArray], bootstrap: QueryBootstrap) -> dict[str, Estimate]:
    found = {name: bootstrap.mean(column) for name, column in values.items()}
    return {name: estimate for name, estimate in found.items() if estimate is not None}
