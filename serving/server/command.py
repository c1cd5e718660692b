"""The serving program's command line, which `souk serve` shares; heavy imports only when it runs."""

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from schema.settings import InputError
from serving.config import ServingConfig
from serving.server import versions

_DEFAULTS = ServingConfig()
_OPTIONS = (
    click.option(
        "--model-dir",
        type=click.Path(path_type=Path),
        help="Folder that holds one numbered folder per version, as `souk run` pushes them.",
    ),
    click.option(
        "--model-config-file",
        type=click.Path(path_type=Path),
        help="TensorFlow Serving's models.config, for several models, version policies and labels.",
    ),
    click.option(
        "--model-config-poll-interval",
        "model_config_poll_interval_s",
        type=float,
        help="Seconds between two looks at that file; 0 reads it once.  [default: 0]",
    ),
    click.option("--name", "model_name", help=f"Name of the model.  [default: {_DEFAULTS.model_name}]"),
    click.option("--versions", type=int, help="How many of the newest versions to serve at once.  [default: 1]"),
    click.option(
        "--shards",
        type=int,
        help="In how many shards the model was pushed (`index.shards`). All are served, from DIR-shard-0-of-N and so "
        "on, as NAME-shard-0-of-N and so on.  [default: 1]",
    ),
    click.option("--host", help=f"Address to listen on.  [default: {_DEFAULTS.host}]"),
    click.option("--port", type=int, help=f"Port of gRPC; 0 takes a free one.  [default: {_DEFAULTS.port}]"),
    click.option(
        "--rest-port",
        type=int,
        help="Port of REST and of Prometheus' metrics; 0 takes a free one, -1 switches REST off.  [default: 8501, "
        "or a free one with --port 0]",
    ),
    click.option(
        "--poll-interval",
        "poll_interval_s",
        type=float,
        help=f"Seconds between two looks for new versions.  [default: {_DEFAULTS.poll_interval_s:g}]",
    ),
    click.option(
        "--enable-batching/--no-enable-batching",
        default=None,
        help="Run requests that wait at the same time together.  [default: enable-batching]",
    ),
    click.option(
        "--batching-parameters-file",
        type=click.Path(path_type=Path),
        help="TensorFlow Serving's BatchingParameters as text: max_batch_size, batch_timeout_micros and others.",
    ),
    click.option(
        "--threads",
        type=int,
        help="Requests worked on at once.  [default: 64; without batching two per core, at least 4]",
    ),
    click.option(
        "--max-request-bytes",
        type=int,
        help=f"Size of the largest request that is read.  [default: {_DEFAULTS.max_request_bytes}]",
    ),
    click.option(
        "--ssl-config-file",
        type=click.Path(path_type=Path),
        help="TensorFlow Serving's SSLConfig as text, for TLS on both ports.",
    ),
    click.option(
        "--auth-token-file",
        type=click.Path(path_type=Path),
        help="File with a token a line; every request must bring one as `authorization: Bearer TOKEN`.",
    ),
    click.option("--ready-file", type=click.Path(path_type=Path), help="Written as JSON when the port is open."),
    click.option("--parent-pid", type=int, hidden=True, help="Stop when this process is no longer the parent."),
)


def serving_options(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a click command every option that `run` takes; one that is not given is None."""
    return functools.reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), function)


def run(base: ServingConfig, ready_file: Path | None, parent_pid: int | None, **given: Any) -> None:
    """Serves as `base` says, with the settings that were given on the command line, until told to stop.

    Raises:
      InputError: if a setting is out of range, or the folder or the port cannot be used.
    """
    chosen = {
        key: str(value) if isinstance(value, Path) else value for key, value in given.items() if value is not None
    }
    config = ServingConfig.parse({**base.model_dump(), **chosen}, source="the command line")
    # Found out now, a wrong folder costs no wait for TensorFlow.
    if config.model_config_file is None:
        for folder in config.model_folders().values():
            versions.base_folder(folder)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(message)s", force=True
    )
    logging.getLogger("souk").setLevel(logging.INFO)
    # It warns that sessions, which TensorFlow Serving runs models in, are not the newest way.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # TensorFlow reports missing graphics cards as errors; what goes wrong with a model is raised, not logged.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # With oneDNN, TensorFlow has an allocator that keeps the memory of a model that is gone.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    logging.getLogger("souk.serve").info("starting; TensorFlow takes a few seconds to import")

    from serving.server.server import serve

    serve(config, announce=click.echo, ready_file=ready_file, parent=parent_pid)


@click.command()
@serving_options
def command(**options: Any) -> None:
    """Serve versions of models over TensorFlow Serving's gRPC and REST protocols."""
    run(_DEFAULTS, **options)


def main() -> None:
    """Entry point of `python -m serving.server`: bad input ends with a message and code 2."""
    try:
        command(prog_name="python -m serving.server")
    except InputError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
