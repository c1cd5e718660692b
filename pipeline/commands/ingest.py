"""`souk ingest`: the example generator alone, without TFX and without ML Metadata."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schema.file_errors import naming
from schema.settings import InputError

if TYPE_CHECKING:
    from components.example_gen.config import IngestConfig
    from components.example_gen.ingest import Progress
    from components.example_gen.summary import IngestSummary
    from pipeline.beam import BeamConfig

_STEPS = {
    "read": "Read and validate",
    "catalog": "Write the catalog",
    "join": "Join by request",
    "write": "Write searches",
}


@click.command(name="ingest")
@click.option(
    "--config",
    "config_name",
    required=True,
    metavar="FILE",
    help="The pipeline's YAML file or preset, or a file with its sections `ingest` and `beam` alone.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replaces one setting, e.g. ingest.eval_days=2."
)
@click.option("--out", required=True, metavar="DIR", help="Folder to write; appears whole or not at all.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="In place of `beam.workers`.  [default for `beam.runner: local`: processors, at most 4]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    config_name: str,
    overrides: tuple[str, ...],
    out: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Turn logs and a catalog into training examples; no TFX, no metadata.

    Writes the splits train, eval and catalog as gzipped TFRecords of tf.Example, user_state.parquet, and what could
    not be used, with the reason, under dead_letters.
    """
    from pipeline.output_capture import errors_told_once, quiet

    with quiet():
        from components.example_gen.ingest import run_ingest
        from pipeline.beam import beam_arguments, data_paths, for_ingestion

    config, beam = _load(config_name, overrides)
    arguments = beam_arguments(for_ingestion(beam, workers), [("--out", out), *data_paths(config)])
    with _progress(quiet=as_json) as progress, naming(out), errors_told_once():
        summary = run_ingest(config, out, arguments, progress)
    if as_json:
        click.echo(summary.to_json())
    else:
        _print(summary)


def _load(name: str, overrides: tuple[str, ...]) -> "tuple[IngestConfig, BeamConfig]":
    import yaml

    from components.example_gen.config import IngestConfig
    from pipeline.beam import BeamConfig

    path = Path(name)
    if path.is_file() and not overrides:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not YAML in UTF-8: {' '.join(str(error).split())}") from None
        alone = isinstance(values, dict) and {"ingest"} <= set(values) <= {"ingest", "beam"}
        if alone and isinstance(values["ingest"], dict):
            _anchor(values["ingest"], path.resolve().parent)
            beam = BeamConfig.parse(values.get("beam", {}), f"`beam` of {path}")
            return IngestConfig.parse(values["ingest"], str(path)), beam
    from pipeline import config as pipeline_config

    config = pipeline_config.load(name, overrides)
    return config.ingest, config.beam


def _anchor(values: dict[str, Any], base: Path) -> None:
    """Makes relative input paths relative to the file's folder, as in a pipeline's file."""
    data = values.get("data")
    if not isinstance(data, dict):
        return
    for key in ("events", "ubi_queries", "catalog", "users"):
        if isinstance(data.get(key), str):
            data[key] = [data[key]]
        if isinstance(data.get(key), list):
            data[key] = [
                str(base / Path(path).expanduser()) if isinstance(path, str) and "://" not in path else path
                for path in data[key]
            ]


@contextmanager
def _progress(quiet: bool) -> "Iterator[Progress | None]":
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as bars:
        tasks = {step: bars.add_task(text, total=None) for step, text in _STEPS.items()}
        yield lambda step, done, total: bars.update(tasks[step], completed=done, total=total)


def _print(summary: "IngestSummary") -> None:
    from rich.console import Console
    from rich.table import Table

    from components.example_gen.times import format_timestamp
    from components.example_gen.validate import EXPLANATIONS

    table = Table("what", "count", "", title=f"Ingested into {summary.output} in {summary.seconds:.1f} s")
    table.columns[0].no_wrap = True
    table.columns[1].justify = "right"
    for name, count in summary.counters.items():
        table.add_row(name, f"{count:,}", EXPLANATIONS.get(name.rpartition(".")[2], ""))
    console = Console()
    console.print(table)
    for line in summary.notes():
        # A name and its count stay on one line.
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"train {format_timestamp(summary.train_start_ms)} to {format_timestamp(summary.eval_start_ms)}, "
        f"eval from there to {format_timestamp(summary.end_ms)}"
    )
