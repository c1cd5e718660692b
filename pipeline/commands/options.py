"""The options that several commands share."""

import os
from pathlib import Path
from typing import Any

import click


class LocalPath(click.Path):
    """A file or folder that a command writes; a bucket is refused, for which a folder called `gs:` would be made."""

    def __init__(self, **settings: Any):
        super().__init__(path_type=Path, **settings)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path of what was given."""
        if "://" in os.fspath(value):
            self.fail(f"{value} is in a bucket; give a local path, and copy from there", param, ctx)
        return super().convert(value, param, ctx)


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
