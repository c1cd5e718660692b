"""`souk serve` and `python -m serving.server`: one command, heavy imports only when it runs."""

import logging
import os
import sys
import warnings
from pathlib import Path

import click

from schema.settings import InputError
from serving import config as serving_config
from serving.server import versions


@click.command(name="serve")
@click.option(
    "--model-dir",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder that holds one numbered folder per version, as `souk run` pushes them.",
)
@click.option("--name", default=serving_config.DEFAULT_MODEL_NAME, show_default=True, help="Name of the model.")
@click.option("--host", default=serving_config.DEFAULT_HOST, show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=serving_config.DEFAULT_PORT, show_default=True, help="Port of gRPC; 0 takes a free one."
)
@click.option("--poll-interval", default=1.0, show_default=True, help="Seconds between two looks for new versions.")
@click.option("--threads", default=0, help="Requests worked on at once; 0 takes two per core, at least 4.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written as JSON when the port is open.")
@click.option("--parent-pid", type=int, hidden=True, help="Stop when this process is no longer the parent.")
def command(
    model_dir: Path,
    name: str,
    host: str,
    port: int,
    poll_interval: float,
    threads: int,
    ready_file: Path | None,
    parent_pid: int | None,
) -> None:
    """Serve the newest pushed model over TensorFlow Serving's gRPC protocol.

    New versions in the folder are loaded in the background and swapped in without failing a request. Stop
    with Ctrl-C or SIGTERM. A `ready:` line goes to standard output once a version answers; the log goes to
    standard error.
    """
    config = serving_config.ServingConfig.parse(
        {
            "model_name": name,
            "model_dir": str(model_dir),
            "host": host,
            "port": port,
            "poll_interval_s": poll_interval,
            "threads": threads,
        },
        source="the command line",
    )
    # Found out now, a wrong folder costs no wait for TensorFlow.
    versions.base_folder(config.model_dir)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(message)s", force=True
    )
    logging.getLogger("souk").setLevel(logging.INFO)
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # TensorFlow reports missing graphics cards as errors; what goes wrong with a model is raised, not logged.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    logging.getLogger("souk.serve").info("starting; TensorFlow takes a few seconds to import")

    from serving.server.server import serve

    serve(config, announce=lambda line: click.echo(line), ready_file=ready_file, parent=parent_pid)


def main() -> None:
    """Entry point of `python -m serving.server`: bad input ends with a message and code 2."""
    try:
        command(prog_name="python -m serving.server")
    except InputError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
