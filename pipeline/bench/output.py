"""Shows a bench's progress and results, and writes them to files."""

import dataclasses
import io
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pipeline.bench import tables
from pipeline.bench.report import render_report, write_figure
from pipeline.bench.results import BenchResult
from pipeline.bench.run import BenchJob
from pipeline.bench.trial import Trial
from pipeline.output_capture import LatestMessage, captured_output

_WIDTH = 200


def watched(run: Callable[[Callable[[str], None]], Mapping[BenchJob, Trial]], out: Path) -> Mapping[BenchJob, Trial]:
    """Runs the trainings with their chatter in a log file and what they tell on standard error."""
    log_path = out / "logs" / time.strftime("bench-%Y%m%d-%H%M%S.log")
    with captured_output(log_path) as stream:
        screen = Console(file=stream, highlight=False)
        status = screen.status("starting") if screen.is_terminal else None
        told = ""

        def tell(message: str) -> None:
            nonlocal told
            told = message
            if status is not None:
                status.update(escape(message))
            if status is None or not message.startswith("training "):
                screen.print(escape(message), soft_wrap=True)

        def note(message: str) -> None:
            if status is not None:
                status.update(f"{escape(told)}\n  [dim]{escape(message)}[/]")

        handler = LatestMessage(note)
        logging.getLogger().addHandler(handler)
        try:
            if status is not None:
                status.start()
            return run(tell)
        finally:
            logging.getLogger().removeHandler(handler)
            if status is not None:
                status.stop()


def show(result: BenchResult, written: Mapping[str, Path]) -> None:
    """Prints the tables to standard output."""
    console = Console()
    if not console.is_terminal or console.width < _WIDTH:
        console = Console(width=_WIDTH)
    _print(console, result)
    console.print(f"Page with plots: {escape(str(written['html']))}", highlight=False)


def write(result: BenchResult, out: Path) -> dict[str, Path]:
    """Writes `models.txt`, `.json`, `.html` and `.svg` into a folder; returns their paths by suffix."""
    out.mkdir(parents=True, exist_ok=True)
    paths = {suffix: out / f"models.{suffix}" for suffix in ("txt", "json", "html", "svg")}
    text = io.StringIO()
    _print(Console(file=text, width=_WIDTH, color_system=None), result)
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    paths["txt"].write_text("\n".join(lines) + "\n", encoding="utf-8")
    paths["json"].write_text(
        json.dumps(dataclasses.asdict(result), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    paths["html"].write_text(render_report(result), encoding="utf-8")
    write_figure(result, paths["svg"])
    return paths


def _print(console: Console, result: BenchResult) -> None:
    console.print(escape(tables.headline(result)), highlight=False)
    for warning in result.warnings:
        console.print(f"[yellow]Note:[/] {escape(warning)}", highlight=False)
    for table in tables.all_tables(result):
        console.print()
        console.print(table, highlight=False)
