"""Measures a servable on the eval split beside what it must beat."""

import logging
import os
from collections.abc import Callable, Set
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from evaluation import baselines
from evaluation.comparison import compare_slices, compare_systems, query_bootstrap
from evaluation.config import EvaluationConfig
from evaluation.eval_set import (
    EvalCatalog,
    EvalRequests,
    StrPath,
    TrainingCounts,
    normalize_query,
    read_catalog,
    read_requests,
    read_training,
)
from evaluation.index_recall import Vectors, dense_question, measure_index, vector_questions
from evaluation.metrics import IntArray
from evaluation.replay_job import MakePipeline, Question, ReplayJob
from evaluation.request_examples import choose_examples
from evaluation.results import (
    AS_SHOWN,
    BASELINE,
    BM25,
    CANDIDATE,
    POPULARITY,
    Evaluation,
    Health,
    Latency,
    Measurements,
    RequestExample,
    Sample,
    Verdict,
)
from evaluation.servable import Answer, LoadedServable, Retrieved, holds_servable, retrieved
from evaluation.slices import make_slices
from schema.features import SIGNATURE_DEFAULT, Stage
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
    gains = {int(Stage.CLICKED): config.clicked_gain, int(Stage.ORDERED): config.ordered_gain}
    baseline_dir, baseline_note = _usable_baseline(baseline_dir)
    counted = _items_in_both(catalog, baseline_catalog_dir) if catalog_dir else None
    requests = read_requests(examples_dir, catalog, config.max_eval_requests, config.seed, gains, counted)

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
        if asked.vectors is not None and asked.dense is not None:
            indexed = card.get("indexed_items", len(catalog))
            index = measure_index(asked.dense, asked.vectors, indexed, requests, catalog, bootstrap, config)
        progress("ranking them by popularity and BM25")
        ranked = asked.ranked | _unlearned(requests, catalog, training, config.ks[-1])
        progress("computing metrics and intervals")
        slices = make_slices(requests, catalog, training)
        measured = Measurements(
            sample=measured.sample,
            systems=compare_systems(ranked, requests, len(catalog), bootstrap, config),
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


@dataclass(frozen=True)
class _Asked:
    """What the servables answered, and how fast.

    `vectors`, and what the index alone found, are None where the candidate does not give them out.
    """

    candidate: Retrieved
    vectors: Vectors | None
    dense: Retrieved | None
    latency: Latency
    baseline: Retrieved | None
    baseline_latency: Latency | None

    @property
    def ranked(self) -> dict[str, IntArray]:
        found = {CANDIDATE: self.candidate, BASELINE: self.baseline}
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
    questions = [Question(path, SIGNATURE_DEFAULT, requests.examples, config.batch_size) for path in both]
    can_encode = job.servable(servable_dir).can_encode()
    if can_encode:
        first = requests.examples[: config.index_recall_requests]
        questions += [dense_question(servable_dir, first), *vector_questions(servable_dir, first, catalog)]
    progress(
        f"replaying {len(requests):,} requests through the candidate{' and the blessed servable' * (len(both) - 1)}"
    )
    answers = job.ask(questions)
    found = [_checked(path, answer, catalog, config) for path, answer in zip(both, answers, strict=False)]
    dense, vectors = None, None
    if can_encode:
        dense, vectors = retrieved(answers[len(both)], catalog), Vectors.of(*answers[len(both) + 1 :])
    progress("measuring latency")
    latencies = [_latency(job.servable(path), requests, config) for path in both]
    if baseline_dir is None:
        return _Asked(found[0], vectors, dense, latencies[0], None, None)
    return _Asked(found[0], vectors, dense, latencies[0], found[1], latencies[1])


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
    return {
        POPULARITY: baselines.most_popular(training.interactions, len(requests), depth),
        BM25: baselines.Bm25(catalog.texts()).search(requests.queries, depth),
        AS_SHOWN: baselines.as_shown(requests.shown, depth),
    }


def _latency(servable: LoadedServable, requests: EvalRequests, config: EvaluationConfig) -> Latency:
    times = servable.latencies_ms(requests.examples[: config.latency_requests])
    p50, p95, p99 = (float(value) for value in np.quantile(times, [0.5, 0.95, 0.99]))
    return Latency(len(times), float(times.mean()), p50, p95, p99)
