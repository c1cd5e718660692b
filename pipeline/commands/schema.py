"""`souk schema`: a first data schema for a shop's own data."""

from pathlib import Path

import click

from pipeline.commands.options import LocalPath, config_option, set_option


@click.command(name="schema")
@config_option
@set_option
@click.option(
    "--out",
    required=True,
    type=LocalPath(dir_okay=False),
    metavar="FILE",
    help="Where to write it; an existing file is not replaced.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(config_name: str, overrides: tuple[str, ...], out: Path, force: bool) -> None:
    """Infer a first data schema from a shop's own logs.

    Ingests the data of the configuration and keeps what is found in it: which features there are and how complete
    they are. Read it through, then name it in `schema_gate.schema_path`.
    """
    from pipeline import config as pipeline_config
    from pipeline.output_capture import errors_told_once, quiet
    from schema.file_errors import naming
    from schema.settings import InputError

    if out.exists() and not force:
        raise InputError(f"{out} exists; give --out another path, or --force to replace it")
    config = pipeline_config.load(config_name, overrides)
    click.echo("Ingesting, then counting ...", err=True)
    with quiet():
        from pipeline.schema_draft import draft_schema

        # Where the workers of a cluster see it.
        shared = config.root if config.beam.on_cluster else None
        with errors_told_once():
            text = draft_schema(config.ingest, config.beam_arguments(), shared)
    with naming(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    click.echo(str(out))
