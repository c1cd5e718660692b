"""Runs a bench: every variant with every seed, as far as it is not on disk already, then the measurements."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from evaluation.bootstrap import QueryBootstrap
from evaluation.comparison import query_bootstrap
from evaluation.eval_set import normalize_query
from pipeline.bench import analysis, references, training, trial
from pipeline.bench.analysis import SystemAnswer
from pipeline.bench.data import BenchData, EvalDay
from pipeline.bench.results import BenchResult, Measured, System
from pipeline.bench.trial import Trial
from pipeline.bench.variants import BM25, ORACLE_QUERY, ORACLES, REFERENCES, TUTORIAL, BenchFile, Variant
from pipeline.config import PipelineConfig
from pipeline.run_lock import run_lock
from trainer.config import TrainerConfig

_TRIALS = "trials"
_WORK = "work"


@dataclass(frozen=True)
class BenchJob:
    """One training to do; `fingerprint` is of its settings and data, `code` of what trains it."""

    system: str
    train: TrainerConfig
    fingerprint: str
    code: str

    def folder(self, root: Path) -> Path:
        """Where its result lies."""
        return trial.folder_of(root / _TRIALS, self.system, self.train.seed, self.fingerprint)


def list_jobs(
    trainings: Mapping[str, Sequence[TrainerConfig]], config: PipelineConfig, data: BenchData
) -> list[BenchJob]:
    """Every training of the bench: all systems with the first seed, then all with the second, and so on.

    Args:
      trainings: by variant, and `tutorial` where it is trained, settings by seed.
      config: of the pipeline.
      data: what is trained on.
    """
    tutorial_code, variant_code = training.tutorial_code(), training.variant_code()
    jobs = []
    for trains in zip(*trainings.values(), strict=True):
        for name, train in zip(trainings, trains, strict=True):
            if name == TUTORIAL:
                fingerprint, code = training.tutorial_fingerprint(train, data), tutorial_code
            else:
                fingerprint, code = training.variant_fingerprint(train, config, data), variant_code
            jobs.append(BenchJob(name, train, fingerprint, code))
    return jobs


def read_finished(jobs: Sequence[BenchJob], root: Path) -> dict[BenchJob, Trial]:
    """The trials among `jobs` that are on disk, whatever state of the code they are of."""
    found = {job: trial.load(job.folder(root)) for job in jobs}
    return {job: result for job, result in found.items() if result is not None}


def run_jobs(
    jobs: Sequence[BenchJob],
    config: PipelineConfig,
    data: BenchData,
    day: EvalDay,
    root: Path,
    tell: Callable[[str], None],
    keep_models: bool = False,
) -> dict[BenchJob, Trial]:
    """Does what is not on disk yet and returns all trials.

    Args:
      jobs: in the order in which they are done.
      config: of the pipeline.
      data: what is trained on.
      day: what is measured on.
      root: of the bench.
      tell: is told of each trial that ended and of what is left.
      keep_models: whether models and servables stay on disk, beside their trial.

    Raises:
      BusyError: another bench is at work in the same folder.
    """
    with run_lock(str(root)):
        finished = read_finished(jobs, root)
        if finished:
            tell(f"{len(finished)} of {len(jobs)} trainings are on disk already")
        for job in jobs:
            if job in finished:
                continue
            tell(f"training {job.system}, seed {job.train.seed}; {_remaining(jobs, finished)}")
            work = root / _WORK
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            train = training.run_tutorial if job.system == TUTORIAL else partial(training.run_variant, job.system)
            finished[job] = train(job.train, config, data, day, work, job.code)
            trial.save(finished[job], job.folder(root))
            if keep_models:
                shutil.move(work, job.folder(root) / "files")
            shutil.rmtree(work, ignore_errors=True)
            tell(f"{len(finished)} of {len(jobs)}: {_summary(finished[job])}")
    return finished


def _remaining(jobs: Sequence[BenchJob], finished: Mapping[BenchJob, Trial]) -> str:
    """How long the rest will take, by what trainings of the same system, else the same model, else all took."""
    if not finished:
        return f"{len(jobs)} trainings to do"
    took = [
        (done.system, "" if done.system == TUTORIAL else done.train.model, result.seconds)
        for done, result in finished.items()
    ]
    seconds = 0.0
    left = [job for job in jobs if job not in finished]
    for job in left:
        model = "" if job.system == TUTORIAL else job.train.model
        same_system = [value for name, _, value in took if name == job.system]
        same_model = [value for _, kind, value in took if kind == model]
        seconds += float(np.mean(same_system or same_model or [value for *_, value in took]))
    return f"{len(left)} trainings to do, about {max(1, round(seconds / 60))} min"


def _summary(result: Trial) -> str:
    """A line on a training by what it chose itself by: who tunes on the bench sees no evaluation day before the end."""
    metric = "ndcg" if "ndcg" in result.history else next(name for name in result.history if name.startswith("recall@"))
    return (
        f"{result.system}, seed {result.seed}: validation {metric} {max(result.history[metric]):.3f}, "
        f"{result.examples_per_second:,.0f} training examples/s, {result.seconds:.0f} s"
    )


def summarize(
    bench: BenchFile,
    variants: Mapping[str, Variant],
    jobs: Sequence[BenchJob],
    finished: Mapping[BenchJob, Trial],
    config: PipelineConfig,
    day: EvalDay,
) -> BenchResult:
    """All tables out of the trials.

    Args:
      bench: gives the targets.
      variants: those that are shown.
      jobs: everything that belongs to the bench.
      finished: what of it is done.
      config: of the pipeline.
      day: what was measured on.
    """
    gate = config.gate
    trials: dict[str, list[tuple[BenchJob, Trial]]] = {}
    for job, result in sorted(finished.items(), key=lambda pair: pair[1].seed):
        trials.setdefault(job.system, []).append((job, result))
    answers = {name: [SystemAnswer(t.rows, t.page_scores, t.seed) for _, t in mine] for name, mine in trials.items()}
    for name, answer in references.untrained(day, gate.ks[-1], Path(config.ingest.data.catalog[0])).items():
        answers[name] = [answer]
    values = {name: analysis.values_of(mine, day, gate.ks) for name, mine in answers.items()}
    bootstrap = query_bootstrap(day.requests, gate)
    order = [name for name in (*variants, *REFERENCES) if name in values]
    main = (f"recall@{gate.ks[-1]}", analysis.ALL)
    parts = (main[0], f"ndcg@{gate.ks[0]}", f"{analysis.P_GOOD}@{gate.ks[-1]}", analysis.AUC)
    return BenchResult(
        data_note=gate.data_note,
        requests=len(day.requests),
        queries=len({normalize_query(query) for query in day.requests.queries}),
        items=len(day.catalog),
        train_requests=day.training.requests,
        order_requests=int(np.isfinite(values[BM25].by_key[analysis.AUC, analysis.ALL]).sum()),
        ks=gate.ks,
        confidence=gate.confidence,
        slices=analysis.slice_sizes(day),
        systems=tuple(
            _system(name, variants.get(name), values[name], [t for _, t in trials.get(name, [])], bootstrap)
            for name in order
        ),
        over_base=tuple(
            found
            for name in order
            for metric in parts
            if name in variants
            and variants[name].base
            and (found := analysis.compare(name, variants[name].base, (metric, analysis.ALL), values, bootstrap))
            is not None
        ),
        over_references=tuple(
            found
            for name in order
            for other in (TUTORIAL, BM25, ORACLE_QUERY)
            if name in variants and (found := analysis.compare(name, other, main, values, bootstrap)) is not None
        ),
        targets=tuple(analysis.judge(target, values, bootstrap) for target in bench.targets),
        warnings=(*_warnings(jobs, finished), *([f"no oracles: {day.no_oracles}"] if day.no_oracles else [])),
    )


def _system(
    name: str,
    variant: Variant | None,
    values: analysis.SystemValues,
    trials: Sequence[Trial],
    bootstrap: QueryBootstrap,
) -> System:
    found = analysis.measured(values, bootstrap)
    label, about = references.LABELS.get(name, (name, ""))
    latencies = np.array([result.latency_ms for result in trials])
    slices: dict[str, dict[str, Measured]] = {}
    for (metric, where), value in found.items():
        if where != analysis.ALL:
            slices.setdefault(metric, {})[where] = value
    return System(
        name=name,
        label=label,
        about=variant.about if variant else about,
        kind="variant" if variant else "oracle" if name in ORACLES else "reference",
        base=variant.base if variant else "",
        seeds=tuple(result.seed for result in trials),
        metrics={metric: measured for (metric, where), measured in found.items() if where == analysis.ALL},
        slices=slices,
        examples_per_second=tuple(result.examples_per_second for result in trials),
        latency_ms=(float(latencies[:, 0].mean()), float(latencies[:, 1].mean())) if len(latencies) else None,
        settings=trials[0].settings if trials else {},
        history=trials[0].history if trials else {},
    )


def _warnings(jobs: Sequence[BenchJob], finished: Mapping[BenchJob, Trial]) -> Iterator[str]:
    old = dict.fromkeys(job.system for job, result in finished.items() if result.code != job.code)
    if old:
        yield f"trained with another state of the code than the present one: {', '.join(old)}; --fresh trains them anew"
    wanted = Counter(job.system for job in jobs)
    done = Counter(job.system for job in finished)
    if missing := [name for name in wanted if not done[name]]:
        yield f"not trained yet: {', '.join(missing)}"
    if fewer := [f"{name} has {done[name]} of {wanted[name]}" for name in wanted if 0 < done[name] < wanted[name]]:
        yield f"not every system is trained with every seed yet: {', '.join(fewer)}"


def forget(jobs: Sequence[BenchJob], root: Path) -> None:
    """Removes the results of `jobs` from disk, so that they are done anew."""
    for job in jobs:
        shutil.rmtree(job.folder(root), ignore_errors=True)
