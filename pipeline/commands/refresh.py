"""`souk refresh`: a new catalog for the model that was blessed last."""

import click

from pipeline.commands.options import config_option, json_outcome_option, no_cache_option, set_option
from pipeline.commands.run import execute


@click.command(name="refresh")
@config_option
@set_option
@no_cache_option
@json_outcome_option
@click.pass_context
def command(
    context: click.Context, config_name: str, overrides: tuple[str, ...], no_cache: bool, as_json: bool
) -> None:
    """Give the last blessed model a new catalog, on this machine: index, gate and push, no training.

    Only the catalog is read. Its items are embedded by the trained model, new ones too, and the new index is measured
    on the requests that the model was evaluated on. If the catalog has not changed, nothing is pushed again.

    Exit codes: 0 pushed, 1 a step failed, 2 bad input, 3 finished but the new index was refused, 4 the catalog cannot
    be used, 75 another run is at work, 130 interrupted.
    """
    execute(context, "refresh", config_name, overrides, no_cache, as_json)
