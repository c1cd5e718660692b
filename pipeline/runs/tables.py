"""The tables that the commands print about runs."""

import os
import time
from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evaluation.bootstrap import Estimate
from evaluation.results import Evaluation
from components.schema_gate.findings import Finding
from pipeline.runs.metadata import Run
from pipeline.runs.outcome import Outcome
from pipeline.progress import STYLES

_WIDTH: Final = 120


def console(stderr: bool = False) -> Console:
    """A console for these tables: as wide as the terminal, and wide enough for them where there is none."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=_WIDTH)


def anomalies_table(findings: Sequence[Finding]) -> Table:
    """What the schema gate found, errors first."""
    table = Table(
        "split", "feature", "", "what was found", title="Data anomalies", title_justify="left", box=SIMPLE_HEAD
    )
    for finding in findings:
        level = "[red]error[/]" if finding.is_error else "[yellow]warning[/]"
        table.add_row(finding.split, finding.feature, level, escape(finding.message))
    return table


def evaluation_table(evaluation: Evaluation) -> Table:
    """Every system on the same requests, the main metric with its confidence interval."""
    main = f"recall@{evaluation.primary_k}"
    names = [*(f"recall@{k}" for k in evaluation.ks), f"ndcg@{evaluation.ks[0]}"]
    note = f", {evaluation.config['data_note']}" if evaluation.config.get("data_note") else ""
    sample = evaluation.sample
    table = _table(f"Eval split: {sample.requests:,} requests of {sample.queries:,} queries{note}")
    table.add_column("system")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for system in evaluation.systems:
        estimates = {name: system.metrics[name] for name in names if name in system.metrics}
        table.add_row(
            escape(system.label),
            *(_estimate(estimates[name], name == main) if name in estimates else "" for name in names),
        )
    return table


def runs_table(outcomes: Sequence[Outcome], metric: str) -> Table:
    """A line per run, newest last."""
    table = _table("Runs")
    for name in ("run", "kind", "started", "took", "state", "model", metric, "gate", "canary", "pushed"):
        table.add_column(name, justify="right" if name in ("run", "took", metric) else "left", no_wrap=True)
    for outcome in outcomes:
        sign, style = STYLES[outcome.state]
        table.add_row(
            str(outcome.number),
            outcome.kind,
            time.strftime("%m-%d %H:%M", time.localtime(outcome.started_ms / 1000)),
            f"{outcome.seconds:.0f} s",
            f"[{style}]{sign} {outcome.state}[/]",
            outcome.model,
            f"{outcome.metrics[metric]:.3f}" if metric in outcome.metrics else "",
            _verdict(outcome.blessed),
            _verdict(outcome.canary_passed),
            outcome.pushed_version,
        )
    return table


def not_pushed(outcome: Outcome) -> Text:
    """Why a run pushed nothing: who refused its model, and every reason where one line does not hold them."""
    lines = [f"\n  {line}" for reason in outcome.refusals for line in reason.splitlines()]
    return Text.assemble(("Not pushed", "red"), f": {outcome.note}", *(lines if len(lines) > 1 else ()))


def steps_table(run: Run) -> Table:
    """The steps of one run."""
    table = _table(f"Steps of run {run.number}")
    for name in ("step", "state", "took", "what failed"):
        table.add_column(name, justify="right" if name == "took" else "left")
    for step in run.steps:
        sign, style = STYLES[step.state]
        took = "" if step.state == "cached" else f"{step.seconds:.1f} s"
        table.add_row(step.name, f"[{style}]{sign} {step.state}[/]", took, escape(step.failure))
    return table


def versions_table(directory: str, outcomes: Sequence[Outcome]) -> Table:
    """The versions in `directory`, which servers watch, newest first, and the runs that pushed them."""
    runs = {outcome.pushed_version: str(outcome.number) for outcome in reversed(outcomes) if outcome.pushed_version}
    table = _table("Pushed versions")
    table.add_column("version")
    table.add_column("pushed by run")
    for name in pushed_versions(directory):
        table.add_row(name, runs.get(name, "unknown"))
    return table


def pushed_versions(directory: str) -> list[str]:
    """Names of the version folders, newest first."""
    names = os.listdir(directory) if os.path.isdir(directory) else []
    return sorted((name for name in names if name.isdigit()), key=int, reverse=True)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)


def _verdict(passed: bool | None) -> str:
    return "" if passed is None else "[green]passed[/]" if passed else "[red]refused[/]"


def _estimate(estimate: Estimate, with_interval: bool) -> str:
    interval = f" [dim]({estimate.low:.3f} to {estimate.high:.3f})[/]" if with_interval else ""
    return f"{estimate.value:.3f}{interval}"
