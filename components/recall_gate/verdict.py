"""Turns measurements into a decision.

A threshold is passed only if the whole confidence interval is on its good side; failed if the whole interval
is on the bad side; else undecided. Failed and undecided both refuse. For comparisons this is the
non-inferiority test of the paired difference: with a two-sided 95 % interval a model that truly is worse by
just the tolerance is blessed in at most 2.5 % of runs, however small the sample. The other way round (refuse
only what is shown to be worse) a small split would let nearly anything through.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from components.recall_gate.config import GateConfig, SliceThresholds
from evaluation.bootstrap import Estimate
from evaluation.evaluate import evaluate_servable
from evaluation.example_columns import StrPath
from evaluation.results import (
    BASELINE,
    CANDIDATE,
    Check,
    Evaluation,
    Measurements,
    Sample,
    SliceResult,
    Status,
    Verdict,
)

_AGAINST: Final = ("failed", "undecided")


def evaluate_and_judge(
    servable_dir: StrPath, examples_dir: StrPath, config: GateConfig, baseline_dir: StrPath | None = None, **how: Any
) -> Evaluation:
    """The evaluation of a servable with the gate's verdict; arguments as for `evaluate_servable`."""
    return evaluate_servable(servable_dir, examples_dir, config, partial(judge, config=config), baseline_dir, **how)


def judge(measured: Measurements, config: GateConfig) -> Verdict:
    """The verdict, with every check that was made and, in `reasons`, those that decided."""
    size = [*_catalog_checks(measured.sample, config), *_size_checks(measured.sample, config)]
    if any(check.status != "passed" for check in size):
        # Further numbers of too small a sample would only look like evidence.
        return _verdict(size)
    recall = list(_recall_checks(measured, config))
    verdict = _verdict([*size, *recall, *_health_checks(measured, config)])
    if measured.sample.left_out_clicks and any(check.status in _AGAINST for check in recall):
        # The likeliest cause comes first, since one line shows the first reason alone.
        return replace(verdict, reasons=(measured.sample.left_out, *verdict.reasons))
    return verdict


def unless_overtaken(verdict: Verdict, model: str, newest_model: str) -> Verdict:
    """Refuses an older model with a new catalog if a newer model has been blessed since its index was begun.

    Args:
      verdict: on the servable.
      model: the trained model of the servable.
      newest_model: that of the servable that was blessed last.
    """
    if model == newest_model:
        return verdict
    reason = "A newer model was blessed while this catalog was indexed; the next refresh gives the catalog to it."
    return replace(verdict, blessed=False, reasons=(reason, *(() if verdict.blessed else verdict.reasons)))


def _verdict(checks: Sequence[Check]) -> Verdict:
    against = [check for check in checks if check.status in _AGAINST]
    if against:
        return Verdict(False, tuple(check.reason for check in against), tuple(checks))
    passed = tuple(check.reason for check in checks if check.status == "passed" and check.reason)
    return Verdict(True, passed, tuple(checks))


def _catalog_checks(sample: Sample, config: GateConfig) -> Iterator[Check]:
    if sample.gone is None:
        return
    share, limit = sample.gone, config.max_gone_share
    reason = (
        f"The catalog lacks {share:.1%} of what searchers clicked and ordered in the eval requests (at most "
        f"{limit:.1%} may be missing): is it complete? If it is, raise `gate.max_gone_share`, or train on it."
    )
    missing = share > limit
    yield Check(
        "items gone from the catalog",
        "failed" if missing else "passed",
        f"{share:.1%}",
        f"<= {limit:.1%}",
        reason if missing else "",
    )


def _size_checks(sample: Sample, config: GateConfig) -> Iterator[Check]:
    for name, found, wanted in (
        ("evaluation requests", sample.requests, config.min_requests),
        ("distinct queries", sample.queries, config.min_queries),
    ):
        enough = found >= wanted
        reason = (
            f"The eval split is too small to decide: {found:,} {name} with a click, cart or order, at least "
            f"{wanted:,} are needed. Take a longer eval window."
        )
        status: Status = "passed" if enough else "undecided"
        yield Check(name, status, f"{found:,}", f">= {wanted:,}", "" if enough else reason)


def _health_checks(measured: Measurements, config: GateConfig) -> Iterator[Check]:
    health = measured.health
    if health is not None:
        bad = health.not_a_number
        yield Check(
            "scores are numbers",
            "failed" if bad else "passed",
            f"{bad:,} requests with NaN",
            "0",
            f"{bad:,} requests were answered with scores that are not numbers: the model has diverged." if bad else "",
        )
        share, limit = health.empty_share, config.max_empty_share
        yield Check(
            "requests without any result",
            "failed" if share > limit else "passed",
            f"{share:.1%}",
            f"<= {limit:.1%}",
            f"{share:.1%} of the requests got no item at all (at most {limit:.1%} may)." if share > limit else "",
        )
    index = measured.index_recall
    if index is not None:
        yield _above(
            f"index recall@{index.k} against exact search",
            index.estimate,
            config.min_index_recall,
            "The index loses too much of the exact answer: ask IndexBuilder for a higher recall.",
        )
    latency, wanted = measured.latency, config.max_latency_p99_ms
    if latency is not None and wanted is not None:
        slow = latency.p99_ms > wanted
        yield Check(
            "latency p99",
            "failed" if slow else "passed",
            f"{latency.p99_ms:.1f} ms",
            f"<= {wanted:g} ms",
            f"One request in a hundred takes {latency.p99_ms:.1f} ms or more (wanted: {wanted:g} ms)." if slow else "",
        )


def _recall_checks(measured: Measurements, config: GateConfig) -> Iterator[Check]:
    metric = f"recall@{config.primary_k}"
    systems = {system.key: system for system in measured.systems}
    yield _above(
        metric,
        systems[CANDIDATE].metrics[metric],
        config.min_recall,
        "The model finds too few of the items that searchers went on to click or order.",
    )
    for rival in config.must_beat:
        system = systems.get(rival)
        if system is not None:
            yield _better(f"{metric} against {system.label}", system.behind_candidate[metric], system.label)
    baseline = systems.get(BASELINE)
    if baseline is not None:
        yield _not_worse(
            f"{metric} against the blessed servable",
            baseline.metrics[metric],
            baseline.behind_candidate[metric],
            config.max_relative_drop,
        )
    found = {piece.key: piece for piece in measured.slices}
    for key, thresholds in config.slices.items():
        yield from _slice_checks(key, found.get(key), thresholds, config)


def _slice_checks(
    key: str, piece: SliceResult | None, thresholds: SliceThresholds, config: GateConfig
) -> Iterator[Check]:
    requests = piece.requests if piece is not None else 0
    if piece is None or requests < config.min_slice_requests:
        reason = f"{key} has {requests:,} requests, {config.min_slice_requests:,} are needed to judge it."
        yield Check(f"slice {key}", "skipped", f"{requests:,} requests", f">= {config.min_slice_requests:,}", reason)
        return
    if thresholds.min_recall is not None:
        yield _above(
            f"slice {key}: recall@{config.primary_k}",
            piece.recall[CANDIDATE],
            thresholds.min_recall,
            f"The model is too weak on {key}.",
        )
    if thresholds.max_relative_drop is not None and BASELINE in piece.recall:
        yield _not_worse(
            f"slice {key}: recall@{config.primary_k} against the blessed servable",
            piece.recall[BASELINE],
            piece.behind_candidate[BASELINE],
            thresholds.max_relative_drop,
        )


def _above(name: str, found: Estimate, bound: float, advice: str) -> Check:
    """Passed where the whole interval is at or above `bound`."""
    status: Status = "passed" if found.low >= bound else "failed" if found.high < bound else "undecided"
    reason = {
        "passed": f"{name} is {_interval(found)}, at least {bound:g}.",
        "failed": f"{name} is {_interval(found)}, below {bound:g}. {advice}",
        "undecided": f"{name} is {_interval(found)}, which does not show it to be at least {bound:g}.",
    }[status]
    return Check(name, status, _interval(found), f">= {bound:g}", reason)


def _better(name: str, lead: Estimate, label: str) -> Check:
    status: Status = "passed" if lead.low > 0 else "failed" if lead.high <= 0 else "undecided"
    reason = {
        "passed": f"{name}: better by {_interval(lead)}.",
        "failed": f"{name}: no better than {label}, the difference is {_interval(lead)}. The model has not "
        "learned the queries.",
        "undecided": f"{name}: the difference is {_interval(lead)}, which does not show it to be better.",
    }[status]
    return Check(name, status, _interval(lead, signed=True), "> 0", reason)


def _not_worse(name: str, baseline: Estimate, lead: Estimate, max_relative_drop: float) -> Check:
    tolerance = max_relative_drop * baseline.value
    allowed = f"{max_relative_drop:.0%} of {baseline.value:.3f}"
    status: Status = "passed" if lead.low >= -tolerance else "failed" if lead.high < -tolerance else "undecided"
    difference = _interval(lead, signed=True)
    reason = {
        "passed": f"{name}: the difference is {difference}, shown to be no drop of more than {allowed}.",
        "failed": f"{name}: worse by more than {allowed}, the difference is {difference}.",
        "undecided": f"{name}: the difference is {difference}; a drop of more than {allowed} cannot be ruled "
        "out on this eval split.",
    }[status]
    return Check(name, status, difference, f">= {-tolerance:.3f}", reason)


def _interval(estimate: Estimate, signed: bool = False) -> str:
    form = "+.3f" if signed else ".3f"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"
