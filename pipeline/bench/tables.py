"""The tables of a bench."""

from collections.abc import Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from evaluation.bootstrap import Estimate
from pipeline.bench.analysis import AUC, AUC_ORDERED, P_GOOD
from pipeline.bench.references import LABELS
from pipeline.bench.results import BenchResult, Comparison, Measured, System, TargetResult

_STYLES = {
    "reached": "green",
    "reached, not certain": "yellow",
    "missed, not certain": "yellow",
    "missed": "red",
    "not measured": "dim",
}


def all_tables(result: BenchResult) -> Iterator[Table]:
    """Every table that has a line, in reading order."""
    yield systems_table(result)
    for metric in dict.fromkeys(metric for system in result.systems for metric in system.slices):
        yield slices_table(result, metric)
    if result.over_base:
        yield parts_table(result)
    if result.over_references:
        yield references_table(result)
    if result.targets:
        yield targets_table(result.targets)


def headline(result: BenchResult) -> str:
    """What was measured, in two sentences."""
    note = f" ({result.data_note})" if result.data_note else ""
    return (
        f"Trained on what came of {result.train_requests:,} requests{note}, measured on {result.requests:,} later ones "
        f"of {result.queries:,} queries over {result.items:,} items; `order` on {result.order_requests:,} of them. "
        f"Intervals: {result.confidence:.0%}, by bootstrap over queries of the mean over seeds."
    )


def systems_table(result: BenchResult) -> Table:
    """Every system: what it finds, how it orders, how fast it trains and answers."""
    main, others = f"recall@{result.ks[-1]}", [f"recall@{k}" for k in result.ks[:-1]]
    table = _table("Systems")
    table.add_column("system", no_wrap=True)
    good = f"{P_GOOD}@{result.ks[-1]}"
    known = [good] if any(good in system.metrics for system in result.systems) else []
    headings = map(metric_name, (f"ndcg@{result.ks[0]}", *known, AUC))
    for name in (*others, f"{main}, interval", "seeds", *headings, "ordered first"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("examples/s", justify="right", no_wrap=True)
    table.add_column("ms p50 / p95", justify="right", no_wrap=True)
    for system in result.systems:
        shown = system.metrics
        table.add_row(
            escape(system.label),
            *(_value(shown.get(name)) for name in others),
            _interval(shown[main].estimate if main in shown else None),
            seed_range(shown.get(main)),
            _value(shown.get(f"ndcg@{result.ks[0]}")),
            *(_value(shown.get(name)) for name in known),
            _value(shown.get(AUC)),
            _value(shown.get(AUC_ORDERED)),
            speed(system),
            f"{system.latency_ms[0]:.1f} / {system.latency_ms[1]:.1f}" if system.latency_ms else "",
            end_section=_ends_block(system, result.systems),
        )
    table.caption = (
        "seeds: lowest and highest of the trainings. order: share of pairs of one shown page that the score orders as "
        "the searcher did (ordered > clicked > shown); ordered first: the same for pairs with an ordered item. "
        "examples/s: training requests per second, median of the trainings. ms: one request, in process."
    )
    if known:
        table.caption += (
            f" P_good: share of the {result.ks[-1]} retrieved items that meet the need which the searcher had in mind, "
            "by the simulator's truth. oracles: what that truth would find."
        )
    table.caption_justify = "left"
    return table


def slices_table(result: BenchResult, metric: str) -> Table:
    """A metric on each slice."""
    table = _table(f"{metric_name(metric)} by slice")
    table.add_column("system", no_wrap=True)
    for size in result.slices:
        group, _, name = size.key.partition("=")
        heading = f"{name} history" if group == "history" else f"{name} items" if group == "items" else name
        table.add_column(f"{heading}\n{size.requests:,} req.\n{size.queries:,} qu.", justify="right", no_wrap=True)
    for system in result.systems:
        cells = [_with_half(system.slices.get(metric, {}).get(size.key)) for size in result.slices]
        table.add_row(escape(system.label), *cells, end_section=_ends_block(system, result.systems))
    table.caption = "± is half the interval's width."
    table.caption_justify = "left"
    return table


def parts_table(result: BenchResult) -> Table:
    """Every variant against its base, on the same requests."""
    table = _table("What each part earns: the variant less its base")
    metrics = list(dict.fromkeys(found.metric for found in result.over_base))
    table.add_column("variant", no_wrap=True)
    table.add_column("of", no_wrap=True)
    for metric in metrics:
        table.add_column(metric_name(metric), justify="right", no_wrap=True)
    table.add_column(f"{metrics[0]}, %", justify="right", no_wrap=True)
    table.add_column("by seed", justify="right", no_wrap=True)
    rows: dict[str, list[Comparison]] = {}
    for found in result.over_base:
        rows.setdefault(found.system, []).append(found)
    for name, mine in rows.items():
        by_metric = {found.metric: found for found in mine}
        first = by_metric.get(metrics[0])
        table.add_row(
            escape(name),
            escape(mine[0].over),
            *(_signed(by_metric[metric].difference if metric in by_metric else None) for metric in metrics),
            _percent(first.relative) if first else "",
            " ".join(f"{gap:+.3f}" for gap in first.by_seed) if first else "",
        )
    return table


def references_table(result: BenchResult) -> Table:
    """Every variant against what it must beat."""
    table = _table(f"recall@{result.ks[-1]} against references, relative")
    table.add_column("variant", no_wrap=True)
    overs = list(dict.fromkeys(found.over for found in result.over_references))
    for over in overs:
        table.add_column(f"over {label_of(over)}", justify="right", no_wrap=True)
    by_pair: Mapping[tuple[str, str], Comparison] = {
        (found.system, found.over): found for found in result.over_references
    }
    for name in dict.fromkeys(found.system for found in result.over_references):
        pairs = [by_pair.get((name, over)) for over in overs]
        table.add_row(escape(name), *(_percent(found.relative) if found else "" for found in pairs))
    return table


def targets_table(targets: Sequence[TargetResult]) -> Table:
    """What was aimed at and what was measured."""
    table = _table("Targets")
    for name in ("target", "metric", "measured", "over", "wanted", "better by", "result"):
        table.add_column(name, justify="right" if name in ("wanted", "better by") else "left")
    for target in targets:
        found = target.comparison
        where = "" if found is None or found.slice == "all" else f" on {found.slice}"
        table.add_row(
            escape(target.about),
            f"{metric_name(found.metric)}{where}" if found else "",
            escape(label_of(found.system)) if found else "",
            escape(label_of(found.over)) if found else "",
            f"> {target.by:+.0%}" if target.by else "> 0",
            _percent(found.relative) if found else "",
            f"[{_STYLES[target.state]}]{target.state}[/]",
        )
    table.caption = "certain: the whole interval lies on that side of what was wanted."
    table.caption_justify = "left"
    return table


def label_of(name: str) -> str:
    """How a system is called in tables."""
    return LABELS[name][0] if name in LABELS else name


def seed_range(measured: Measured | None) -> str:
    """Lowest and highest training; "" for one alone."""
    if measured is None or len(measured.by_seed) < 2:
        return ""
    return f"{min(measured.by_seed):.3f}–{max(measured.by_seed):.3f}"


def speed(system: System) -> str:
    """Training requests per second, the median of the trainings."""
    values = sorted(system.examples_per_second)
    return f"{values[len(values) // 2]:,.0f}" if values else ""


def _ends_block(system: System, systems: Sequence[System]) -> bool:
    """Whether the next system starts a new model, the references or the oracles."""
    place = systems.index(system) + 1
    if place == len(systems):
        return False
    this, after = systems[place - 1], systems[place]
    return this.kind != after.kind or (after.kind == "variant" and not after.base)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)


def metric_name(metric: str) -> str:
    """How a metric is called in tables and reports."""
    return "order" if metric == AUC else metric.replace("ndcg", "NDCG").replace(P_GOOD, "P_good")


def _value(measured: Measured | None) -> str:
    return "" if measured is None else f"{measured.estimate.value:.3f}"


def _with_half(measured: Measured | None) -> str:
    if measured is None:
        return ""
    estimate = measured.estimate
    return f"{estimate.value:.3f} [dim]± {(estimate.high - estimate.low) / 2:.3f}[/]"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:.3f} [dim]({estimate.low:.3f} to {estimate.high:.3f})[/]"


def _signed(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:+.3f} [dim]({estimate.low:+.3f} to {estimate.high:+.3f})[/]"


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:+.1%} [dim]({estimate.low:+.1%} to {estimate.high:+.1%})[/]"
