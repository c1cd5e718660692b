"""The options that several commands share."""

import click

config_option = click.option(
    "--config",
    "config_name",
    required=True,
    metavar="FILE|NAME",
    help="The pipeline's YAML file, or the name of a preset (demo, esci, tiny).",
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace one setting, as in --set train.epochs=3. Repeatable.",
)
no_cache_option = click.option(
    "--no-cache", is_flag=True, help="Run every step, also those whose inputs and settings are unchanged."
)
json_outcome_option = click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
