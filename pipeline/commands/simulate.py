"""`souk simulate`: the logs of a simulated shop."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from marketplace.presets import PRESETS
from pipeline.commands.options import LocalPath


@click.command("simulate")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="Size and language of the shop.  [default: demo, or esci with --catalog]",
)
@click.option("--out", "out_dir", type=LocalPath(), required=True, help="Directory for the shop's files.")
@click.option(
    "--catalog",
    type=click.Path(path_type=Path),
    help="Sell the items of this JSONL(.gz), CSV or Parquet file instead of generated ones.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same bytes.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one setting: page.slots=10. Repeatable.",
)
@click.option("--force", is_flag=True, help="Replace whatever is in the output directory.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    preset: str | None,
    out_dir: Path,
    catalog: Path | None,
    seed: int,
    overrides: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write the logs of a simulated shop, over a generated or a given catalog.

    The directory gets events/day-YYYY-MM-DD.jsonl.gz, catalog.jsonl.gz, users.jsonl.gz and shop.json, which names
    the last day, the one to evaluate on. Nothing in it is real; see the docstring of `marketplace`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table

    from marketplace.presets import choose_settings
    from marketplace.simulation import simulate
    from schema.file_errors import naming

    settings = choose_settings(preset, catalog, seed, overrides)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("days"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulating", total=settings.days)
        with naming(out_dir):
            summary = simulate(settings, out_dir, lambda done, _: bar.update(task, completed=done), force)
    if as_json:
        click.echo(json.dumps(asdict(summary)))
        return
    table = Table(title=f"A simulated shop in {summary.out_dir}", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("days", f"{summary.days}, from {summary.first_day}")
    table.add_row("evaluation starts", summary.eval_start)
    for label, count in (
        ("items", summary.items),
        ("users", summary.users),
        ("needs", summary.intents),
        ("events", summary.events),
        *((f"  {name}", count) for name, count in summary.events_by_type.items()),
        ("rows written, with duplicates", summary.rows_written),
        ("requests with a click on the last day", summary.eval_requests_with_clicks),
    ):
        table.add_row(label, f"{count:,}")
    table.add_row("seconds", f"{summary.seconds:.1f}")
    Console().print(table)
    for note in summary.notes:
        click.echo(f"note: {note}.")
