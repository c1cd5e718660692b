"""`souk compile`: the pipeline as a file that Kubeflow Pipelines or Vertex AI runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import LocalPath, config_option, set_option

if TYPE_CHECKING:
    from pipeline.compilation import Target
    from pipeline.runs.metadata import Kind


def compile_pipeline(
    config_name: str,
    overrides: Sequence[str],
    image: str | None,
    target: "Target",
    kind: "Kind",
    use_cache: bool = True,
) -> dict[str, Any]:
    """The pipeline of a configuration as a `PipelineJob`; the arguments are the options of `souk compile`.

    Raises:
      InputError: the configuration is wrong or does not fit a cluster.
    """
    from pipeline import config as pipeline_config
    from pipeline.output_capture import quiet

    config = pipeline_config.load(config_name, (*overrides, *([f"image={image}"] if image else [])))
    click.echo("Loading TensorFlow and TFX ...", err=True)
    with quiet():
        from pipeline import compilation

        return compilation.compile_job(config, target, use_cache, kind)


@click.command(name="compile")
@config_option
@set_option
@click.option(
    "--target", required=True, type=click.Choice(["kubeflow", "vertex"]), help="What the pipeline is to run on."
)
@click.option(
    "--pipeline",
    "kind",
    default="run",
    show_default=True,
    type=click.Choice(["run", "refresh"]),
    help="The whole pipeline, or the shorter one that refreshes the catalog.",
)
@click.option(
    "--output",
    required=True,
    type=LocalPath(dir_okay=False),
    help="The file: .yaml; for Vertex or .json.",
)
@click.option("--image", help="The container image of the steps, in place of the configuration's `image`.")
@click.option("--no-cache", is_flag=True, help="Run every step, also those whose inputs and parameters are unchanged.")
@click.option("--json", "as_json", is_flag=True, help="Print what was compiled as one JSON object.")
def command(
    config_name: str,
    overrides: tuple[str, ...],
    target: "Target",
    kind: "Kind",
    output: Path,
    image: str | None,
    no_cache: bool,
    as_json: bool,
) -> None:
    """Compile the pipeline for a cluster.

    The file holds the steps, their containers, resources and retries. Every run of it is given its date, and may be
    given other paths, another model type and other thresholds.
    """
    job = compile_pipeline(config_name, overrides, image, target, kind, use_cache=not no_cache)
    from pipeline import compilation

    compilation.write_job(job, output, target)
    spec = job["pipelineSpec"]
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    if as_json:
        defaults = {name: parameter.get("defaultValue") for name, parameter in parameters.items()}
        steps = sorted(spec["root"]["dag"]["tasks"])
        click.echo(json.dumps({"output": str(output), "steps": steps, "parameters": defaults}, ensure_ascii=False))
        return

    from rich.table import Table

    from pipeline.runs import tables

    table = Table("parameter", "default", "meaning", title=f"What a run of {output} may be given")
    for name, parameter in sorted(parameters.items()):
        table.add_row(name, parameter.get("defaultValue", "(required)"), parameter["description"])
    tables.console().print(table)
