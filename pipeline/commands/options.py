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
