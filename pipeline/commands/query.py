"""`souk query`: one question to a serving program, and its answer as a table."""

import glob
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import config as pipeline_config
from pipeline.access import access, access_options
from schema.features import RelevanceControl, Retrieval
from schema.settings import InputError
from serving.config import DEFAULT_HOST, DEFAULT_MODEL_NAME
from souk_client.client import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Answer, ServingError
from souk_client.filters import ColumnFilter, Filters
from souk_client.redis_user_state import without_secrets
from souk_client.sharded_client import connect
from souk_client.user_state import UserState, UserStateUse

if TYPE_CHECKING:
    from serving.item_details import ItemDetails


# Shown under the answer; what is left out needs no word.
_DONE = {
    RelevanceControl.APPLIED: "relevance control: only items of the brands and categories that the query names",
    RelevanceControl.FALLBACK: "relevance control: too few items match what the query names, so nothing is left out",
}


@dataclass(frozen=True)
class Sources:
    """Whom to ask, and what to read beside the answer; None or () where nothing is known.

    The model is in so many `shards`, which are all on `target`. `names` and `further` are as the configuration has them
    for columns of the catalog, of which the `filterable` ones are categorical or numeric.
    """

    target: str = DEFAULT_TARGET
    name: str = DEFAULT_MODEL_NAME
    shards: int = 1
    user_state: str | None = None
    catalog: tuple[Path, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    filterable: tuple[str, ...] = ()


@click.command(name="query")
@click.argument("query")
@click.option("--user", metavar="ID", help="Id of the user who asks.")
@click.option("--k", default=10, show_default=True, help="Most items to show.")
@click.option(
    "--config", metavar="FILE", help="The pipeline's configuration: its server, user states and catalog are used."
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="HOST:PORT",
    help=f"The server; repeated, the server of each shard, in the order of the shards.  [default: {DEFAULT_TARGET}]",
)
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    help="In how many shards the model is, where one server has them all.  [default: one per --target]",
)
@click.option("--allow-partial", is_flag=True, help="Answer without the shards that fail, and say which.")
@click.option("--name", help=f"Name of the model.  [default: {DEFAULT_MODEL_NAME}]")
@click.option(
    "--user-state",
    metavar="URL|FILE",
    help="What the user did before: the Redis of `souk follow` (redis://HOST:PORT/0), or a user_state.parquet.",
)
@click.option(
    "--catalog",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Catalog to show titles, brands and prices from (.jsonl, .csv, .parquet).",
)
@click.option(
    "--relevance-control/--no-relevance-control",
    default=None,
    help="Whether hits must be of the brands and categories that QUERY names.  [default: as the model is set]",
)
@click.option(
    "--retrieval",
    type=click.Choice(Retrieval.ALL),
    help="How items are found: by vectors, by words, or by both.  [default: as the model is set]",
)
@click.option("--brand", "brands", multiple=True, help="Only items of this brand. Repeatable: of any of them.")
@click.option(
    "--category",
    "categories",
    multiple=True,
    metavar="PATH",
    help='Only items under this path ("A > B"). Repeatable.',
)
@click.option("--exclude", multiple=True, metavar="ITEM", help="Leave out the item of this id. Repeatable.")
@click.option("--min-price", type=float, help="Only items that cost as much or more.")
@click.option("--max-price", type=float, help="Only items that cost as much or less.")
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only items of which a further column of the catalog says so: color=red, 'rating>=4'. Repeatable.",
)
@access_options
@click.option("--timeout", default=DEFAULT_TIMEOUT_S, show_default=True, help="Seconds to wait for the answer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    query: str,
    user: str | None,
    k: int,
    config: str | None,
    targets: tuple[str, ...],
    shards: int | None,
    allow_partial: bool,
    name: str | None,
    user_state: str | None,
    catalog: Path | None,
    relevance_control: bool | None,
    retrieval: str | None,
    token_file: Path | None,
    ca: Path | None,
    timeout: float,
    as_json: bool,
    where: tuple[str, ...],
    **filters: Any,
) -> None:
    """Ask a serving program for the items that fit QUERY best."""
    sources = Sources() if config is None else configured(config)
    if shards is None:
        shards = sources.shards if len(targets) < 2 else len(targets)
    targets = targets or (sources.target,)
    sources = Sources(
        name=sources.name if name is None else name,
        user_state=sources.user_state if user_state is None else user_state,
        catalog=sources.catalog if catalog is None else (catalog,),
        names=sources.names,
        filterable=sources.filterable,
    )
    store = _store(user, sources.user_state)
    wanted = Filters(**filters, columns=[ColumnFilter.read(text) for text in where])
    unknown = sorted({one.column for one in wanted.columns} - set(sources.filterable)) if config else []
    if unknown:
        raise InputError(
            f"`ingest.data.catalog_columns` of {config} names no categorical or numeric column {', '.join(unknown)}, "
            f"so the model cannot filter by it; it names {', '.join(sources.filterable) or 'none'}"
        )
    allowed = access(token_file, ca)
    try:
        with connect(
            targets,
            shards,
            model_name=sources.name,
            timeout_s=timeout,
            credentials=allowed.credentials,
            token=allowed.token,
            allow_partial=allow_partial,
        ) as client:
            answer = client.answer(
                query,
                user_id=user,
                user_state=store,
                k=k,
                relevance_control=relevance_control,
                filters=wanted,
                retrieval=retrieval,
            )
    except ServingError as error:
        raise InputError(str(error)) from error
    states = without_secrets(sources.user_state or "")
    if answer.user_state == UserStateUse.UNKNOWN:
        _note(f"nothing is known of {user} in {states}, so the answer is not personalized")
    if answer.user_state == UserStateUse.UNAVAILABLE:
        _note(f"{states} cannot be read now, so the answer is not personalized")
    if k > answer.places:
        _note(f"the served model returns at most {answer.places} items, so {k} cannot be shown")
    if answer.missing_shards:
        missing = ", ".join(map(str, answer.missing_shards))
        _note(f"shard {missing} of {shards} gave no answer, so better items may be missing")
    if relevance_control and answer.relevance_control in (None, RelevanceControl.OFF):
        _note("the served model has no relevance control; train it again to have it")
    details: dict[str, ItemDetails] = {}
    if sources.catalog:
        from serving.item_details import read_details

        details = read_details(sources.catalog, [hit.item_id for hit in answer.hits], sources.names)
    if as_json:
        click.echo(json.dumps(_as_dict(query, user, answer, details), ensure_ascii=False))
    elif answer.hits:
        _print_table(query, answer, details, with_details=bool(sources.catalog))
    else:
        click.echo(f"Nothing found for {query!r}.")


def configured(config: str) -> Sources:
    """The sources that a pipeline's configuration names: a file, or a preset.

    Raises:
      InputError: if it cannot be read.
    """
    loaded = pipeline_config.load(config)
    columns = loaded.ingest.data.catalog_columns
    # A server that listens on every address is asked at this machine's own.
    host = DEFAULT_HOST if loaded.serving.host in ("0.0.0.0", "::") else loaded.serving.host
    catalog = [Path(path) for pattern in loaded.ingest.dated_data.catalog for path in sorted(glob.glob(pattern))]
    return Sources(
        target=f"{host}:{loaded.serving.port}",
        name=loaded.serving.model_name,
        shards=loaded.index.shards,
        user_state=_newest_user_state(Path(loaded.artifacts_root)),
        catalog=tuple(catalog),
        names=loaded.ingest.data.columns.catalog,
        further=columns.names,
        filterable=(*columns.categorical, *columns.numeric),
    )


def _newest_user_state(artifacts: Path) -> str | None:
    # <step>/<output>/<execution>/: a later execution has a larger number.
    found = [path for path in artifacts.glob("*/*/*/user_state.parquet") if path.parent.name.isdigit()]
    return str(max(found, key=lambda path: int(path.parent.name))) if found else None


def _store(user: str | None, user_state: str | None) -> UserState | None:
    if user is None:
        return None
    if user_state is None:
        _note(f"no user states are given or found, so nothing is known of what {user} did before")
        return None
    from serving.user_state.stores import open_user_state

    return open_user_state(user_state)


def _as_dict(query: str, user: str | None, answer: Answer, details: "dict[str, ItemDetails]") -> dict[str, object]:
    hits = [
        {"rank": hit.rank, "item_id": hit.item_id, "score": hit.score, **vars(details[hit.item_id])}
        if hit.item_id in details
        else {"rank": hit.rank, "item_id": hit.item_id, "score": hit.score}
        for hit in answer.hits
    ]
    return {
        "query": query,
        "user": user,
        "personalized": answer.user_state == UserStateUse.FOUND,
        "user_state": answer.user_state,
        "model_version": answer.model_version,
        "relevance_control": answer.relevance_control,
        "missing_shards": answer.missing_shards,
        "delta_version": answer.delta_version,
        "hits": hits,
    }


def _print_table(query: str, answer: Answer, details: "dict[str, ItemDetails]", with_details: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{query}  (model version {answer.model_version})"), title_justify="left")
    table.caption, table.caption_justify = _DONE.get(answer.relevance_control or ""), "left"
    table.add_column("rank", justify="right")
    table.add_column("item", no_wrap=True)
    if with_details:
        table.add_column("title")
        table.add_column("brand")
        table.add_column("price", justify="right")
    table.add_column("score", justify="right")
    for hit in answer.hits:
        cells = [str(hit.rank), hit.item_id]
        if with_details:
            item = details.get(hit.item_id)
            cells += [(item and getattr(item, name)) or "" for name in ("title", "brand", "price")]
        table.add_row(*(escape(cell) for cell in cells), f"{hit.score:.4f}")
    Console().print(table)


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)
