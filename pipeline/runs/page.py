"""One run on one page, for people: `souk status --run N`."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.exit_codes import ExitCode
from pipeline.runs.outcome import CanaryRun, Data, Files, Gate, Index, Model, Push, RunOutcome, SchemaCheck, Source
from pipeline.runs.tables import estimate_text, seconds_text, simple_table, steps_table

_RESULT_STYLES: Final = {
    "pushed": "bold green",
    "done": "bold green",
    "refused": "bold red",
    "failed": "bold red",
    "interrupted": "bold yellow",
    "running": "bold cyan",
}
_CHECK_STYLES: Final = {"passed": "green", "failed": "red", "undecided": "yellow", "skipped": "dim"}
_SHOWN_SETTINGS: Final = ("dim", "heads", "batch_size", "epochs", "seed")
_ANOMALIES_SHOWN: Final = 10

Row = tuple[str, str]


def page(outcome: RunOutcome) -> Group:
    """The page: what went in, what came out, what was decided and why, and the steps."""
    parts: list[RenderableType] = [_heading(outcome)]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for title, rows in _sections(outcome):
        for n, (name, value) in enumerate(rows):
            facts.add_row("" if n else title, name, value)
        facts.add_row()
    parts.append(facts)
    if outcome.gate is not None:
        parts += [table for table in (_metrics_table(outcome.gate), _checks_table(outcome.gate)) if table is not None]
    if outcome.steps:
        parts.append(steps_table(outcome.steps))
    return Group(*parts)


def _heading(outcome: RunOutcome) -> Text:
    style = _RESULT_STYLES[outcome.result]
    number = f"Run {outcome.run}" if outcome.run is not None else f"Run {escape(outcome.run_id)}"
    took = f" in {seconds_text(outcome.seconds)}" if outcome.seconds is not None else ""
    return Text.from_markup(
        f"[bold]{number} of {escape(outcome.pipeline)}[/]: [{style}]{outcome.result}[/], exit code {outcome.exit_code}"
        f" [dim]({ExitCode(outcome.exit_code).name.lower().replace('_', ' ')})[/]\n{escape(outcome.note)}\n"
        f"[dim]{_minute(outcome.started)} UTC{took}, Souk {outcome.souk}, {escape(outcome.run_id)}[/]\n"
    )


def _sections(outcome: RunOutcome) -> Iterator[tuple[str, list[Row]]]:
    parts: list[tuple[str, Any, Callable[[Any], list[Row]]]] = [
        ("Data", outcome.data, _data),
        ("Schema", outcome.schema, _schema),
        ("Model", outcome.model, _model),
        ("Index", outcome.index, _index),
        ("Gate", outcome.gate, _gate),
        ("Canary", outcome.canary, _canary),
        ("Push", outcome.push, _push),
        ("Files", outcome.files, _files),
    ]
    for title, part, rows_of in parts:
        if part is not None and (rows := rows_of(part)):
            yield title, rows


def _files(files: Files) -> list[Row]:
    return [(name, escape(path)) for name, path in vars(files).items() if path]


def _data(data: Data) -> list[Row]:
    rows = []
    if data.window is not None:
        rows.append(("train", f"{_minute(data.window.train_start)} to {_minute(data.window.eval_start)}"))
        rows.append(("eval", f"{_minute(data.window.eval_start)} to {_minute(data.window.end)}"))
    for name, found in data.inputs.items():
        text = f"{found.read:,} rows"
        if found.rejected:
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in found.rejected.items())
            text += f", [yellow]{sum(found.rejected.values()):,} rejected[/] ({reasons})"
        if found.other:
            text += "; " + ", ".join(f"{reason.replace('_', ' ')} {n:,}" for reason, n in found.other.items())
        rows.append((name, text + "".join(f"\n[dim]{escape(path)}[/]" for path in found.files)))
    if data.dead_letters:
        rows.append(("rejected rows", escape(data.dead_letters)))
    rows.append(("examples", ", ".join(f"{split} {n:,}" for split, n in data.examples.items())))
    return [*rows, ("fingerprint", data.fingerprint or "none")]


def _schema(check: SchemaCheck) -> list[Row]:
    rows = [("version", f"{check.sha256[:12]} {escape(check.path)}")]
    if check.anomalies is not None:
        errors = sum(anomaly.level == "error" for anomaly in check.anomalies)
        warnings = len(check.anomalies) - errors
        style = "red" if errors else "yellow" if warnings else "green"
        rows.append(("anomalies", f"[{style}]{errors} errors, {warnings} warnings[/]"))
        for anomaly in check.anomalies[:_ANOMALIES_SHOWN]:
            rows.append((anomaly.level, escape(f"{anomaly.split} {anomaly.feature}: {anomaly.message}")))
    return rows


def _model(model: Model) -> list[Row]:
    settings = ", ".join(f"{name} {model.settings[name]}" for name in _SHOWN_SETTINGS if name in model.settings)
    metrics = ", ".join(f"{name} {value:,.4g}" for name, value in model.metrics.items())
    rows = [("type", f"[bold]{escape(model.type)}[/] [dim]({escape(settings)})[/]")]
    if model.epochs:
        rows.append((f"epoch {model.epochs}", metrics))
    if model.started_from is not None:
        rows.append(("started from", _source(model.started_from)))
    trained_by = f"run {model.run} " if model.run is not None else ""
    return [*rows, ("trained by", f"{trained_by}[dim]{escape(model.uri)}[/]")]


def _index(index: Index) -> list[Row]:
    parameters = ", ".join(f"{name} {value}" for name, value in index.parameters.items())
    of = f" of {index.catalog_items:,}" if index.catalog_items is not None else ""
    rows = [("kind", f"[bold]{escape(index.kind)}[/] {escape(parameters)}".rstrip())]
    rows.append(("items", f"{index.indexed_items:,}{of}"))
    if index.left_out_clicks:
        rows.append(
            ("", f"[yellow]{index.left_out_clicks:,} of {index.clicks:,} clicked items of the eval split left out[/]")
        )
    if index.recall is not None:
        latency = f", {index.latency_ms:.2f} ms a search" if index.latency_ms is not None else ""
        rows.append(("recall", f"{index.recall:.3f} as built{latency}"))
    if index.measured is not None:
        rows.append(("", f"{estimate_text(index.measured)} at the gate"))
    return [*rows, ("where", escape(index.uri))]


def _gate(gate: Gate) -> list[Row]:
    rows = [("verdict", "[green]blessed[/]" if gate.blessed else "[red]refused[/]")]
    rows.append(("baseline", _source(gate.baseline) if gate.baseline else "none: no model was blessed before"))
    # The thresholds below say why it passed.
    reasons = () if gate.blessed else gate.reasons
    return [*rows, *(("why" if n == 0 else "", escape(reason)) for n, reason in enumerate(reasons))]


def _canary(canary: CanaryRun) -> list[Row]:
    rows = [("verdict", "[green]passed[/]" if canary.passed else "[red]refused[/]")]
    return [*rows, *((name, escape(found)) for name, found in canary_facts(canary))]


def canary_facts(canary: CanaryRun) -> list[tuple[str, str]]:
    """Names and values of what the canary found, as plain text, failures first."""
    facts = [("failure", failure) for failure in canary.failures]
    if canary.server:
        facts.append(("server", canary.server))
    if canary.load_seconds is not None:
        start = canary.startup_seconds
        without = f", of which the program took {seconds_text(start)} to start" if start is not None else ""
        facts.append(("ready after", seconds_text(canary.load_seconds) + without))
    if canary.latency_p50_ms is not None and canary.latency_p99_ms is not None:
        allowed = f", allowed {canary.allowed_p99_ms:.4g} ms" if canary.allowed_p99_ms is not None else ""
        facts.append(("latency", f"p50 {canary.latency_p50_ms:.1f} ms, p99 {canary.latency_p99_ms:.1f} ms{allowed}"))
    if canary.requests is not None and canary.attempts is not None:
        how = f", {canary.attempts} times each, the fastest counts" if canary.attempts > 1 else ""
        facts.append(("requests", f"{canary.requests}{how}"))
    if canary.slowdown is not None:
        facts.append(("slowdown", f"{canary.slowdown:.1f}, by other work on the machine"))
    return facts


def _push(push: Push) -> list[Row]:
    if not push.pushed:
        return [("version", "[red]not pushed[/]")]
    how = "" if push.by_this_run else " [dim](by the earlier run that the cache remembers)[/]"
    return [("version", f"[bold green]{push.version}[/]{how}"), ("where", escape(push.destination))]


def _metrics_table(gate: Gate) -> Table | None:
    names = [name for name in gate.metrics.get("candidate", {}) if not name.startswith("mrr")]
    if not names:
        return None
    table = simple_table(f"Measured on {gate.requests:,} requests of the eval split", "system", *names, numbers=names)
    for key, metrics in gate.metrics.items():
        values = [f"{metrics[name].value:.3f}" if name in metrics else "" for name in names]
        table.add_row(f"[bold]{escape(key)}[/]" if key == "candidate" else escape(key), *values)
    return table


def _checks_table(gate: Gate) -> Table | None:
    if not gate.checks:
        return None
    table = simple_table("Thresholds", "check", "found", "wanted", "")
    for check in gate.checks:
        style = _CHECK_STYLES[check.status]
        table.add_row(escape(check.name), escape(check.found), escape(check.wanted), f"[{style}]{check.status}[/]")
    return table


def _source(source: Source) -> str:
    facts = [f"run {source.run}"] if source.run is not None else []
    facts += [f"version {source.pushed_version}"] if source.pushed_version else []
    return f"{', '.join(facts)} [dim]{escape(source.uri)}[/]".lstrip()


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")
