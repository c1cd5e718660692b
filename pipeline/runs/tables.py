"""Runs in a few values each: the tables that the commands print, and what they print with `--json`."""

import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evaluation.bootstrap import Estimate
from evaluation.results import Evaluation
from pipeline.progress import STYLES
from pipeline.runs.outcome import FoundAnomaly, RunOutcome, StepOutcome

_WIDTH: Final = 120


def console(stderr: bool = False) -> Console:
    """A console for these tables: as wide as the terminal, and wide enough for them where there is none."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=_WIDTH)


def line(outcome: RunOutcome) -> dict[str, Any]:
    """One run in a few values, by the names that `--json` gives them."""
    gate, canary, push = outcome.gate, outcome.canary, outcome.push
    trained = outcome.model.type if outcome.model else outcome.settings.get("train", {}).get("model", "")
    return {
        "number": outcome.run,
        "run_id": outcome.run_id,
        "state": outcome.state,
        "started_ms": round(datetime.fromisoformat(outcome.started).timestamp() * 1000) if outcome.started else 0,
        "seconds": outcome.seconds,
        "kind": outcome.kind,
        "model": trained,
        "metrics": gate.candidate if gate else {},
        "blessed": gate.blessed if gate else None,
        "reasons": gate.reasons if gate else (),
        "canary_passed": canary.passed if canary else None,
        "canary_failures": canary.failures if canary else (),
        "pushed_version": push.version if push else "",
        "pushed_to": push.destination if push else "",
        "note": outcome.note,
    }


def anomalies_table(anomalies: Sequence[FoundAnomaly]) -> Table:
    """What the schema gate found, errors first."""
    table = simple_table("Data anomalies", "split", "feature", "", "what was found")
    for found in anomalies:
        style = "red" if found.level == "error" else "yellow"
        table.add_row(found.split, found.feature, f"[{style}]{found.level}[/]", escape(found.message))
    return table


def evaluation_table(evaluation: Evaluation) -> Table:
    """Every system on the same requests, the main metric with its confidence interval."""
    main = f"recall@{evaluation.primary_k}"
    names = [*(f"recall@{k}" for k in evaluation.ks), f"ndcg@{evaluation.ks[0]}"]
    note = f", {evaluation.config['data_note']}" if evaluation.config.get("data_note") else ""
    sample = evaluation.sample
    table = simple_table(f"Eval split: {sample.requests:,} requests of {sample.queries:,} queries{note}", "system")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for system in evaluation.systems:
        estimates = {name: system.metrics[name] for name in names if name in system.metrics}
        table.add_row(
            escape(system.label),
            *(estimate_text(estimates[name], name == main) if name in estimates else "" for name in names),
        )
    return table


def runs_table(outcomes: Sequence[RunOutcome], metric: str) -> Table:
    """A line per run, newest last."""
    table = simple_table("Runs")
    for name in ("run", "kind", "started", "took", "state", "model", metric, "gate", "canary", "pushed"):
        table.add_column(name, justify="right" if name in ("run", "took", metric) else "left", no_wrap=True)
    for shown in map(line, outcomes):
        sign, style = STYLES[shown["state"]]
        table.add_row(
            str(shown["number"]),
            shown["kind"],
            time.strftime("%m-%d %H:%M", time.localtime(shown["started_ms"] / 1000)),
            f"{shown['seconds']:.0f} s",
            f"[{style}]{sign} {shown['state']}[/]",
            shown["model"],
            f"{shown['metrics'][metric]:.3f}" if metric in shown["metrics"] else "",
            _verdict(shown["blessed"]),
            _verdict(shown["canary_passed"]),
            shown["pushed_version"],
        )
    return table


def not_pushed(outcome: RunOutcome) -> Text:
    """Why a run pushed nothing: who refused its model, and every reason where one line does not hold them."""
    lines = [f"\n  {line}" for reason in outcome.refusals for line in reason.splitlines()]
    return Text.assemble(("Not pushed", "red"), f": {outcome.note}", *(lines if len(lines) > 1 else ()))


def steps_table(steps: Sequence[StepOutcome], title: str = "Steps") -> Table:
    """The steps of one run."""
    table = simple_table(title, "step", "state", "took", "", numbers=["took"])
    for step in steps:
        sign, style = STYLES[step.state]
        note = escape(step.failure) or (f"[dim]made by run {step.from_run}[/]" if step.from_run else "")
        took = "" if step.state == "cached" else seconds_text(step.seconds)
        table.add_row(step.name, f"[{style}]{sign} {step.state}[/]", took, note)
    return table


def versions_table(directory: str, pushed_by: Mapping[str, int]) -> Table:
    """The versions in `directory`, which servers watch, newest first, and the runs that pushed them."""
    table = simple_table("Pushed versions", "version", "pushed by run")
    for name in pushed_versions(directory):
        table.add_row(name, str(pushed_by.get(name, "unknown")))
    return table


def pushed_versions(directory: str) -> list[str]:
    """Names of the version folders, newest first."""
    names = os.listdir(directory) if os.path.isdir(directory) else []
    return sorted((name for name in names if name.isdigit()), key=int, reverse=True)


def simple_table(title: str, *columns: str, numbers: Sequence[str] = ()) -> Table:
    """A table in the style of them all; the columns of `numbers` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left")
    return table


def estimate_text(estimate: Estimate, with_interval: bool = True) -> str:
    """An estimate with markup."""
    interval = f" [dim]({estimate.low:.3f} to {estimate.high:.3f})[/]" if with_interval else ""
    return f"{estimate.value:.3f}{interval}"


def seconds_text(seconds: float) -> str:
    """A duration, in minutes from ten on."""
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _verdict(passed: bool | None) -> str:
    return "" if passed is None else "[green]passed[/]" if passed else "[red]refused[/]"
