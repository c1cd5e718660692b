"""`souk evaluate`: a pushed model against graded judgments, beside BM25."""

import dataclasses
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schema.settings import InputError

if TYPE_CHECKING:
    from evaluation.bootstrap import Estimate
    from evaluation.judged import JudgedEvaluation


@click.command(name="evaluate")
@click.option(
    "--judgments",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="ESCI judgments as JSON lines, or TREC qrels; also .gz.",
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
    "--format",
    "form",
    type=click.Choice(["auto", "esci", "trec"]),
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
@click.option("--ks", default="10,50,100,200", show_default=True, help="List lengths to measure at.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    judgments: Path,
    catalog: str | None,
    config_name: str | None,
    model_dir: Path | None,
    servable: Path | None,
    form: str,
    queries: Path | None,
    ks: str,
    as_json: bool,
) -> None:
    """Measure a pushed model against graded judgments, beside BM25 over the same catalog.

    Prints the mean over queries of the share of right items (ESCI: E) among the first k, and NDCG. "As served"
    is what the model answers through its index; ks beyond the length of its answer are measured by exact
    search over its vectors. Queries are asked without a user.
    """
    config = None
    if config_name is not None:
        from pipeline.config import load

        config = load(config_name)
        if model_dir is None and servable is None:
            model_dir = Path(config.model_directory)
    if (model_dir is None) == (servable is None):
        raise InputError("give either --model-dir (the folder of pushed versions) or --servable (one version)")
    if catalog is None and config is None:
        raise InputError("give --catalog (the file) or --config (the pipeline's configuration, which names it)")
    lengths = _lengths(ks)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    # What is quick to check is checked before TensorFlow is loaded.
    from evaluation.judgments import read_judgments

    judged = read_judgments(judgments, form, queries)  # type: ignore[arg-type]
    from components.example_gen.catalog_file import read_catalog_file
    from evaluation.judged import evaluate_judgments, newest_version

    found = read_catalog_file(catalog, config.ingest if config else None)
    if found.unusable_rows:
        click.echo(f"note: {found.unusable_rows:,} catalog rows cannot be used and are left out", err=True)
    path = servable if servable is not None else newest_version(model_dir)  # type: ignore[arg-type]
    result = evaluate_judgments(
        path, found.catalog, judged, lengths, progress=lambda step: click.echo(f"{step} ...", err=True)
    )
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(result), ensure_ascii=False))
    else:
        _print(result)


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
    for prefix, title in (("recall", f"Share of {result.right_name} among the first k"), ("ndcg", "NDCG")):
        console.print(_table(result, prefix, title))
    if result.queries_without:
        console.print(f"{result.queries_without:,} queries have none of the {result.right_name} and are left out.")
    if result.right_missing:
        console.print(
            f"{result.right_missing:,} of the {result.right_name} are not in the catalog and count as not found."
        )
    if result.served_k < result.ks[-1]:
        console.print(f"The model answers {result.served_k} items; beyond that only exact search is measured.")


def _table(result: "JudgedEvaluation", prefix: str, title: str) -> object:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("")
    for k in result.ks:
        table.add_column(f"@{k}", justify="right")
    for system in result.systems:
        table.add_row(system.label, *(_cell(system.metrics.get(f"{prefix}@{k}")) for k in result.ks))
    for system in result.systems:
        if system.over_bm25:
            leads = [_cell(system.over_bm25.get(f"{prefix}@{k}"), "+.3f") for k in result.ks]
            table.add_row(f"{system.label} − BM25", *leads)
    return table


def _cell(estimate: "Estimate | None", form: str = ".3f") -> str:
    if estimate is None:
        return "–"
    return f"{estimate.value:{form}}\n[dim]{estimate.low:{form}}…{estimate.high:{form}}[/]"
