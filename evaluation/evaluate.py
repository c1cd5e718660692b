"""Measures a servable on the eval split beside what it must beat."""

import logging
import os
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evaluation import baselines
from evaluation.comparison import compare_slices, compare_systems, query_bootstrap
from evaluation.config import EvaluationConfig
from evaluation.eval_set import EvalCatalog, EvalRequests, normalize_query, read_catalog, read_requests
from evaluation.example_columns import StrPath
from evaluation.index_recall import Vectors, indexed_rows, measure_index, vector_questions
from evaluation.metrics import IntArray
from evaluation.replay_job import MakePipeline, Question, ReplayJob
from evaluation.request_examples import choose_examples
from evaluation.results import (
    AS_SHOWN,
    BASELINE,
    BM25,
    BM25_CLICKED_QUERIES,
    CANDIDATE,
    MEMORIZED_CLICKS,
    OTHER_WAYS,
    POPULARITY,
    Evaluation,
    Health,
    Latency,
    Measurements,
    RequestExample,
    Sample,
    Verdict,
)
from evaluation.retrieval import asked_for, default_way
from evaluation.servable import Answer, LoadedServable, Retrieved, holds_servable, retrieved
from evaluation.slices import make_slices
from evaluation.training_counts import TrainingCounts, read_training
from schema.features import SIGNATURE_DEFAULT, Retrieval
from schema.settings import InputError

_LOG = logging.getLogger(__name__)


def evaluate_servable(
    servable_dir: StrPath,
    examples_dir: StrPath,
    config: EvaluationConfig,
    judge: Callable[[Measurements], Verdict],
    baseline_dir: StrPath | None = None,
    progress: Callable[[str], None] = _LOG.info,
    make_pipeline: MakePipeline | None = None,
    part_dir: StrPath | None = None,
    catalog_dir: StrPath | None = None,
    baseline_catalog_dir: StrPath | None = None,
) -> Evaluation:
    """The evaluation of the servable at `servable_dir`, with its verdict.

    Args:
      servable_dir: folder of the candidate's SavedModel.
      examples_dir: root of the Examples artifact with the splits train, eval and catalog.
      config: what to measure.
      judge: decides.
      baseline_dir: folder of the blessed servable; None for the first run.
      progress: told what is being done, in a few words.
      make_pipeline: gives the Beam pipeline whose workers ask the servables, see `ReplayJob`; their latency is
        measured in this process.
      part_dir: a folder that these workers share, see there.
      catalog_dir: root of the Examples artifact whose catalog split the candidate was built of, where it is not that
        of `examples_dir`. Then only items that are in it count as relevant.
      baseline_catalog_dir: the same of the blessed servable; of items that only one of both has nothing is concluded.

    Raises:
      InputError: a folder is not what it should be, or a servable answers fewer items than `config.ks`.
    """
    progress("reading the catalog, the training counts and the eval requests")
    catalog = read_catalog(catalog_dir or examples_dir)
    training = read_training(examples_dir, catalog)
    baseline_dir, baseline_note = _usable_baseline(baseline_dir)
    counted = _items_in_both(catalog, baseline_catalog_dir) if catalog_dir else None
    requests = read_requests(examples_dir, catalog, config.max_eval_requests, config.seed, config.gains, counted)

    with ReplayJob(make_pipeline, part_dir) as job:
        progress("loading the candidate")
        card = job.servable(servable_dir).card
        asked = None
        if len(requests):
            asked = _ask(job, servable_dir, baseline_dir, requests, catalog, config, progress)
    measured = Measurements(sample=_sample(requests, catalog, training, catalog_dir is not None))
    examples: tuple[RequestExample, ...] = ()
    if asked is not None:
        bootstrap = query_bootstrap(requests, config)
        progress("measuring the index against exact search")
        index = None
        indexed = indexed_rows(card.get("indexed_items", len(catalog)), catalog)
        if asked.vectors is not None:
            index = measure_index(asked.dense, asked.vectors, indexed, requests, catalog, bootstrap, config)
        progress("ranking them by popularity, past clicks and BM25")
        ranked = asked.ranked | _unlearned(requests, catalog, training, config.ks[-1])
        progress("computing metrics and intervals")
        slices = make_slices(requests, catalog, training)
        measured = Measurements(
            sample=with_left_out(measured.sample, requests, indexed),
            systems=compare_systems(ranked, requests, len(catalog), bootstrap, config, default_way(card)),
            slices=compare_slices(ranked, requests, slices, bootstrap, config),
            index_recall=index,
            latency=asked.latency,
            health=Health(asked.candidate.empty_share, asked.candidate.not_a_number, asked.candidate.unknown),
        )
        examples = choose_examples(requests, catalog, slices, ranked[CANDIDATE], ranked[BM25], config.example_requests)
    return Evaluation(
        servable=os.fspath(servable_dir),
        baseline=os.fspath(baseline_dir or ""),
        baseline_note=baseline_note,
        primary_k=config.primary_k,
        ks=config.ks,
        sample=measured.sample,
        systems=tuple(measured.systems),
        slices=tuple(measured.slices),
        index_recall=measured.index_recall,
        latency=measured.latency,
        baseline_latency=asked.baseline_latency if asked is not None else None,
        health=measured.health,
        verdict=judge(measured),
        examples=examples,
        card=card,
        config=config.model_dump(mode="json"),
    )


def _usable_baseline(baseline_dir: StrPath | None) -> tuple[StrPath | None, str]:
    if baseline_dir is None:
        return None, "No servable has been blessed before: only the absolute thresholds and baselines decide."
    if not holds_servable(baseline_dir):
        note = (
            f"The blessed servable at {baseline_dir} is no longer on disk, so the candidate was judged without "
            "it, by the absolute thresholds and baselines."
        )
        _LOG.warning(note)
        return None, note
    return baseline_dir, ""


def _items_in_both(catalog: EvalCatalog, other: StrPath | None) -> Set[str]:
    if other is None or not tf.io.gfile.isdir(os.fspath(other)):
        return catalog.rows.keys()
    return catalog.rows.keys() & read_catalog(other).rows.keys()


def _sample(requests: EvalRequests, catalog: EvalCatalog, training: TrainingCounts, refreshed: bool) -> Sample:
    return Sample(
        read=requests.read,
        usable=requests.usable,
        requests=len(requests),
        queries=len({normalize_query(query) for query in requests.queries}),
        relevant_items=len(requests.relevant.rows),
        catalog_items=len(catalog),
        train_requests=training.requests,
        train_window_ms=training.window_ms,
        eval_window_ms=requests.window_ms,
        gone=requests.gone if refreshed else None,
    )


def with_left_out(sample: Sample, requests: EvalRequests, indexed: NDArray[np.bool_] | None) -> Sample:
    """The sample with what was left out of the index; `indexed` [items] are the others, None for all."""
    if indexed is None:
        return sample
    rows = requests.relevant.rows
    # Rows past the end are those of items that the catalog does not have.
    clicks = int(np.count_nonzero(~indexed[rows[rows < len(indexed)]]))
    return replace(sample, left_out_items=int(np.count_nonzero(~indexed)), left_out_clicks=clicks)


@dataclass(frozen=True)
class _Asked:
    """What the servables answered, and how fast.

    Attributes:
      candidate: the candidate's answers, found in the way that it takes by default.
      others: its answers found in its other ways, by way; none where it has but one.
      vectors: its own; None where it does not give them out.
    """

    candidate: Retrieved
    others: Mapping[str, Retrieved]
    vectors: Vectors | None
    latency: Latency
    baseline: Retrieved | None
    baseline_latency: Latency | None

    @property
    def dense(self) -> Retrieved:
        """What the candidate's index alone found."""
        return self.others.get(Retrieval.DENSE, self.candidate)

    @property
    def ranked(self) -> dict[str, IntArray]:
        ways = {OTHER_WAYS[way]: answer for way, answer in self.others.items()}
        found = {CANDIDATE: self.candidate, **ways, BASELINE: self.baseline}
        return {key: answer.rows for key, answer in found.items() if answer is not None}


def _ask(
    job: ReplayJob,
    servable_dir: StrPath,
    baseline_dir: StrPath | None,
    requests: EvalRequests,
    catalog: EvalCatalog,
    config: EvaluationConfig,
    progress: Callable[[str], None],
) -> _Asked:
    both = [path for path in (servable_dir, baseline_dir) if path is not None]
    candidate = job.servable(servable_dir)
    default, can_encode = default_way(candidate.card), candidate.can_encode()
    others = [way for way in Retrieval.ALL if way != default] if default else []
    asked = [(path, requests.examples) for path in both]
    asked += [(servable_dir, tuple(asked_for(way, requests.examples))) for way in others]
    questions = [Question(path, SIGNATURE_DEFAULT, examples, config.batch_size) for path, examples in asked]
    if can_encode:
        questions += vector_questions(servable_dir, requests.examples[: config.index_recall_requests], catalog)
    progress(
        f"replaying {len(requests):,} requests through the candidate{' and the blessed servable' * (len(both) - 1)}"
    )
    answers = job.ask(questions)
    found = [_checked(path, answer, catalog, config) for (path, _), answer in zip(asked, answers, strict=False)]
    ways = dict(zip(others, found[len(both) :], strict=True))
    vectors = Vectors.of(*answers[len(asked) :]) if can_encode else None
    progress("measuring latency")
    latencies = [_latency(job.servable(path), requests, config) for path in both]
    if baseline_dir is None:
        return _Asked(found[0], ways, vectors, latencies[0], None, None)
    return _Asked(found[0], ways, vectors, latencies[0], found[1], latencies[1])


def _checked(path: StrPath, answer: Answer, catalog: EvalCatalog, config: EvaluationConfig) -> Retrieved:
    found = retrieved(answer, catalog)
    if found.rows.shape[1] < config.ks[-1]:
        raise InputError(
            f"{os.fspath(path)} answers {found.rows.shape[1]} items, but the gate measures at {config.ks[-1]} "
            "(`ks`). Raise the index builder's `k`, or lower the gate's `ks` and `primary_k`."
        )
    return found


def _unlearned(
    requests: EvalRequests, catalog: EvalCatalog, training: TrainingCounts, depth: int
) -> dict[str, IntArray]:
    texts, clicked = catalog.texts(), training.clicked
    queries = [normalize_query(query) for query in requests.queries]
    found = {
        POPULARITY: baselines.most_popular(training.interactions, len(requests), depth),
        MEMORIZED_CLICKS: baselines.memorized_clicks(clicked, queries, depth),
        BM25: baselines.Bm25(texts).search(requests.queries, depth),
        BM25_CLICKED_QUERIES: baselines.Bm25(baselines.with_clicked_queries(texts, clicked)).search(queries, depth),
    }
    if requests.has_impressions:
        found[AS_SHOWN] = baselines.as_shown(requests.shown, depth)
    return found


def _latency(servable: LoadedServable, requests: EvalRequests, config: EvaluationConfig) -> Latency:
    times = servable.latencies_ms(requests.examples[: config.latency_requests])
    p50, p95, p99 = (float(value) for value in np.quantile(times, [0.5, 0.95, 0.99]))
    return Latency(len(times), float(times.mean()), p50, p95, p99)
