"""The bench as one self-contained HTML page, drawn with the charts of the gate's report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import jinja2

from evaluation import report as gate_report
from evaluation.bootstrap import Estimate
from evaluation.report import charts
from pipeline.bench import tables
from pipeline.bench.analysis import AUC
from pipeline.bench.results import BenchResult, Comparison, System

_FOLDER: Final = Path(__file__).parent
_GATE_FOLDER: Final = Path(gate_report.__file__).parent
_STATUS: Final = {
    "reached": "passed",
    "reached, not certain": "undecided",
    "missed, not certain": "undecided",
    "missed": "failed",
    "not measured": "skipped",
}


@dataclass(frozen=True)
class PartsPanel:
    """Differences from a base on an axis; `zero` is the place of no difference, in percent of the track."""

    panel: charts.WhiskerPanel
    zero: float


def render_report(result: BenchResult) -> str:
    """The page as HTML text. It loads nothing: styles and charts are inside, scripts there are none."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([_FOLDER, _GATE_FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"estimate": _estimate, "percent": _percent, "label": tables.label_of}
    main = f"recall@{result.ks[-1]}"
    return environment.get_template("report_models.html").render(
        r=result,
        main=main,
        ndcg=f"ndcg@{result.ks[0]}",
        auc=AUC,
        status=_STATUS,
        headline=tables.headline(result),
        panels=[panel for name in (main, f"ndcg@{result.ks[0]}", AUC) if (panel := _metric_panel(result, name))],
        parts=_parts_panels(result, main),
        slice_panels=[
            _slice_panel(
                result, size.key, f"{size.key.replace('=', ': ')}, {size.requests:,} requests, {size.queries:,} queries"
            )
            for size in result.slices
        ],
        training=_training(result, main),
        chart=charts,
        seed_range=tables.seed_range,
        speed=tables.speed,
        settings={system.label: json.dumps(system.settings, indent=1) for system in result.systems if system.settings},
    )


def _role(system: System) -> str:
    return "other" if system.kind == "reference" else "part" if system.base else "candidate"


def _metric_panel(result: BenchResult, name: str) -> charts.WhiskerPanel | None:
    rows = [
        (system.label, _role(system), system.metrics[name].estimate)
        for system in result.systems
        if name in system.metrics
    ]
    low = 0.0 if name != AUC else min((estimate.low for *_, estimate in rows), default=0.0)
    high = max((estimate.high for *_, estimate in rows), default=1.0)
    title = "order within a search (pairwise AUC)" if name == AUC else name
    return charts.whisker_panel(title, rows, (low, high or 1.0)) if rows else None


def _slice_panel(result: BenchResult, key: str, title: str) -> charts.WhiskerPanel:
    rows = [
        (system.label, _role(system), system.slices[key].estimate) for system in result.systems if key in system.slices
    ]
    highest = max((m.estimate.high for system in result.systems for m in system.slices.values()), default=1.0)
    return charts.whisker_panel(title, rows, (0.0, highest or 1.0))


def _parts_panels(result: BenchResult, main: str) -> list[PartsPanel]:
    """A panel per base: how much worse or better each of its variants is, in percent."""
    changes = [found for found in result.over_base if found.metric == main and found.relative is not None]
    bases = list(dict.fromkeys(found.over for found in changes))
    return [_parts_panel(base, [found for found in changes if found.over == base]) for base in bases]


def _parts_panel(base: str, changes: Sequence[Comparison]) -> PartsPanel:
    rows = []
    for found in changes:
        if found.relative is not None:
            percent = Estimate(100 * found.relative.value, 100 * found.relative.low, 100 * found.relative.high)
            certain = percent.low > 0 or percent.high < 0
            rows.append(
                (found.system, ("worse" if percent.value < 0 else "candidate") if certain else "other", percent)
            )
    bounds = min(0.0, *(row[2].low for row in rows)), max(0.0, *(row[2].high for row in rows))
    panel = charts.whisker_panel(f"against {base}, %", rows, bounds)
    ticks = charts.nice_ticks(*bounds)
    return PartsPanel(panel, round(100.0 * (0.0 - ticks[0]) / (ticks[-1] - ticks[0]), 2))


def _training(result: BenchResult, main: str) -> list[charts.LineChart]:
    """Validation recall by epoch of each trained system that has no base."""
    found: list[charts.LineChart] = []
    for system in result.systems:
        values = next((v for name, v in system.history.items() if name.startswith("recall@")), [])
        if values and not system.base:
            found.extend(replace(chart, title=system.label) for chart in charts.training_charts({main: list(values)}))
    return found


def _estimate(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.3f}"


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{estimate.value:+.1%} ({estimate.low:+.1%} to {estimate.high:+.1%})".replace("-", "−")
