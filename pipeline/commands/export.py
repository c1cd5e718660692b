"""`souk export`: what is pushed, in the formats of other engines."""

from pathlib import Path

import click

from pipeline.commands.options import LocalPath, config_option, set_option
from schema.settings import InputError

_FORMATS = ("parquet", "opensearch", "elasticsearch", "vespa", "qdrant")


@click.group(name="export")
def command() -> None:
    """Write what is pushed in the formats of other engines."""


@command.command(name="vectors")
@config_option
@set_option
@click.option("--to", "to", type=click.Choice(_FORMATS), required=True, help="The engine, or Parquet files.")
@click.option("--out", type=LocalPath(), required=True, metavar="DIR", help="A new folder for the files.")
def vectors(config_name: str, overrides: tuple[str, ...], to: str, out: Path) -> None:
    """Write the items of the pushed index, with their vectors and what can be filtered by.

    docs/export.md says how to load the files, and how to ask the engine by the vectors of `encode_query`.
    """
    from pipeline import config as pipeline_config
    from pipeline.output_capture import quiet

    make_new(out)
    config = pipeline_config.load(config_name, overrides)
    click.echo("Loading TensorFlow ...", err=True)
    with quiet():
        from pipeline.delta import find_full
        from pipeline.export.formats import export
        from pipeline.export.items import fields_of, read_items

    full = find_full(config)
    fields = fields_of(full.model.sizes.columns)
    count = export(read_items(full, fields), fields, full.model.config.vector_dim, to, out)
    click.echo(f"Wrote {count:,} items of version {full.version} to {out}")


def make_new(folder: Path) -> None:
    """Makes a folder for an export.

    Raises:
      InputError: there is something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty; give a new folder, so that no file of an earlier export stays")
    folder.mkdir(parents=True, exist_ok=True)
