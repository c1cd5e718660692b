"""`souk bench`: measurements that train models."""

import dataclasses
import json
import os
from pathlib import Path

import click

from pipeline.commands.options import LocalPath, config_option, set_option
from pipeline.exit_codes import ExitCode


@click.group(name="bench")
def command() -> None:
    """Compare models on one data set."""


@command.command(name="models")
@config_option
@set_option
@click.option(
    "--models",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file of variants. Default: the ones of the papers with their parts switched off one by one.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Train this variant, or `tutorial`, alone. Repeatable.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Trainings of each variant.")
@click.option(
    "--out",
    type=LocalPath(file_okay=False),
    default=Path("runs/bench-models"),
    show_default=True,
    help="Folder for data, results, tables and plots.",
)
@click.option("--fresh", is_flag=True, help="Train anew what is on disk already.")
@click.option("--finished", "only_finished", is_flag=True, help="Train nothing; show what is on disk.")
@click.option("--keep-models", is_flag=True, help="Leave every trained model and servable on disk.")
@click.option("--json", "as_json", is_flag=True, help="Print everything that was measured as one JSON object.")
@click.pass_context
def models(
    context: click.Context,
    config_name: str,
    overrides: tuple[str, ...],
    file: Path | None,
    only: tuple[str, ...],
    seeds: int,
    out: Path,
    fresh: bool,
    only_finished: bool,
    keep_models: bool,
    as_json: bool,
) -> None:
    """Train every listed model with several seeds on one data set and compare them.

    Measures recall, NDCG, the order within a search, training speed and query latency on the evaluation days, with
    confidence intervals, beside popularity, BM25, the two-tower model of TFRS's tutorial and, on a simulated shop, what
    its own truth would find. A bench that was stopped goes on where it was when it is started again. Tables, plots and
    JSON are also written to the folder of --out.
    """
    from pipeline import config as pipeline_config
    from pipeline.bench import variants
    from pipeline.output_capture import quiet

    bench = variants.read_bench_file(file or variants.DEFAULT_FILE)
    chosen = variants.choose(bench, only)
    settings = (*overrides, f"root={json.dumps(str(out))}")
    config = pipeline_config.load(config_name, settings)
    tutorial = [variants.TUTORIAL] if not only or variants.TUTORIAL in only else []
    trainings = {
        name: [variants.trainer_config(config_name, settings, bench, name, offset) for offset in range(seeds)]
        for name in (*tutorial, *chosen)
    }
    click.echo("Loading TensorFlow and TFX ...", err=True)
    with quiet():
        from pipeline import local_runner
        from pipeline.bench import output, run
        from pipeline.bench.data import prepare, read_eval_day

    try:
        data = prepare(config)
        with quiet():
            day = read_eval_day(data, config.gate, Path(config.ingest.data.catalog[0]))
        jobs = run.list_jobs(trainings, config, data)
        if fresh and not only_finished:
            run.forget(jobs, out)
        finished = (
            run.read_finished(jobs, out)
            if only_finished
            else output.watched(lambda tell: run.run_jobs(jobs, config, data, day, out, tell, keep_models), out)
        )
        with quiet():
            result = run.summarize(bench, chosen, jobs, finished, config, day)
    except local_runner.StepFailedError as error:
        click.echo(f"Error: {error}", err=True)
        context.exit(ExitCode.FAILED)
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command goes on after the last finished training.", err=True)
        # Beam's worker threads would hold the process until the step that they are in is over.
        os._exit(ExitCode.INTERRUPTED)
    written = output.write(result, out)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(result), ensure_ascii=False))
    else:
        output.show(result, written)
