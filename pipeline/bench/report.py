"""The bench as one self-contained HTML page, drawn with the charts of the gate's report."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from evaluation import report as gate_report
from evaluation.bootstrap import Estimate
from evaluation.report import charts
from pipeline.bench import tables
from pipeline.bench.analysis import AUC, P_GOOD
from pipeline.bench.results import BenchResult, Comparison, Measured, SliceSize, System
from pipeline.bench.variants import ORACLE_QUERY

_FOLDER: Final = Path(__file__).parent
_GATE_FOLDER: Final = Path(gate_report.__file__).parent
_STATUS: Final = {
    "reached": "passed",
    "reached, not certain": "undecided",
    "missed, not certain": "undecided",
    "missed": "failed",
    "not measured": "skipped",
}


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
    main, good = f"recall@{result.ks[-1]}", f"{P_GOOD}@{result.ks[-1]}"
    return environment.get_template("report_models.html").render(
        r=result,
        main=main,
        ndcg=f"ndcg@{result.ks[0]}",
        auc=AUC,
        good=good if any(good in system.metrics for system in result.systems) else "",
        oracles=any(system.kind == "oracle" for system in result.systems),
        metric_name=tables.metric_name,
        status=_STATUS,
        headline=tables.headline(result),
        panels=[
            charts.intervals(panel)
            for name in (main, f"ndcg@{result.ks[0]}", good, AUC)
            if (panel := _metric_panel(result, name)).rows
        ],
        parts=_parts_panels(result, main),
        slice_panels=[charts.intervals(_slice_panel(result, main, size)) for size in result.slices],
        training=_training(result, main),
        seed_range=tables.seed_range,
        speed=tables.speed,
        settings={system.label: json.dumps(system.settings, indent=1) for system in result.systems if system.settings},
    )


def write_figure(result: BenchResult, path: Path) -> None:
    """Writes one picture for a page of text: what each system finds, and what each part earns."""
    main = f"recall@{result.ks[-1]}"
    systems = _metric_panel(result, main)
    if result.data_note:
        systems = replace(systems, title=f"{main}, {result.data_note}")
    changes = _changes(result, main)
    parts = [_parts_panel(f"{main} against the full model, %", changes)] if changes else []
    charts.write([systems, *parts], path)


def _role(system: System) -> str:
    if system.kind == "variant":
        return "part" if system.base else "candidate"
    return "baseline" if system.kind == "oracle" else "other"


def _ceiling(result: BenchResult, name: str) -> float | None:
    """What the oracle that knows query and user reaches in a metric; None without one."""
    oracle = result.system(ORACLE_QUERY)
    return oracle.metrics[name].estimate.value if oracle and name in oracle.metrics else None


def _mark(system: System, measured: Measured) -> charts.Mark:
    return charts.Mark(_role(system), measured.estimate, seeds=measured.by_seed if len(measured.by_seed) > 1 else ())


def _metric_panel(result: BenchResult, name: str) -> charts.Intervals:
    shown = [system for system in result.systems if name in system.metrics]
    estimates = [system.metrics[name].estimate for system in shown]
    bounds = charts.shared_bounds(estimates)
    if name == AUC and estimates:
        bounds = min(estimate.low for estimate in estimates), bounds[1]
    return charts.Intervals(
        "order within a search (pairwise AUC)" if name == AUC else tables.metric_name(name),
        [(system.label, [_mark(system, system.metrics[name])]) for system in shown],
        bounds,
        note="dot: mean over seeds, line: interval over queries, ticks: seeds",
        line=None if name.startswith(P_GOOD) else _ceiling(result, name),
    )


def _slice_panel(result: BenchResult, main: str, size: SliceSize) -> charts.Intervals:
    shown = [(system, system.slices.get(main, {})) for system in result.systems]
    ceiling = next((found.get(size.key) for system, found in shown if system.name == ORACLE_QUERY), None)
    return charts.Intervals(
        f"{size.key.replace('=', ': ')}, {size.requests:,} requests, {size.queries:,} queries",
        [(system.label, [_mark(system, slices[size.key])]) for system, slices in shown if size.key in slices],
        charts.shared_bounds([found.estimate for _, slices in shown for found in slices.values()]),
        line=ceiling.estimate.value if ceiling else None,
    )


def _changes(result: BenchResult, main: str) -> list[Comparison]:
    return [found for found in result.over_base if found.metric == main and found.relative is not None]


def _parts_panels(result: BenchResult, main: str) -> list[Markup]:
    """A panel per base: how much worse or better each of its variants is, in percent."""
    changes = _changes(result, main)
    bases = list(dict.fromkeys(found.over for found in changes))
    return [
        charts.intervals(_parts_panel(f"against {base}, %", [found for found in changes if found.over == base]))
        for base in bases
    ]


def _parts_panel(title: str, changes: Sequence[Comparison]) -> charts.Intervals:
    rows, ends = [], [0.0]
    for found in changes:
        if found.relative is not None:
            percent = Estimate(100 * found.relative.value, 100 * found.relative.low, 100 * found.relative.high)
            certain = percent.low > 0 or percent.high < 0
            role = ("bad" if percent.value < 0 else "candidate") if certain else "other"
            rows.append((found.system, [charts.Mark(role, percent)]))
            ends += [percent.low, percent.high]
    return charts.Intervals(title, rows, (min(ends), max(ends)), "{:+.1f} %", "gray: the interval holds zero")


def _training(result: BenchResult, main: str) -> list[Markup]:
    """Validation recall by epoch of each trained system that has no base."""
    found = []
    for system in result.systems:
        values = next((v for name, v in system.history.items() if name.startswith("recall@")), [])
        if values and not system.base:
            found.append(charts.line_chart(f"{system.label}, {main}", {"eval": list(values)}))
    return found


def _estimate(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.3f}"


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{estimate.value:+.1%} ({estimate.low:+.1%} to {estimate.high:+.1%})".replace("-", "−")
