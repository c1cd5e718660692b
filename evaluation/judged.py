"""Measures a servable against graded judgments, beside BM25 over the same catalog.

Queries are asked bare, without a user, in every way of retrieval that the servable has. It answers a fixed number of
items through its index; deeper ks need an exact search over its vectors, which also shows what the index costs.
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
from evaluation.fusion import reciprocal_rank_fusion
from evaluation.index_recall import Vectors, vector_questions
from evaluation.judgments import Judgments, check_overlap
from evaluation.metrics import FloatArray, IntArray, Relevant
from evaluation.replay_job import Question, ReplayJob
from evaluation.retrieval import asked_for, default_way
from evaluation.servable import holds_servable, retrieved
from schema import features
from schema.features import Retrieval
from schema.settings import InputError

SERVED = "served"
EXACT = "exact"
BM25 = "bm25"
FUSED = "fused"
_LABELS = {SERVED: "As served", EXACT: "Exact search", BM25: "BM25", FUSED: "Candidate + BM25"}
_BATCH = 256


@dataclass(frozen=True)
class JudgedSystem:
    """One ranking on the judged queries.

    Attributes:
      key: SERVED or, of a servable with several, a way of retrieval; EXACT, BM25, or FUSED for what is served and BM25
        by reciprocal rank fusion.
      metrics: by name: `recall@k`, `ndcg@k`.
      over_bm25: its lead over BM25 on the same queries.
      condensed: the same metrics of the first `served_k` hits without those that nobody has judged.
      judged: share of the first k hits that are judged, by `judged@k`.
      is_default: it is what the servable answers unless it is asked otherwise.
    """

    key: str
    label: str
    metrics: dict[str, Estimate]
    over_bm25: dict[str, Estimate] = field(default_factory=dict)
    condensed: dict[str, Estimate] = field(default_factory=dict)
    judged: dict[str, Estimate] = field(default_factory=dict)
    is_default: bool = False


@dataclass(frozen=True)
class JudgedEvaluation:
    """What was found.

    Attributes:
      grades: how many judgments there are of each grade, best first.
      queries: queries with at least one right item; the means are over these.
      queries_without: queries that have none and are left out.
      right: judged pairs that recall counts, `right_name` says which.
      right_missing: those of them that are not in the catalog; they count as not found.
      served_k: items that the servable answers.
    """

    servable: str
    right_name: str
    grades: dict[str, int]
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
    judged: Relevant


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
    missing = check_overlap(judgments, catalog.item_ids)
    truth = _truth(judgments, catalog)
    with ReplayJob() as job:
        progress("loading the servable")
        servable = job.servable(servable_dir)
        default, can_encode = default_way(servable.card), servable.can_encode()
        examples = [_query_example(query) for query in truth.queries]
        asked = _ways(servable_dir, truth.queries, examples, default)
        questions = list(asked.values())
        progress(f"asking it {len(examples):,} queries")
        if can_encode:
            progress(f"embedding {len(catalog):,} items for the exact search")
            questions += vector_questions(servable_dir, examples, catalog)
        answers = job.ask(questions)
    ranked = {key: retrieved(answer, catalog).rows for key, answer in zip(asked, answers, strict=False)}
    served = ranked[default or SERVED]
    served_k = served.shape[1]
    # All rankings are as deep, so that what is unjudged is taken out of as many places of each.
    depth = max(ks[-1], served_k)
    if can_encode:
        vectors = Vectors.of(*answers[len(asked) :])
        ranked[EXACT] = exact_search(vectors.requests, vectors.items, depth)[0]
    progress("ranking by BM25")
    ranked[BM25] = Bm25(catalog.texts()).search(truth.queries, depth)
    ranked[FUSED] = reciprocal_rank_fusion([served, ranked[BM25][:, :served_k]], served_k)
    bootstrap = QueryBootstrap(truth.queries, bootstrap_samples, confidence, seed)
    return JudgedEvaluation(
        servable=os.fspath(servable_dir),
        right_name=judgments.right_name,
        grades=judgments.grades,
        queries=len(truth.queries),
        queries_without=len(judgments.by_query) - len(truth.queries),
        right=len(truth.right.rows),
        right_missing=missing,
        catalog_items=len(catalog),
        served_k=served_k,
        ks=ks,
        confidence=confidence,
        systems=_systems(ranked, truth, ks, served_k, default or SERVED, bootstrap),
    )


def _ways(
    servable_dir: str | os.PathLike[str], queries: Sequence[str], examples: Sequence[bytes], default: str | None
) -> dict[str, Question]:
    """The questions to ask, by the key of the ranking that each gives."""
    if default is None:
        encoded = [query.encode() for query in queries]
        return {SERVED: Question(servable_dir, features.SIGNATURE_QUERY_TEXT, encoded, _BATCH)}
    return {
        way: Question(servable_dir, features.SIGNATURE_DEFAULT, asked_for(way, examples), _BATCH)
        for way in Retrieval.ALL
    }


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


def _systems(
    ranked: Mapping[str, IntArray],
    truth: _Truth,
    ks: Sequence[int],
    served_k: int,
    default: str,
    bootstrap: QueryBootstrap,
) -> tuple[JudgedSystem, ...]:
    shallow = [k for k in ks if k <= served_k]
    deep = (EXACT, BM25)
    measured = {key: _measure(rows, truth, ks if key in deep else shallow) for key, rows in ranked.items()}
    systems = []
    for key, rows in ranked.items():
        looked_at = metrics.condensed(rows[:, :served_k], truth.judged)
        judged = {f"judged@{k}": metrics.judged_at(rows, truth.judged, k) for k in (ks if key in deep else shallow)}
        over = {name: column - measured[BM25][name] for name, column in measured[key].items()} if key != BM25 else {}
        systems.append(
            JudgedSystem(
                key=key,
                label=_LABELS.get(key, key.capitalize()) + (" (default)" if key == default != SERVED else ""),
                metrics=_estimates(measured[key], bootstrap),
                over_bm25=_estimates(over, bootstrap),
                condensed=_estimates(_measure(looked_at, truth, shallow), bootstrap),
                judged=_estimates(judged, bootstrap),
                is_default=key == default,
            )
        )
    return tuple(systems)


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
    ]
    request, rows, gains, right = (np.array(column) for column in zip(*flat, strict=True))
    judged = Relevant(request, rows, gains.astype(np.float64), len(kept))
    return _Truth(tuple(kept), judged.only(right.astype(bool)), judged.only(gains > 0), judged)


def _query_example(query: str) -> bytes:
    example = tf.train.Example()
    example.features.feature[features.QUERY].bytes_list.value.append(query.encode())
    return bytes(example.SerializeToString())
