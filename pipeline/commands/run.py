"""`souk run`: the pipeline on this machine."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import click

from pipeline.commands.options import config_option, json_outcome_option, no_cache_option, set_option
from pipeline.exit_codes import ExitCode

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig
    from pipeline.runs.metadata import Kind, Run

# Seconds after Ctrl-C or SIGTERM until the process ends in any case; it may be killed at any point.
_GRACE_S: Final = 10.0


@click.command(name="run")
@config_option
@set_option
@no_cache_option
@json_outcome_option
@click.pass_context
def command(
    context: click.Context, config_name: str, overrides: tuple[str, ...], no_cache: bool, as_json: bool
) -> None:
    """Run the pipeline on this machine, from logs to a pushed model.

    A step whose inputs and settings have not changed since it last succeeded is taken from cache. A run that was
    stopped at any point goes on from the last finished step when it is started again.

    Exit codes: 0 pushed, 1 a step failed, 2 bad input, 3 finished but the model was refused, 4 the data cannot be used,
    75 another run is at work, 130 interrupted.
    """
    execute(context, "run", config_name, overrides, no_cache, as_json)


def execute(
    context: click.Context, kind: "Kind", config_name: str, overrides: tuple[str, ...], no_cache: bool, as_json: bool
) -> None:
    """Runs the pipeline or its shorter form, prints what came of it, and ends with the exit code that says so."""
    from pipeline import config as pipeline_config
    from pipeline.output_capture import quiet
    from schema.settings import InputError

    config = pipeline_config.load(config_name, overrides)
    click.echo("Loading TensorFlow and TFX ...", err=True)
    with quiet():
        from pipeline import local_runner
        from pipeline.refresh import CREATE

    try:
        with _interruptible():
            run = local_runner.run(config, use_cache=not no_cache, create=CREATE[kind])
    except local_runner.StepFailedError as error:
        _show_findings(config)
        click.echo(f"Error: {error}", err=True)
        context.exit(ExitCode.FAILED)
    except InputError:
        _show_findings(config)
        raise
    except KeyboardInterrupt:
        click.echo(f"Interrupted; the next `souk {kind}` goes on from the last finished step.", err=True)
        # Beam's worker threads would hold the process until the step that they are in is over.
        os._exit(ExitCode.INTERRUPTED)
    _print_outcome(context, config, run, as_json)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM end the run, even where they come in the middle of code that lets no exception out.

    As the first process of a container this one would not be ended by a SIGTERM that it does not handle.
    """

    def interrupt(signal_number: int, frame: object) -> None:
        end = threading.Timer(_GRACE_S, os._exit, args=(ExitCode.INTERRUPTED,))
        end.daemon = True
        end.start()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show_findings(config: "PipelineConfig") -> None:
    """Shows why the data was refused, if that is what ended the newest run."""
    from pipeline.runs import history, metadata, tables

    # The disk that failed the run may fail this, too; the first error is the one to tell.
    with suppress(Exception):
        for run in metadata.read_runs(config.metadata_path, config.name, last=1):
            check = history.schema_check(run, config.artifacts_root)
            if check is not None and not check.passed and check.anomalies:
                tables.console(stderr=True).print(tables.anomalies_table(check.anomalies))


def _print_outcome(context: click.Context, config: "PipelineConfig", run: "Run", as_json: bool) -> None:
    from rich.markup import escape

    from pipeline.runs import history, report, tables

    # Earlier runs, of which there may be thousands, are not read: nothing of them is shown here.
    outcome = history.outcome_of(run, history.RunHistory.of(config, [run]))
    evaluation = report.evaluation_of(outcome)
    written = report.write_report(outcome, evaluation)
    summary = history.summary_path(config.root, run.number)
    if as_json:
        files = {"report": str(written), "summary": str(summary), "log": outcome.files.log}
        click.echo(json.dumps({**tables.line(outcome), **files}, ensure_ascii=False))
    else:
        console = tables.console()
        shards = config.index.shards
        if outcome.schema is not None and outcome.schema.anomalies:
            console.print(tables.anomalies_table(outcome.schema.anomalies))
        for note in outcome.data.notes if outcome.data else ():
            console.print(note, markup=False, highlight=False)
        console.print(tables.evaluation_table(evaluation))
        left_out = evaluation.sample.left_out
        if left_out and left_out not in outcome.refusals:
            console.print(left_out, markup=False, highlight=False)
        if outcome.state == "cached":
            console.print("Nothing has changed since this was done by an earlier run:")
        if outcome.push is not None and outcome.push.pushed:
            console.print(f"[green]Pushed[/] version {outcome.push.version} to {escape(outcome.push.destination)}")
            where = f"--model-dir {config.model_directory}" + (f" --shards {shards}" if shards > 1 else "")
            console.print(f"Serve it:   souk serve {escape(where)}")
        else:
            console.print(tables.not_pushed(outcome))
        console.print(f"Report:     {escape(str(written))}")
        console.print(f"Summary:    {escape(str(summary))}")
        console.print(f"Whole log:  {escape(outcome.files.log)}")
    if outcome.exit_code != ExitCode.DONE:
        context.exit(outcome.exit_code)
