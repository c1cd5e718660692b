"""Measures a servable on the eval split beside what it must beat, and decides."""

import logging
import os
from collections.abc import Callable

import numpy as np

from components.recall_gate import baselines
from components.recall_gate.comparison import compare_slices, compare_systems, query_bootstrap
from components.recall_gate.config import GateConfig
from components.recall_gate.eval_set import (
    Catalogue,
    EvalRequests,
    StrPath,
    TrainingCounts,
    normalise_query,
    read_catalogue,
    read_requests,
    read_training,
)
from components.recall_gate.index_recall import measure_index
from components.recall_gate.metrics import IntArray
from components.recall_gate.replay import Retrieved, Servable, holds_servable
from components.recall_gate.request_examples import choose_examples
from components.recall_gate.results import (
    AS_SHOWN,
    BASELINE,
    BM25,
    CANDIDATE,
    POPULARITY,
    Evaluation,
    Health,
    Latency,
    RequestExample,
    Sample,
)
from components.recall_gate.slices import make_slices
from components.recall_gate.verdict import Measurements, judge
from schema.features import Stage
from schema.settings import InputError

_LOG = logging.getLogger(__name__)


def evaluate_servable(
    servable_dir: StrPath,
    examples_dir: StrPath,
    config: GateConfig,
    baseline_dir: StrPath | None = None,
    progress: Callable[[str], None] = _LOG.info,
) -> Evaluation:
    """The evaluation of the servable at `servable_dir`, with its verdict.

    Args:
      servable_dir: folder of the candidate's SavedModel.
      examples_dir: root of the Examples artifact with the splits train, eval and catalog.
      config: what to measure and what to ask.
      baseline_dir: folder of the blessed servable; None for the first run.
      progress: told what is being done, in a few words.

    Raises:
      InputError: a folder is not what it should be, or a servable answers fewer items than `config.ks`.
    """
    progress("reading the catalogue, the training counts and the eval requests")
    catalogue = read_catalogue(examples_dir)
    training = read_training(examples_dir, catalogue)
    gains = {int(Stage.CLICKED): config.clicked_gain, int(Stage.ORDERED): config.ordered_gain}
    requests = read_requests(examples_dir, catalogue, config.max_eval_requests, config.seed, gains)
    baseline_dir, baseline_note = _usable_baseline(baseline_dir)

    progress("loading the candidate")
    candidate = Servable(servable_dir)
    measured = Measurements(sample=_sample(requests, catalogue, training))
    baseline_latency: Latency | None = None
    examples: tuple[RequestExample, ...] = ()
    if len(requests):
        bootstrap = query_bootstrap(requests, config)
        progress(f"replaying {len(requests):,} requests through the candidate")
        answer = _replay(candidate, requests, catalogue, config)
        ranked = {CANDIDATE: answer.rows}
        latency = _latency(candidate, requests, config)
        progress("measuring the index against exact search")
        index = measure_index(candidate, requests, catalogue, answer, bootstrap, config)
        if baseline_dir is not None:
            progress("replaying them through the blessed servable")
            blessed = Servable(baseline_dir)
            ranked[BASELINE] = _replay(blessed, requests, catalogue, config).rows
            baseline_latency = _latency(blessed, requests, config)
        progress("ranking them by popularity and BM25")
        ranked |= _unlearned(requests, catalogue, training, config.ks[-1])
        progress("computing metrics and intervals")
        slices = make_slices(requests, catalogue, training)
        measured = Measurements(
            sample=measured.sample,
            systems=compare_systems(ranked, requests, len(catalogue), bootstrap, config),
            slices=compare_slices(ranked, requests, slices, bootstrap, config),
            index_recall=index,
            latency=latency,
            health=Health(answer.empty_share, answer.not_a_number, answer.unknown),
        )
        examples = choose_examples(
            requests, catalogue, slices, ranked[CANDIDATE], ranked[BM25], config.example_requests
        )
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
        baseline_latency=baseline_latency,
        health=measured.health,
        verdict=judge(measured, config),
        examples=examples,
        card=candidate.card,
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


def _sample(requests: EvalRequests, catalogue: Catalogue, training: TrainingCounts) -> Sample:
    return Sample(
        read=requests.read,
        usable=requests.usable,
        requests=len(requests),
        queries=len({normalise_query(query) for query in requests.queries}),
        relevant_items=len(requests.relevant.rows),
        catalogue_items=len(catalogue),
        train_requests=training.requests,
        train_window_ms=training.window_ms,
        eval_window_ms=requests.window_ms,
    )


def _replay(servable: Servable, requests: EvalRequests, catalogue: Catalogue, config: GateConfig) -> Retrieved:
    answer = servable.retrieve(requests.examples, catalogue, config.batch_size)
    if answer.rows.shape[1] < config.ks[-1]:
        raise InputError(
            f"{servable.path} answers {answer.rows.shape[1]} items, but the gate measures at {config.ks[-1]} "
            "(`ks`). Raise the index builder's `k`, or lower the gate's `ks` and `primary_k`."
        )
    return answer


def _unlearned(
    requests: EvalRequests, catalogue: Catalogue, training: TrainingCounts, depth: int
) -> dict[str, IntArray]:
    return {
        POPULARITY: baselines.most_popular(training.interactions, len(requests), depth),
        BM25: baselines.Bm25(catalogue.texts()).search(requests.queries, depth),
        AS_SHOWN: baselines.as_shown(requests.shown, depth),
    }


def _latency(servable: Servable, requests: EvalRequests, config: GateConfig) -> Latency:
    times = servable.latencies_ms(requests.examples[: config.latency_requests])
    p50, p95, p99 = (float(value) for value in np.quantile(times, [0.5, 0.95, 0.99]))
    return Latency(len(times), float(times.mean()), p50, p95, p99)
