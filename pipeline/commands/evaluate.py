"""`souk evaluate`: a pushed model against graded judgments, beside BM25."""

import dataclasses
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schema.settings import InputError

if TYPE_CHECKING:
    from evaluation.bootstrap import Estimate
    from evaluation.judged import JudgedEvaluation
    from pipeline.config import PipelineConfig


@click.command(name="evaluate")
@click.option(
    "--judgments",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="ESCI judgments as JSON lines, TREC qrels, or Quepid's CSV; also .gz.",
)
@click.option(
    "--catalog",
    metavar="FILE",
    help="The catalog the model was trained on (.jsonl, .csv, .parquet).  [default: that of --config]",
)
@click.option(
    "--config",
    "config_name",
    metavar="FILE|NAME",
    help="The pipeline's configuration: its pushed versions, its catalog, and which columns of that are read.",
)
@click.option(
    "--model-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of pushed versions.  [default: that of --config]",
)
@click.option("--servable", type=click.Path(path_type=Path), metavar="DIR", help="Folder of one version instead.")
@click.option(
    "--run",
    "number",
    type=click.IntRange(min=1),
    metavar="N",
    help="The servable of this run of --config, pushed or not, instead; `souk status` lists them.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "esci", "trec", "quepid"]),
    default="auto",
    show_default=True,
    help="Form of the judgments.",
)
@click.option(
    "--queries",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="For TREC qrels: query id, tab, query text per line.",
)
@click.option(
    "--relevant-from",
    metavar="GRADE",
    help="The lowest grade that counts as right: E, S or C of ESCI's, else a number.  [default: E or 1]",
)
@click.option("--ks", default="10,50,100,200", show_default=True, help="List lengths to measure at.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    judgments: Path,
    catalog: str | None,
    config_name: str | None,
    model_dir: Path | None,
    servable: Path | None,
    number: int | None,
    form: str,
    queries: Path | None,
    relevant_from: str | None,
    ks: str,
    as_json: bool,
) -> None:
    """Measure a pushed model against graded judgments, beside BM25 over the same catalog.

    Prints the mean over queries of the share of right items among the first k, and NDCG; both also without the hits
    that nobody has judged, whose share it prints too. Of a model that can retrieve by vectors, by words and by both
    each is measured; ks beyond the length of its answer are measured by exact search over its vectors. Queries are
    asked without a user.
    """
    places = {"--model-dir": model_dir, "--servable": servable, "--run": number}
    given = [name for name, value in places.items() if value is not None]
    if len(given) > 1 or not (given or config_name):
        got = f"got {' and '.join(given)}; " if given else ""
        raise InputError(
            f"{got}give one of --model-dir (the folder of pushed versions), --servable (one version), or --config (the "
            "pipeline's configuration), with which --run N says of which run"
        )
    if config_name is None and number is not None:
        raise InputError(f"--run {number} is a run of a pipeline; give its configuration with --config")
    if config_name is None and catalog is None:
        raise InputError("give --catalog (the file) or --config (the pipeline's configuration, which names it)")
    lengths = _lengths(ks)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    config = None
    if config_name is not None:
        from pipeline.config import load

        config = load(config_name)
    # What is quick to check is checked before TensorFlow is loaded.
    from evaluation.judgments import check_overlap, read_judgments

    judged = read_judgments(judgments, form, queries, relevant_from)  # type: ignore[arg-type]
    if config is not None and number is not None:
        servable = _servable_of_run(config, number, str(config_name))
    from components.example_gen.catalog_file import read_catalog_file

    found = read_catalog_file(catalog, config.ingest if config else None)
    if found.unusable_rows:
        click.echo(f"note: {found.unusable_rows:,} catalog rows cannot be used and are left out", err=True)
    check_overlap(judged, found.item_ids)
    from evaluation.judged import evaluate_judgments, newest_version

    if servable is None:
        servable = newest_version(model_dir or Path(config.model_directory))  # type: ignore[union-attr]
    result = evaluate_judgments(
        servable, found.catalog, judged, lengths, progress=lambda step: click.echo(f"{step} ...", err=True)
    )
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(result), ensure_ascii=False))
    else:
        _print(result)


def _servable_of_run(config: "PipelineConfig", number: int, config_name: str) -> Path:
    from pipeline.runs.history import numbered
    from schema.artifacts import SERVING_FOLDER

    run = numbered(config, number, config_name)
    if run.index is None:
        raise InputError(f"run {number} built no servable: {run.note or run.result}. `souk status` lists the runs")
    servable = Path(run.index.uri, SERVING_FOLDER)
    if not servable.is_dir():
        raise InputError(f"the servable of run {number} is no longer at {servable}; `souk run` builds it again")
    return servable


def _lengths(text: str) -> list[int]:
    try:
        lengths = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--ks {text} is not a list of whole numbers; write for example --ks 10,100") from None
    if min(lengths) < 1:
        raise InputError(f"--ks {text}: each k must be 1 or more")
    return lengths


def _print(result: "JudgedEvaluation") -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    console.print(f"[bold]{escape(result.servable)}[/]", highlight=False)
    console.print(
        f"{result.queries:,} queries, {result.right:,} {result.right_name}, {result.catalog_items:,} items in the "
        f"catalog. Means over queries, below them their {result.confidence:.0%} intervals.",
        highlight=False,
    )
    right = f"Share of {result.right_name} among the first k"
    unjudged = "without the hits that nobody has judged"
    for title, part, metric in (
        (right, "metrics", "recall"),
        ("NDCG", "metrics", "ndcg"),
        (f"{right}, {unjudged}", "condensed", "recall"),
        (f"NDCG, {unjudged}", "condensed", "ndcg"),
        ("Share of the first k hits that are judged", "judged", "judged"),
    ):
        # As a title of the table it would be broken to the table's width.
        console.print(f"\n[bold]{escape(title)}[/]", highlight=False)
        console.print(_table(result, part, metric))
    grades = ", ".join(f"{count:,} of grade {grade}" for grade, count in result.grades.items())
    console.print(f"Judgments: {escape(grades)}.", highlight=False)
    if result.queries_without:
        console.print(f"{result.queries_without:,} queries have none of the {result.right_name} and are left out.")
    if result.right_missing:
        console.print(
            f"{result.right_missing:,} of the {result.right_name} are not in the catalog and count as not found."
        )
    if result.served_k < result.ks[-1]:
        beyond = "beyond that only exact search and BM25 are measured"
        console.print(f"The model answers {result.served_k} items; {beyond}.")


def _table(result: "JudgedEvaluation", part: str, metric: str) -> object:
    """A metric of one part of every system's figures; of the plain metrics intervals and leads over BM25, too."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    is_plain = part == "metrics"
    names = [f"{metric}@{k}" for k in result.ks]
    table = Table(box=SIMPLE_HEAD)
    table.add_column("")
    for k in result.ks:
        table.add_column(f"@{k}", justify="right")
    for system in result.systems:
        found: Mapping[str, Estimate] = getattr(system, part)
        table.add_row(system.label, *(_cell(found.get(name), with_interval=is_plain) for name in names))
    for system in result.systems if is_plain else ():
        if system.over_bm25:
            table.add_row(f"{system.label}, over BM25", *(_cell(system.over_bm25.get(name), "+.3f") for name in names))
    return table


def _cell(estimate: "Estimate | None", form: str = ".3f", with_interval: bool = True) -> str:
    if estimate is None:
        return "–"
    interval = f"\n[dim]{estimate.low:{form}}…{estimate.high:{form}}[/]" if with_interval else ""
    return f"{estimate.value:{form}}{interval}"
