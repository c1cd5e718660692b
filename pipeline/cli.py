"""The `souk` command. Each subcommand is a module of `pipeline.commands`, imported only when it is called."""

import importlib
import importlib.util
import os
from typing import Any, Final

import click

from pipeline import DISTRIBUTION
from pipeline.exit_codes import ExitCode, code_of
from schema.file_errors import file_error
from schema.secrets import mask
from schema.settings import InputError

COMMANDS: Final = {
    "simulate": "Write the logs of a simulated shop, over a generated or a given catalog.",
    "ingest": "Turn logs and a catalog into training examples; no TFX, no metadata.",
    "schema": "Infer a first data schema from a shop's own logs.",
    "run": "Run the pipeline on this machine, from logs to a pushed model.",
    "refresh": "Give the last blessed model a new catalog: index, gate and push, no training.",
    "compile": "Write the pipeline as a file that Kubeflow Pipelines or Vertex AI runs.",
    "schedule": "Run a compiled pipeline by the clock, on Kubeflow Pipelines or Vertex AI.",
    "status": "Show runs, steps, metrics, blessings and pushed versions.",
    "report": "Write the report of a run as one HTML page.",
    "export": "Write the pushed index's vectors for other engines.",
    "evaluate": "Measure a pushed model against graded judgments.",
    "bench": "Train several models on one data set and compare them.",
    "serve": "Serve the pushed versions over TF Serving's gRPC protocol.",
    "follow": "Keep user states fresh from live events.",
    "query": "Ask a serving program for the items of one query.",
    "load": "Send traffic to a serving program and find the rate that it cannot follow.",
    "playground": "Open a page to search in, and set models side by side.",
}

# The extra with what a command imports beyond the base install; `pipeline` for those that are not here.
_EXTRAS: Final = {"query": None, "load": None, "serve": "serving", "playground": "serving", "bench": "bench"}
# Modules that a command needs for what it was asked, whatever else it needs.
_EXTRAS_OF_MODULES: Final = {"redis": "redis", "prometheus_client": "redis", "confluent_kafka": "kafka"}
# TFX states Python below 3.11 and works on it; only with the locked versions does pip find a set that fits.
_LOCKED: Final = "--ignore-requires-python -c requirements.lock "


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name, in the order in which a new user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The click command called `cmd_name`, or None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pipeline.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `souk --help`, written from `COMMANDS` so that no command need be imported."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; bad input and a bad disk end it with a message and no stack trace."""
        try:
            return self._invoke_installed(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(ExitCode.INTERRUPTED) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            told = error if isinstance(error, InputError) else file_error(error)
            if told is None:
                raise
            click.ClickException(mask(str(told))).show()
            raise click.exceptions.Exit(code_of(told)) from None

    def _invoke_installed(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            command, module = ctx.invoked_subcommand or "", (error.name or "").partition(".")[0]
            extra = _EXTRAS_OF_MODULES.get(module, _EXTRAS.get(command, "pipeline"))
            if extra is None or not module or importlib.util.find_spec(module) is not None:
                raise
            options, where = ("", "") if extra == "serving" else (_LOCKED, " in a checkout of Souk")
            raise InputError(
                f"`souk {command}` needs `{module}`, which is not installed: "
                f"run pip install {options}'{DISTRIBUTION}[{extra}]'{where}."
            ) from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=DISTRIBUTION, prog_name="souk")
def main() -> None:
    """Souk: from raw search logs to a gated, served, personalized product retriever."""
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


if __name__ == "__main__":
    main()
