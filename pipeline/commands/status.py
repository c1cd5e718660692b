"""`souk status`: what ran, what came of it, what is pushed."""

import json

import click

from pipeline.commands.options import config_option, set_option


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
    from pipeline.runs import history, tables

    config = pipeline_config.load(config_name, overrides)
    if number is not None:
        outcome = history.numbered(config, number, config_name)
        if as_json:
            click.echo(outcome.to_json())
            return
        from pipeline.runs import page

        tables.console().print(page.page(outcome), highlight=False)
        return
    known = history.RunHistory.read(config)
    outcomes = [history.outcome_of(run, known, is_listed=True) for run in known.runs[-last:]]
    if as_json:
        listed = [
            {
                **tables.line(outcome),
                "exit_code": outcome.exit_code,
                "steps": [
                    {"name": step.name, "state": step.state, "seconds": step.seconds, "failure": step.failure}
                    for step in outcome.steps
                ],
            }
            for outcome in outcomes
        ]
        versions = tables.pushed_versions(config.push_directory)
        click.echo(json.dumps({"pipeline": config.name, "runs": listed, "versions": versions}, ensure_ascii=False))
        return
    if not outcomes:
        click.echo(f"No run of {config.name} in {config.root} yet; `souk run --config {config_name}` makes one.")
        return
    console = tables.console()
    console.print(tables.runs_table(outcomes, f"recall@{config.gate.primary_k}"))
    for outcome in outcomes:
        if outcome.push is None or not outcome.push.pushed:
            console.print(f"run {outcome.run}: {outcome.note}", highlight=False, markup=False)
    console.print(tables.steps_table(outcomes[-1].steps, f"Steps of run {outcomes[-1].run}"))
    console.print(tables.versions_table(config.push_directory, known.pushed_by))
    console.print(f"in {config.push_directory}", soft_wrap=True, highlight=False)
