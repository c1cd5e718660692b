"""Renders an evaluation as one self-contained HTML page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from evaluation.bootstrap import Estimate
from evaluation.report import charts
from evaluation.results import (
    AS_SHOWN,
    BASELINE,
    BM25,
    BM25_CLICKED_QUERIES,
    CANDIDATE,
    POPULARITY,
    Evaluation,
    SliceResult,
)

TEMPLATE = Path(__file__).parent / "report.html"
_GROUP_NAMES = {
    "query_frequency": "Query frequency in training",
    "history": "Searcher's behavior before the request",
    "items": "Items without any training interaction",
    "exposure": "Wanted items that the shop's page showed, and those that searchers found otherwise",
    "top_category": "Top category of the wanted items",
}
# Those whose distance from the candidate is on the report's first screen.
_COMPARED = (BASELINE, POPULARITY, BM25, BM25_CLICKED_QUERIES)
_ROLES = {CANDIDATE: "candidate", BASELINE: "baseline", AS_SHOWN: "bound"}


@dataclass(frozen=True)
class SliceGroup:
    """The slices of one group, and their chart."""

    title: str
    slices: tuple[SliceResult, ...]
    chart: Markup


def render_report(evaluation: Evaluation, template: Path = TEMPLATE, **known: Any) -> str:
    """The page as HTML text. It loads nothing: styles and charts are inside, scripts there are none.

    Args:
      evaluation: what is reported.
      template: one that extends `report.html`, to fill its blocks.
      known: what that template is given besides.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, TEMPLATE.parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "estimate": _estimate,
        "signed": _signed,
        "range": _range,
        "date": _date,
        "plain": _plain,
        "json": _json,
    }
    card = evaluation.card
    return environment.get_template(template.name).render(
        e=evaluation,
        metric=f"recall@{evaluation.primary_k}",
        panels=_headline_panels(evaluation),
        metrics=list(evaluation.systems[0].metrics) if evaluation.systems else [],
        coverages=list(evaluation.systems[0].coverage) if evaluation.systems else [],
        slice_groups=_slice_groups(evaluation),
        training=charts.training_charts(_mapping(card.get("history"))),
        index=charts.index_chart(_points(card.get("index_curve"))),
        index_points=_points(card.get("index_curve")),
        setting_name=charts.setting_name,
        facts=_facts(card),
        data_note=str(evaluation.config.get("data_note") or ""),
        confidence=float(evaluation.config.get("confidence") or 0.0),
        candidate=CANDIDATE,
        baseline=BASELINE,
        bm25=BM25,
        compared=_COMPARED,
        **known,
    )


def _headline_panels(evaluation: Evaluation) -> list[Markup]:
    names = [f"recall@{k}" for k in evaluation.ks] + [f"ndcg@{evaluation.ks[0]}"]
    shown = [system.metrics[name] for system in evaluation.systems for name in names if name in system.metrics]
    return [
        charts.intervals(
            charts.Intervals(
                name,
                [
                    (system.label, [_mark(system.key, system.metrics[name])])
                    for system in evaluation.systems
                    if name in system.metrics
                ],
                charts.shared_bounds(shown),
            )
        )
        for name in names
        if evaluation.systems
    ]


def _slice_groups(evaluation: Evaluation) -> list[SliceGroup]:
    shown = (CANDIDATE, BASELINE, BM25)
    bounds = charts.shared_bounds(
        [piece.recall[key] for piece in evaluation.slices for key in shown if key in piece.recall]
    )
    names = {system.key: system.label for system in evaluation.systems}
    groups: dict[str, list[SliceResult]] = {}
    for piece in evaluation.slices:
        groups.setdefault(piece.group, []).append(piece)
    found = []
    for group, slices in groups.items():
        title = _GROUP_NAMES.get(group, group)
        rows = [
            (one.name, [_mark(key, one.recall[key], names.get(key, key)) for key in shown if key in one.recall])
            for one in slices
        ]
        found.append(SliceGroup(title, tuple(slices), charts.intervals(charts.Intervals(title, rows, bounds))))
    return found


def _mark(key: str, estimate: Estimate, name: str = "") -> charts.Mark:
    return charts.Mark(_ROLES.get(key, "other"), estimate, name)


def _facts(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the card says in single values, for a line under the title."""
    return [
        (key.replace("_", " "), _plain(value))
        for key, value in card.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    ]


def _mapping(value: Any) -> Mapping[str, Sequence[float]]:
    return value if isinstance(value, Mapping) else {}


def _points(value: Any) -> list[Mapping[str, Any]]:
    return [point for point in value if isinstance(point, Mapping)] if isinstance(value, list) else []


def _estimate(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.3f}"


def _signed(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:+.3f}".replace("-", "−")


def _range(estimate: Estimate) -> str:
    return f"{estimate.low:+.3f} to {estimate.high:+.3f}".replace("-", "−")


def _date(milliseconds: int) -> str:
    if not milliseconds:
        return "–"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "–" if value is None else "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str)
