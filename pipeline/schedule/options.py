"""The options that say which backend and which schedule is meant, and what they stand for."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from schema.settings import InputError

if TYPE_CHECKING:
    from pipeline.schedule.compiled import Compiled
    from pipeline.schedule.plan import Plan
    from pipeline.schedule.service import Service

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _stack(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def add(function: _Command) -> _Command:
        for option in reversed(options):
            function = option(function)
        return function

    return add


target_options = _stack(
    click.option("--target", required=True, type=click.Choice(["kubeflow", "vertex"]), help="What keeps the schedule."),
    click.option("--host", metavar="URL", envvar="KF_PIPELINES_ENDPOINT", help="Kubeflow: the address of the server."),
    click.option(
        "--namespace", metavar="NAME", envvar="SOUK_KUBEFLOW_NAMESPACE", help="Kubeflow: yours, on a server for many."
    ),
    click.option(
        "--cluster-timezone",
        metavar="ZONE",
        envvar="SOUK_KUBEFLOW_TIMEZONE",
        help="Kubeflow: of all its schedules.  [default: UTC]",
    ),
    click.option("--project", metavar="ID", envvar="GOOGLE_CLOUD_PROJECT", help="Vertex: the project."),
    click.option("--location", metavar="REGION", envvar="GOOGLE_CLOUD_REGION", help="Vertex: the region."),
    click.option(
        "--endpoint",
        metavar="HOST",
        envvar="SOUK_VERTEX_ENDPOINT",
        help="Vertex: in place of the region's public endpoint.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object."),
)
plan_options = _stack(
    click.option(
        "--file", type=click.Path(dir_okay=False, path_type=Path), help="The pipeline, as `souk compile` wrote it."
    ),
    click.option(
        "--config", "config_name", metavar="FILE|NAME", help="In place of --file: compile this configuration."
    ),
    click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="With --config: as for `souk compile`."
    ),
    click.option("--image", metavar="IMAGE", help="With --config: the container image of the steps."),
    click.option(
        "--pipeline",
        type=click.Choice(["run", "refresh"]),
        help="Which pipeline.  [default: run, or what --file holds]",
    ),
    click.option(
        "--name", metavar="NAME", default="", help="Of the schedule.  [default: the pipeline's, with -run or -refresh]"
    ),
    click.option("-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="Given to every run."),
    click.option(
        "--experiment", metavar="NAME", default="", help="Kubeflow: groups the runs.  [default: the schedule's name]"
    ),
    click.option(
        "--service-account", metavar="ACCOUNT", default="", envvar="SOUK_SERVICE_ACCOUNT", help="That the steps run as."
    ),
)


def planned(options: dict[str, Any], cron: str, timezone: str = "UTC", catch_up: bool | None = None) -> "Plan":
    """The schedule that `plan_options` and `target_options` describe.

    Raises:
      InputError: an option has no sense, or none with the others.
    """
    from pipeline.schedule import plan
    from pipeline.schedule.cron import Cron

    when = Cron.parse(cron, timezone)
    return plan.plan(
        _compiled(options),
        when,
        options["parameters"],
        options["name"],
        options["experiment"],
        options["service_account"],
        catch_up,
    )


def _compiled(options: dict[str, Any]) -> "Compiled":
    """The pipeline in --file, or what `souk compile` makes of --config."""
    from pipeline.schedule import compiled

    file, config, wanted = options["file"], options["config_name"], options["pipeline"]
    if (file is None) == (config is None):
        raise InputError("say which pipeline: --file for one that `souk compile` wrote, or --config to compile it now")
    if config is None:
        if options["image"] or options["overrides"]:
            raise InputError("--image and --set go with --config; what --file holds is compiled already")
        found = compiled.read(file)
        if wanted not in (None, found.kind):
            raise InputError(f"{file} holds the pipeline `{found.kind}`, not `{wanted}`")
        return found
    from pipeline.commands.compile import compile_pipeline

    job = compile_pipeline(config, options["overrides"], options["image"], options["target"], wanted or "run")
    return compiled.Compiled(job["pipelineSpec"], config)


@contextlib.contextmanager
def service_of(options: dict[str, Any], offline: bool = False) -> "Iterator[Service]":
    """The backend that the options name; what it refuses ends the command with its message and exit code 1."""
    from pipeline.schedule.service import ServiceError

    try:
        yield _kubeflow(options) if options["target"] == "kubeflow" else _vertex(options, offline)
    except ServiceError as error:
        raise click.ClickException(str(error)) from None


def _kubeflow(options: dict[str, Any]) -> "Service":
    from pipeline.schedule.kubeflow import Kubeflow

    _refuse("kubeflow", "project", "location", "endpoint")
    return Kubeflow(options["host"] or "", options["namespace"] or "", options["cluster_timezone"] or "UTC")


def _vertex(options: dict[str, Any], offline: bool) -> "Service":
    from pipeline.schedule.vertex import Vertex

    _refuse("vertex", "host", "namespace", "cluster_timezone", "experiment")
    for option, variable in (("project", "GOOGLE_CLOUD_PROJECT"), ("location", "GOOGLE_CLOUD_REGION")):
        if not options[option]:
            raise InputError(f"Vertex AI needs a {option}: give --{option} or set {variable}")
    return Vertex(options["project"], options["location"], options["endpoint"] or "", offline)


def _refuse(target: str, *names: str) -> None:
    """Options of the other backend are refused where they were typed; in the environment they may well be set."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise InputError(f"--{name.replace('_', '-')} means nothing to --target {target}; leave it out")
