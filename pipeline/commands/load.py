"""`souk load`: traffic for a serving program, how fast it answers, and the rate that it cannot follow."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.access import access, access_options, read_file
from schema.settings import InputError
from serving.config import DEFAULT_MODEL_NAME
from serving.load.config import LoadConfig
from souk_client.client import DEFAULT_TARGET, ServingError

if TYPE_CHECKING:
    from serving.load.report import Report
    from serving.load.saturation import RateStep

_DEFAULTS = LoadConfig()


@click.command(name="load")
@click.argument("queries", type=click.Path(path_type=Path))
@click.option("--target", default=DEFAULT_TARGET, show_default=True, metavar="HOST:PORT", help="The server.")
@click.option("--name", default=DEFAULT_MODEL_NAME, show_default=True, help="Name of the model.")
@click.option("--rate", default=_DEFAULTS.rate, show_default=True, help="Requests a second; with --find, the first.")
@click.option("--seconds", default=_DEFAULTS.seconds, show_default=True, help="How long, at each rate.")
@click.option("--find", is_flag=True, help="Raise the rate until the server cannot follow.")
@click.option("--p99-ms", type=click.FloatRange(min=0, min_open=True), help="With --find, also a bound for p99.")
@click.option("--connections", default=_DEFAULTS.connections, show_default=True, help="Connections, used in turn.")
@click.option("--timeout", default=_DEFAULTS.timeout_s, show_default=True, help="Deadline of a request, in seconds.")
@access_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    queries: Path,
    target: str,
    name: str,
    rate: float,
    seconds: float,
    find: bool,
    p99_ms: float | None,
    connections: int,
    timeout: float,
    token_file: Path | None,
    ca: Path | None,
    as_json: bool,
) -> None:
    """Send the queries of the file QUERIES, one a line, to a serving program, drawn at random.

    Requests are sent when they are due, answered or not, and a latency counts from that moment: a server that stands
    still is charged with all that came in meanwhile.
    """
    from serving.load.generator import send
    from serving.load.requests import examples_of
    from serving.load.saturation import RateStep, find_saturated_rate

    if p99_ms is not None and not find:
        raise InputError("--p99-ms bounds the rate that --find looks for. Give --find too, or leave it out.")
    values = {"rate": rate, "seconds": seconds, "connections": connections, "timeout_s": timeout, "model_name": name}
    config = LoadConfig.parse(values, source="the command line")
    lines = read_file(queries, "QUERIES").decode("utf-8-sig", errors="replace").splitlines()
    examples = examples_of([line.strip() for line in lines if line.strip()])
    allowed = access(token_file, ca)

    def measure(rate: float) -> "Report":
        return send(
            target,
            examples,
            config.model_copy(update={"rate": rate}),
            credentials=allowed.credentials,
            token=allowed.token,
        )

    try:
        if find:
            found = find_saturated_rate(measure, start=rate, p99_s=None if p99_ms is None else p99_ms / 1e3, told=_tell)
            steps = list(found.steps)
            summary = {"rate": found.rate, "throughput": found.throughput, "found": found.found}
        else:
            steps, summary = [RateStep(rate, measure(rate), "")], {}
    except ServingError as error:
        raise InputError(str(error)) from error
    if as_json:
        measured = [{"rate": step.rate, "trouble": step.trouble, **step.report.as_json()} for step in steps]
        click.echo(json.dumps({**summary, "steps": measured}))
    else:
        _print(steps, summary)


def _tell(step: "RateStep") -> None:
    click.echo(f"{step.rate:,.0f}/s: {step.trouble or 'held'}", err=True)


def _print(steps: "list[RateStep]", summary: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("due/s", "answers/s", "failed", "p50 ms", "p90 ms", "p99 ms", "longest ms"):
        table.add_column(column, justify="right")
    if summary:
        table.add_column("held")
    for step in sorted(steps, key=lambda step: step.rate):
        report = step.report
        times = [report.latency.percentile(percent) for percent in (50, 90, 99)] if report.answered else []
        cells = [f"{value * 1e3:.1f}" for value in [*times, report.latency.max] if times]
        table.add_row(
            f"{report.offered_rate:,.1f}",
            f"{report.achieved_rate:,.1f}",
            f"{report.failed:,}",
            *(cells or [""] * 4),
            *(["no" if step.trouble else "yes"] if summary else []),
        )
    console = Console()
    console.print(table)
    problems = {code: problem for step in steps for code, problem in step.report.problems.items()}
    for code, problem in problems.items():
        click.echo(f"{code}: {problem}")
    if summary:
        more = "" if summary["found"] else "; it may follow a higher one"
        console.print(f"The server follows {summary['rate']:,.0f} requests a second{more}.")
