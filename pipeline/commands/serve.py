"""`souk serve`: the local stand-in for TensorFlow Serving."""

from typing import Any

import click

from pipeline import config as pipeline_config
from serving.config import ServingConfig
from serving.server.command import run, serving_options


@click.command(name="serve")
@click.option(
    "--config", metavar="FILE", help="The pipeline's configuration: serve what it pushes, where its `serving` says."
)
@serving_options
def command(config: str | None, **options: Any) -> None:
    """Serve pushed versions over TensorFlow Serving's gRPC and REST protocols.

    New versions in the folder are loaded in the background and swapped in without failing a request. Stop
    with Ctrl-C or SIGTERM. A `ready:` line goes to standard output once every model answers; the log goes to
    standard error.
    """
    base = ServingConfig()
    if config is not None:
        base = pipeline_config.load(config).served()
    run(base, **options)
