"""From answers to metrics with intervals, comparisons and targets.

With several seeds a request's value is the mean over them, and the bootstrap over queries gives the interval: it says
how sure the mean over these trainings is for other queries. How much trainings differ among themselves is shown beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from evaluation import metrics
from evaluation.bootstrap import Estimate, QueryBootstrap
from evaluation.eval_set import normalize_query
from evaluation.metrics import FloatArray, IntArray
from pipeline.bench.data import EvalDay
from pipeline.bench.page_order import pairwise_auc
from pipeline.bench.results import Comparison, Measured, SliceSize, TargetResult, TargetState
from pipeline.bench.variants import Target
from schema.features import Stage

ALL: Final = "all"
AUC: Final = "auc"
AUC_ORDERED: Final = "auc of ordered"
P_GOOD: Final = "p_good"

# Metric and slice.
Key = tuple[str, str]


@dataclass(frozen=True)
class SystemAnswer:
    """What one training (or a system without any) answered.

    Attributes:
      rows: [requests, k]; page_scores: [requests, page], None where it scores no given items.
      seed: of the training; None where nothing is trained.
    """

    rows: IntArray
    page_scores: FloatArray | None
    seed: int | None = None


@dataclass(frozen=True)
class SystemValues:
    """Every metric of a system, request by request.

    Attributes:
      seeds: of its trainings; one None where nothing is trained.
      by_key: [seeds, requests] by metric and slice, NaN where a request has no say.
    """

    seeds: tuple[int | None, ...]
    by_key: Mapping[Key, FloatArray]


def values_of(answers: Sequence[SystemAnswer], day: EvalDay, ks: Sequence[int]) -> SystemValues:
    """Every metric of a system per request.

    Args:
      answers: one per seed.
      day: what was asked.
      ks: lengths of recall; the largest is that of the slices and of P_good.
    """
    per_seed = [_of_one(answer, day, ks) for answer in answers]
    by_key = {key: np.stack([values[key] for values in per_seed]) for key in per_seed[0]}
    return SystemValues(tuple(answer.seed for answer in answers), by_key)


def _of_one(answer: SystemAnswer, day: EvalDay, ks: Sequence[int]) -> dict[Key, FloatArray]:
    relevant = day.requests.relevant
    ranks = metrics.first_ranks(answer.rows, relevant)
    values = {(f"recall@{k}", ALL): metrics.recall_at(ranks, relevant, k) for k in ks}
    values[f"ndcg@{ks[0]}", ALL] = metrics.ndcg_at(ranks, relevant, ks[0])
    if answer.page_scores is not None:
        values[AUC, ALL] = pairwise_auc(answer.page_scores, day.stages)
        values[AUC_ORDERED, ALL] = pairwise_auc(answer.page_scores, day.stages, above=int(Stage.ORDERED))
    good = None if day.oracles is None else day.oracles.good_share(answer.rows[:, : ks[-1]])
    if good is not None:
        values[f"{P_GOOD}@{ks[-1]}", ALL] = good
    for piece in day.slices:
        keep = np.ones(len(relevant.rows), dtype=bool) if piece.items is None else piece.items
        recall = metrics.recall_at(ranks[keep], relevant.only(keep), ks[-1])
        values[f"recall@{ks[-1]}", piece.key] = np.where(piece.requests, recall, np.nan)
        if good is not None:
            values[f"{P_GOOD}@{ks[-1]}", piece.key] = np.where(piece.requests, good, np.nan)
    return values


def measured(values: SystemValues, bootstrap: QueryBootstrap) -> dict[Key, Measured]:
    """Means with intervals; what no request has a say in is left out."""
    found = {}
    for key, by_seed in values.by_key.items():
        estimate = bootstrap.mean(by_seed.mean(axis=0))
        if estimate is not None:
            found[key] = Measured(estimate, tuple(float(mean) for mean in np.nanmean(by_seed, axis=1)))
    return found


def compare(
    system: str,
    over: str,
    key: Key,
    values: Mapping[str, SystemValues],
    bootstrap: QueryBootstrap,
) -> Comparison | None:
    """One system against another by one metric on one slice, over the seeds that both are trained with.

    Returns:
      None where either was not measured by that metric, or where they have no seed in common.
    """
    if not all(name in values and key in values[name].by_key for name in (system, over)):
        return None
    mine, theirs = _paired(values[system], values[over], key)
    difference = bootstrap.difference(mine.mean(axis=0), theirs.mean(axis=0)) if len(mine) else None
    if difference is None:
        return None
    return Comparison(
        system=system,
        over=over,
        metric=key[0],
        slice=key[1],
        difference=difference,
        relative=bootstrap.relative(mine.mean(axis=0), theirs.mean(axis=0)),
        by_seed=tuple(float(gap) for gap in np.nanmean(mine, axis=1) - np.nanmean(theirs, axis=1)),
    )


def _paired(mine: SystemValues, theirs: SystemValues, key: Key) -> tuple[FloatArray, FloatArray]:
    """Both [seeds, requests] by the seeds in common; what is not trained is beside every training of the other."""
    first, second = mine.by_key[key], theirs.by_key[key]
    if mine.seeds == (None,) or theirs.seeds == (None,):
        together = np.broadcast_arrays(first, second)
        return together[0], together[1]
    both = [seed for seed in mine.seeds if seed in theirs.seeds]
    return first[[mine.seeds.index(seed) for seed in both]], second[[theirs.seeds.index(seed) for seed in both]]


def judge(target: Target, values: Mapping[str, SystemValues], bootstrap: QueryBootstrap) -> TargetResult:
    """A target against the measurements."""
    key = (target.metric, target.slice)
    names = [_best(group, key, values) for group in (target.system, target.over)]
    comparison = compare(names[0], names[1], key, values, bootstrap) if names[0] and names[1] else None
    if comparison is None or comparison.relative is None:
        return TargetResult(target.about, target.by, "not measured", comparison)
    return TargetResult(target.about, target.by, _state(comparison.relative, target.by), comparison)


def _state(found: Estimate, bound: float) -> TargetState:
    if found.value > bound:
        return "reached" if found.low > bound else "reached, not certain"
    return "missed, not certain" if found.high > bound else "missed"


def _best(names: Sequence[str], key: Key, values: Mapping[str, SystemValues]) -> str:
    """The best of `names`; "" where one of them was not measured, for the best of some is not what was asked."""
    known = [name for name in names if name in values and key in values[name].by_key]
    means = {name: float(np.nanmean(values[name].by_key[key])) for name in known}
    return max(means, key=lambda name: means[name]) if len(means) == len(names) else ""


def slice_sizes(day: EvalDay) -> tuple[SliceSize, ...]:
    """The slices, and how many requests and distinct queries each holds."""
    queries = np.array([normalize_query(query) for query in day.requests.queries])
    return tuple(
        SliceSize(piece.key, int(piece.requests.sum()), len(set(queries[piece.requests]))) for piece in day.slices
    )
