"""`souk report`: the report of a run."""

from pathlib import Path

import click

from pipeline.commands.options import LocalPath, config_option, set_option


@click.command(name="report")
@config_option
@set_option
@click.option("--run", "number", type=click.IntRange(min=1), metavar="N", help="Number of the run.  [default: newest]")
@click.option("--out", type=LocalPath(dir_okay=False), metavar="FILE", help="Where to write it.")
@click.option("--open", "open_it", is_flag=True, help="Show it in the browser.")
def command(config_name: str, overrides: tuple[str, ...], number: int | None, out: Path | None, open_it: bool) -> None:
    """Write the report of a run as one HTML page, and print its path."""
    from pipeline import config as pipeline_config
    from pipeline.runs import history

    config = pipeline_config.load(config_name, overrides)
    outcome = history.numbered(config, number, config_name)

    from pipeline.runs import report as run_report

    path = run_report.write_report(outcome, run_report.evaluation_of(outcome), out)
    click.echo(str(path))
    if open_it:
        click.launch(path.resolve().as_uri())
