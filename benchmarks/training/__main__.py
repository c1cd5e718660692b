"""How fast models train, beside TensorFlow Recommenders' tutorials, and what training time depends on.

    make bench-training      or   python -m benchmarks.training [--parts tutorial tfrs reading models scaling profile]

Simulates the demo shop and runs the pipeline up to Transform once (in the folder that `make bench-models` uses too), or
takes the artifacts of a finished run with --artifacts. What is compared is timed in turns within one process; a figure
of comparison is the median of the ratios by turn, and the range of the middle 80 % of them follows in brackets.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tf_keras as keras
from rich.console import Console
from rich.table import Table

from benchmarks.demo_shop import simulate_once
from benchmarks.training import data, tutorial
from benchmarks.training.data import Artifacts
from benchmarks.training.op_costs import op_costs
from benchmarks.training.tfrs_parts import loss_contenders, metric_contenders
from benchmarks.training.timing import Contender, Timing, interleave, middle, stepper
from pipeline import config as pipeline_config
from trainer.input import training_batches
from trainer.models import REGISTRY
from trainer.optimizer import make_optimizer

# A request has one positive, the others of the batch are its negatives: what a tutorial's example and step are. Its
# texts are words; of the n-grams Souk reads one a text, the fewest there can be.
TUTORIALS_TASK = (
    "batch_size=512",
    "max_positives=1",
    "negatives.random_ratio=0.0",
    "catalog_queries.share=0.0",
    "history.enabled=false",
    "profile=false",
    "clicked_units=0",
    "query_subwords=1",
    "title_subwords=1",
)
MANY_EPOCHS = 1000
TOP_OPS = 15


def beside_the_tutorials(artifacts: Artifacts, rounds: int) -> Table:
    """`two_tower` against the tutorials' way, on the same pairs, with the same negatives."""
    config = data.trainer_config("two_tower", TUTORIALS_TASK)
    training = data.read_training(artifacts, config)
    tokens = training.sizes.unigrams + training.sizes.bigrams
    table = _comparison(
        f"two_tower beside the tutorials' way: {config.batch_size} (query, item) pairs a step, {tokens:,} tokens, "
        f"width {config.embedding_dim}",
        *("optimizer", "way"),
        ratio="times the tutorials' way",
    )
    rate = config.optimizer.learning_rate
    with tempfile.TemporaryDirectory() as folder:
        theirs = tutorial.write_examples(artifacts, f"{folder}/examples.tfrecord", config.batch_size * data.BATCHES * 2)
        for name, of_keras in (("adam", keras.optimizers.Adam), ("adagrad", keras.optimizers.Adagrad)):
            model = theirs.model(tokens, config, of_keras(rate))
            ours = make_optimizer(config.optimizer.model_copy(update={"name": name}))
            timings = interleave(
                [
                    Contender("tutorials", stepper(model, theirs.batches(config.batch_size)), config.batch_size),
                    training.contender("Souk", ours),
                    training.contender("Souk, Keras' optimizer", of_keras(rate)),
                ],
                rounds,
            )
            _add_rows(table, name, timings)
    return table


def tfrs_parts(artifacts: Artifacts, rounds: int) -> Table:
    """Loss and metrics beside those of TFRS, on the vectors of one step of the default model and of one block."""
    training = data.read_training(artifacts, data.trainer_config("dpsr"))
    title = "loss with gradients of a step, and exact recall@100 of a block of requests, given the vectors"
    table = _comparison(title, "", "way", ratio="times TFRS's speed")
    _add_rows(table, "loss", interleave(loss_contenders(training), rounds))
    _add_rows(table, "metrics", interleave(metric_contenders(training), rounds))
    return table


def reading(artifacts: Artifacts, rounds: int) -> Table:
    """Steps with the real input, shuffled anew in every epoch, against steps on one batch in memory."""
    title = "requests of steps with the real input, and of steps on one batch in memory"
    table = _comparison(title, "model", "input", ratio="times one batch's speed")
    for name in REGISTRY:
        training = data.read_training(artifacts, data.trainer_config(name))
        config = training.config.model_copy(update={"epochs": MANY_EPOCHS})
        model = training.model()
        real = training_batches(training.requests, config, range(config.epochs))
        timings = interleave(
            [
                Contender("one batch", stepper(model, training.batches().skip(1).take(1).cache()), config.batch_size),
                Contender("real", stepper(model, real), config.batch_size),
            ],
            rounds,
        )
        _add_rows(table, name, timings)
    return table


def models(artifacts: Artifacts, rounds: int) -> Table:
    """Each model as the demo configures it."""
    title = "requests of the models, as the demo configures them"
    table = _comparison(title, "", "model", ratio="times two_tower's speed")
    trainings = {name: data.read_training(artifacts, data.trainer_config(name)) for name in REGISTRY}
    timings = interleave([training.contender(name) for name, training in trainings.items()], rounds)
    _add_rows(table, "", timings)
    pairs = trainings["two_tower"].pairs_per_request
    table.caption = f"a request has {pairs:.2f} clicked or ordered items on average"
    return table


def scaling(artifacts: Artifacts, rounds: int, model: str) -> list[Table]:
    """What a step costs as the batch, the catalog and the vocabulary grow."""
    training = data.read_training(artifacts, data.trainer_config(model))
    by_batch = _comparison(f"{model} by batch size", "", "requests a step", ratio="times the first")
    contenders = []
    for size in (128, 512, 2048):
        larger = data.replace(training, config=training.config.model_copy(update={"batch_size": size}))
        contenders.append(larger.contender(f"{size:,}"))
    _add_rows(by_batch, "", interleave(contenders, rounds))

    by_catalog = _comparison(f"{model} by catalog size", "", "items", ratio="times the first")
    contenders = []
    for times in (1, 4, 16):
        larger = data.with_larger_catalog(training, times)
        contenders.append(larger.contender(f"{larger.table.size:,}"))
    _add_rows(by_catalog, "", interleave(contenders, rounds))

    by_vocabulary = _comparison(f"{model} by vocabulary size", "optimizer", "tokens", ratio="times the first")
    rate = training.config.optimizer.learning_rate
    makers: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
        "Souk's Adam": lambda: make_optimizer(training.config.optimizer),
        "Keras' Adam": lambda: keras.optimizers.Adam(rate),
    }
    contenders = []
    for times in (1, 4, 16):
        larger = data.with_larger_vocabulary(training, times)
        tokens = larger.sizes.unigrams + larger.sizes.bigrams
        contenders += [larger.contender(f"{tokens:,}", make()) for make in makers.values()]
    timings = interleave(contenders, max(rounds // 2, 3))
    for place, name in enumerate(makers):
        _add_rows(by_vocabulary, name, timings[place :: len(makers)])
    return [by_batch, by_catalog, by_vocabulary]


def profile(artifacts: Artifacts, model: str) -> Table:
    """The dearest types of op in a step."""
    training = data.read_training(artifacts, data.trainer_config(model))
    contender = training.contender(model)
    for _ in range(data.BATCHES + 5):
        contender.step()
    costs = op_costs(contender.step)
    table = _table(
        f"{model}: where a step's time goes, by type of op", ("op", "ms a step", "calls a step", "share of all ops")
    )
    for cost in costs[:TOP_OPS]:
        table.add_row(cost.type, f"{cost.milliseconds:.2f}", f"{cost.calls:.1f}", f"{cost.share:.1%}")
    total = sum(cost.milliseconds for cost in costs)
    table.caption = f"{total:.1f} ms of ops in a step, on {os.cpu_count()} processors that work side by side"
    return table


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _comparison(title: str, *columns: str, ratio: str) -> Table:
    """A table for `_add_rows`: of what is timed, and `ratio`, of time and of processor time."""
    return _table(title, (*columns, "ms a step", "CPU ms", "a second", ratio, "by CPU"))


def _add_rows(table: Table, group: str, timings: list[Timing]) -> None:
    for timing in timings:
        table.add_row(
            group,
            timing.contender.name,
            f"{timing.milliseconds:.1f}",
            f"{timing.cpu_milliseconds:.1f}",
            f"{timing.examples_per_second:,.0f}",
            "1" if timing is timings[0] else middle(timing.speed_over(timings[0])),
            "1" if timing is timings[0] else middle(timing.thrift_over(timings[0])),
        )
    table.add_section()


def demo_artifacts(folder: Path) -> Artifacts:
    """Of the demo shop, simulated and taken through the pipeline up to Transform where that is not done yet."""
    from pipeline.bench.data import prepare

    logs = folder / "data"
    simulate_once("demo", logs)
    inputs = {"events": "events/*.jsonl.gz", "catalog": "catalog.jsonl.gz", "users": "users.jsonl.gz"}
    settings = [f"root={folder}", *(f"ingest.data.{name}={logs}/{path}" for name, path in inputs.items())]
    done = prepare(pipeline_config.load("demo", settings))
    return Artifacts(done.examples_dir, done.transformed_dir, done.transform_dir)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("tutorial", "tfrs", "reading", "models", "scaling", "profile")
    parser.add_argument("--parts", nargs="*", choices=names, default=names)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-models"), help="for logs and artifacts")
    parser.add_argument("--artifacts", type=Path, help="`artifacts` folder of a run, in place of simulating the demo")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each contender")
    parser.add_argument("--model", choices=list(REGISTRY), default="two_tower", help="for scaling and profile")
    arguments = parser.parse_args()

    artifacts = data.artifacts_of_run(arguments.artifacts) if arguments.artifacts else demo_artifacts(arguments.folder)
    console = Console(width=110)
    console.print(f"{os.cpu_count()} processors; load average before the start {os.getloadavg()[1]:.1f}")
    parts: dict[str, Callable[[], Table | list[Table]]] = {
        "tutorial": lambda: beside_the_tutorials(artifacts, arguments.rounds),
        "tfrs": lambda: tfrs_parts(artifacts, arguments.rounds),
        "reading": lambda: reading(artifacts, arguments.rounds),
        "models": lambda: models(artifacts, arguments.rounds),
        "scaling": lambda: scaling(artifacts, arguments.rounds, arguments.model),
        "profile": lambda: profile(artifacts, arguments.model),
    }
    for name in arguments.parts:
        started = time.perf_counter()
        shown = parts[name]()
        for table in shown if isinstance(shown, list) else [shown]:
            console.print(table)
        print(f"{name}: {time.perf_counter() - started:.0f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        keras.backend.clear_session()
        gc.collect()


if __name__ == "__main__":
    main()
