"""`souk refresh`: a new catalog for the model that was blessed last."""

import json

import click

from pipeline.commands.options import config_option, json_outcome_option, no_cache_option, set_option
from pipeline.commands.run import execute
from pipeline.exit_codes import ExitCode


@click.command(name="refresh")
@config_option
@set_option
@no_cache_option
@json_outcome_option
@click.option(
    "--delta", is_flag=True, help="Index only what has changed since the last full index, beside it, within a minute."
)
@click.pass_context
def command(
    context: click.Context, config_name: str, overrides: tuple[str, ...], no_cache: bool, as_json: bool, delta: bool
) -> None:
    """Give the last blessed model a new catalog, on this machine: index, gate and push, no training.

    Only the catalog is read. Its items are embedded by the trained model, new ones too, and the new index is measured
    on the requests that the model was evaluated on. If the catalog has not changed, nothing is pushed again.

    Exit codes: 0 pushed, 1 a step failed, 2 bad input, 3 finished but the new index was refused, 4 the catalog cannot
    be used, 75 another run is at work, 130 interrupted.

    With --delta, the items that are new, changed, removed or no longer available are indexed by themselves, in seconds,
    and pushed as a second model beside the full index, with which the client merges it; docs/delta.md.
    """
    if delta:
        _execute_delta(context, config_name, overrides, no_cache, as_json)
    else:
        execute(context, "refresh", config_name, overrides, no_cache, as_json)


def _execute_delta(
    context: click.Context, config_name: str, overrides: tuple[str, ...], no_cache: bool, as_json: bool
) -> None:
    from pipeline import config as pipeline_config
    from pipeline.output_capture import quiet

    config = pipeline_config.load(config_name, overrides)
    click.echo("Loading TensorFlow ...", err=True)
    with quiet():
        from pipeline.delta import refresh_delta
    with quiet():
        outcome = refresh_delta(config, push_unchanged=no_cache)
    if as_json:
        click.echo(json.dumps(outcome.as_dict(), ensure_ascii=False))
    else:
        for line in outcome.lines():
            click.echo(line)
    if outcome.refusals:
        context.exit(ExitCode.REFUSED)
