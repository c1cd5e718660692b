"""`souk playground`: a page that asks serving programs and shows what comes back."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.access import access, access_options
from pipeline.commands.query import Sources, configured
from schema.settings import InputError
from serving.config import DEFAULT_HOST, DEFAULT_MODEL_NAME
from souk_client.client import DEFAULT_TARGET, DEFAULT_TIMEOUT_S
from souk_client.protocol import shard_models
from souk_client.user_state_layout import EVENT_STREAM

if TYPE_CHECKING:
    from serving.playground.live_users import LiveUsers
    from serving.playground.users import Users

DEFAULT_PORT = 8600


@click.command(name="playground")
@click.option(
    "--config", metavar="FILE", help="The pipeline's configuration: its server, user states and catalog are used."
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="HOST:PORT",
    help=f"A server.  [default: {DEFAULT_TARGET}]",
)
@click.option("--name", help=f"Name of the model on each --target.  [default: {DEFAULT_MODEL_NAME}]")
@click.option("--model", "models", multiple=True, metavar="NAME@HOST:PORT", help="A model of its own name; repeatable.")
@click.option(
    "--user-state",
    metavar="URL|FILE",
    help="The users, and what they did before: the Redis of `souk follow` (redis://HOST:PORT/0), or ingestion's "
    "user_state.parquet.",
)
@click.option(
    "--stream",
    default=EVENT_STREAM,
    show_default=True,
    help="With --user-state redis://...: the stream for clicks, which `souk follow redis` reads.",
)
@click.option(
    "--catalog",
    "catalogs",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Catalog to show titles, brands and prices from (.jsonl, .csv, .parquet); repeatable.",
)
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of the page; 0 takes a free one.",
)
@access_options
@click.option("--timeout", default=DEFAULT_TIMEOUT_S, show_default=True, help="Seconds to wait for a server's answer.")
@click.option("--open/--no-open", "open_it", default=True, show_default=True, help="Show the page in the browser.")
def command(
    config: str | None,
    targets: tuple[str, ...],
    name: str | None,
    models: tuple[str, ...],
    user_state: str | None,
    stream: str,
    catalogs: tuple[Path, ...],
    host: str,
    port: int,
    token_file: Path | None,
    ca: Path | None,
    timeout: float,
    open_it: bool,
) -> None:
    """Open a page to search in, look at what users get, and set models side by side.

    It asks only the port that TensorFlow Serving or `souk serve` answers on. Stop it with Ctrl-C.
    """
    from serving.playground.api import Playground
    from serving.playground.catalog import CatalogLayout, CatalogReader
    from serving.playground.models import Models, ServedModel, parse_model
    from serving.playground.server import PlaygroundServer

    if timeout <= 0:
        raise InputError(f"--timeout must be more than 0 seconds, got {timeout:g}.")
    sources = Sources() if config is None else configured(config)
    served = [parse_model(text) for text in models]
    if targets or not served:
        model_name = sources.name if name is None else name
        # Each shard is a model of its own, with the same towers; the page does not merge them.
        names = shard_models(model_name, sources.shards)
        served = [ServedModel(name, target) for target in targets or (sources.target,) for name in names] + served
    allowed = access(token_file, ca)
    playground = Playground(
        Models(served, timeout, credentials=allowed.credentials, token=allowed.token),
        CatalogReader(catalogs or sources.catalog, CatalogLayout(sources.names, sources.further)),
        _users(sources.user_state if user_state is None else user_state, stream),
    )
    server = PlaygroundServer(playground, host, port)
    server.start()
    click.echo(f"ready: {server.url}")
    # Without a screen the system might start a browser for text, in this very terminal.
    if open_it and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        click.launch(server.url)
    try:
        # Polars' handler of Ctrl-C does not interrupt a wait without end.
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    finally:
        server.stop()


def _users(user_state: str | None, stream: str) -> "Users | LiveUsers":
    from serving.user_state.stores import is_redis

    if user_state is not None and is_redis(user_state):
        from serving.playground.live_users import LiveUsers

        return LiveUsers(user_state, stream)
    from serving.playground.users import Users

    return Users(None if user_state is None else Path(user_state))
