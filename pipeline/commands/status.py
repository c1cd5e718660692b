"""`souk status`: what ran, what came of it, what is pushed."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import config_option, set_option

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig


@click.command(name="status")
@config_option
@set_option
@click.option("--last", default=10, show_default=True, type=click.IntRange(min=1), help="Runs to show.")
@click.option("--run", "number", type=click.IntRange(min=1), metavar="N", help="Show this run alone, on one page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config_name: str, overrides: tuple[str, ...], last: int, number: int | None, as_json: bool) -> None:
    """Show runs, steps, metrics, blessings and pushed versions.

    With --run: all that came of one run and of what it was made. Its --json is the summary that the run has written,
    brought up to date.
    """
    from pipeline import config as pipeline_config
    from pipeline.runs import local_summary as run_summary
    from pipeline.runs import metadata
    from pipeline.runs.outcome import outcome_of

    config = pipeline_config.load(config_name, overrides)
    if number is not None:
        _show_run(config, config_name, number, as_json)
        return
    runs = metadata.read_runs(config.metadata_path, config.name)
    outcomes = [outcome_of(run) for run in runs]
    if as_json:
        from pipeline.runs.tables import pushed_versions

        listed = [
            {
                **asdict(outcome),
                "exit_code": run_summary.exit_code(run),
                "steps": [
                    {"name": step.name, "state": step.state, "seconds": step.seconds, "failure": step.failure}
                    for step in run.steps
                ],
            }
            for run, outcome in zip(runs[-last:], outcomes[-last:], strict=True)
        ]
        versions = pushed_versions(config.push_directory)
        click.echo(json.dumps({"pipeline": config.name, "runs": listed, "versions": versions}, ensure_ascii=False))
        return
    if not runs:
        click.echo(f"No run of {config.name} in {config.root} yet; `souk run --config {config_name}` makes one.")
        return
    from pipeline.runs import tables

    console = tables.console()
    console.print(tables.runs_table(outcomes[-last:], f"recall@{config.gate.primary_k}"))
    for outcome in outcomes[-last:]:
        if not outcome.pushed_version:
            console.print(f"run {outcome.number}: {outcome.note}", highlight=False, markup=False)
    console.print(tables.steps_table(runs[-1]))
    console.print(tables.versions_table(config.push_directory, outcomes))
    console.print(f"in {config.push_directory}", soft_wrap=True, highlight=False)


def _show_run(config: "PipelineConfig", config_name: str, number: int, as_json: bool) -> None:
    from pipeline.runs import local_summary as run_summary
    from pipeline.runs import metadata

    history = run_summary.history(config)
    run = metadata.numbered(history.runs, number, config.name, config.root, config_name)
    summary = run_summary.summarize(run, history)
    if as_json:
        click.echo(summary.to_json())
        return
    from pipeline.runs import page as run_page
    from pipeline.runs import tables

    tables.console().print(run_page.page(summary), highlight=False)
