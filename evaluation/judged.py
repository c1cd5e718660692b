"""Measures a servable against graded judgments, beside BM25 over the same catalog.

Queries are asked bare, without a user. The servable answers a fixed number of items through its index ("as
served"); deeper ks need an exact search over its vectors, which also shows what the index costs.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from evaluation import metrics
from evaluation.baselines import Bm25
from evaluation.bootstrap import Estimate, QueryBootstrap
from evaluation.eval_set import EvalCatalog
from evaluation.exact_search import exact_search
from evaluation.index_recall import Vectors, vector_questions
from evaluation.judgments import Judgments
from evaluation.metrics import FloatArray, IntArray, Relevant
from evaluation.replay_job import Question, ReplayJob
from evaluation.servable import holds_servable, retrieved
from schema import features
from schema.settings import InputError

SERVED = "served"
EXACT = "exact"
BM25 = "bm25"
_BATCH = 256


@dataclass(frozen=True)
class JudgedSystem:
    """One ranking's metrics by name (`recall@k`, `ndcg@k`), and its lead over BM25 on the same queries."""

    key: str
    label: str
    metrics: dict[str, Estimate]
    over_bm25: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgedEvaluation:
    """What was found.

    Attributes:
      queries: queries with at least one right item; the means are over these.
      queries_without: queries that have none and are left out.
      right: judged pairs that recall counts, `right_name` says which.
      right_missing: those of them that are not in the catalog; they count as not found.
      served_k: items that the servable answers.
    """

    servable: str
    right_name: str
    queries: int
    queries_without: int
    right: int
    right_missing: int
    catalog_items: int
    served_k: int
    ks: tuple[int, ...]
    confidence: float
    systems: tuple[JudgedSystem, ...]


@dataclass(frozen=True)
class _Truth:
    queries: tuple[str, ...]
    right: Relevant
    graded: Relevant


def evaluate_judgments(
    servable_dir: str | os.PathLike[str],
    catalog: EvalCatalog,
    judgments: Judgments,
    ks: Sequence[int],
    bootstrap_samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 17,
    progress: Callable[[str], None] = lambda _: None,
) -> JudgedEvaluation:
    """Recall of the right items and NDCG at each of `ks`, of the servable and of BM25.

    Args:
      servable_dir: folder of the SavedModel.
      catalog: the items that the servable was built for.
      judgments: what is right.
      ks: list lengths; those above the servable's own are measured by exact search only.
      bootstrap_samples: draws of queries for the intervals.
      confidence: of the intervals, two-sided.
      seed: of the draws.
      progress: told what is being done.

    Raises:
      InputError: bad ks, no servable, or none of the judged items is in the catalog.
    """
    ks = tuple(sorted(set(ks)))
    if not ks or ks[0] < 1:
        raise InputError(f"the list lengths are {list(ks)}; each k must be 1 or more")
    truth = _truth(judgments, catalog)
    missing = int(np.count_nonzero(truth.right.rows >= len(catalog)))
    if missing == len(truth.right.rows):
        raise InputError(
            "none of the judged items is in the catalog: the judgments are of another catalog, or the item "
            "ids are written otherwise"
        )
    with ReplayJob() as job:
        progress("loading the servable")
        can_encode = job.servable(servable_dir).can_encode()
        queries = [query.encode() for query in truth.queries]
        questions = [Question(servable_dir, features.SIGNATURE_QUERY_TEXT, queries, _BATCH)]
        progress(f"asking it {len(queries):,} queries")
        if can_encode:
            progress(f"embedding {len(catalog):,} items for the exact search")
            examples = [_query_example(query) for query in truth.queries]
            questions += vector_questions(servable_dir, examples, catalog)
        answer, *embedded = job.ask(questions)
    served = retrieved(answer, catalog).rows
    ranked = {SERVED: served}
    if can_encode:
        vectors = Vectors.of(*embedded)
        ranked[EXACT] = exact_search(vectors.requests, vectors.items, ks[-1])[0]
    progress("ranking by BM25")
    ranked[BM25] = Bm25(catalog.texts()).search(truth.queries, ks[-1])
    depths = {SERVED: served.shape[1]}
    return JudgedEvaluation(
        servable=os.fspath(servable_dir),
        right_name=judgments.right_name,
        queries=len(truth.queries),
        queries_without=len(judgments.by_query) - len(truth.queries),
        right=len(truth.right.rows),
        right_missing=missing,
        catalog_items=len(catalog),
        served_k=served.shape[1],
        ks=ks,
        confidence=confidence,
        systems=_systems(
            {key: _measure(rows, truth, [k for k in ks if k <= depths.get(key, k)]) for key, rows in ranked.items()},
            QueryBootstrap(truth.queries, bootstrap_samples, confidence, seed),
        ),
    )


def newest_version(model_dir: Path) -> Path:
    """The version folder with the highest number, as TF Serving would pick it.

    Raises:
      InputError: there is no version under `model_dir`.
    """
    if not model_dir.is_dir():
        raise InputError(f"there is no folder {model_dir}; give the folder that the pipeline pushes versions to")
    versions = [path for path in model_dir.iterdir() if path.name.isdecimal() and holds_servable(path)]
    if not versions:
        advice = "it is itself a version: give it with --servable" if holds_servable(model_dir) else "push one first"
        raise InputError(f"{model_dir} holds no version (a folder named by a number with a SavedModel); {advice}")
    return max(versions, key=lambda path: int(path.name))


def _systems(measured: Mapping[str, dict[str, FloatArray]], bootstrap: QueryBootstrap) -> tuple[JudgedSystem, ...]:
    labels = {SERVED: "As served", EXACT: "Exact search", BM25: "BM25"}
    reference = measured[BM25]
    return tuple(
        JudgedSystem(
            key,
            labels[key],
            _estimates(values, bootstrap),
            {}
            if key == BM25
            else _estimates({name: column - reference[name] for name, column in values.items()}, bootstrap),
        )
        for key, values in measured.items()
    )


def _measure(rows: IntArray, truth: _Truth, ks: Sequence[int]) -> dict[str, FloatArray]:
    right, graded = metrics.first_ranks(rows, truth.right), metrics.first_ranks(rows, truth.graded)
    recall = {f"recall@{k}": metrics.recall_at(right, truth.right, k) for k in ks}
    return recall | {f"ndcg@{k}": metrics.ndcg_at(graded, truth.graded, k) for k in ks}


def _estimates(values: Mapping[str, FloatArray], bootstrap: QueryBootstrap) -> dict[str, Estimate]:
    found = {name: bootstrap.mean(column) for name, column in values.items()}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _truth(judgments: Judgments, catalog: EvalCatalog) -> _Truth:
    kept = {query: judged for query, judged in judgments.by_query.items() if any(one.right for one in judged)}
    known = dict(catalog.rows)
    flat = [
        (place, known.setdefault(one.item_id, len(known)), one.gain, one.right)
        for place, judged in enumerate(kept.values())
        for one in judged
        if one.gain > 0
    ]
    request, rows, gains, right = (np.array(column) for column in zip(*flat, strict=True))
    graded = Relevant(request, rows, gains.astype(np.float64), len(kept))
    return _Truth(tuple(kept), graded.only(right.astype(bool)), graded)


def _query_example(query: str) -> bytes:
    example = tf.train.Example()
    example.features.feature[features.QUERY].bytes_list.value.append(query.encode())
    return bytes(example.SerializeToString())
