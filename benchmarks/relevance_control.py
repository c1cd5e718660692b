"""What relevance control understands, keeps and discards on the demo shop's last day.

    make bench-relevance_control    or  python -m benchmarks.relevance_control [--folder runs/bench-relevance]

Simulates the demo shop, runs the pipeline (unchanged steps come from cache), and asks the servable each request of the
evaluation day twice, without and with relevance control. Prints for how many queries it understood a brand or a
category, which share of the clicked items it would keep (its precision: the rest are wanted items that it would hide),
which share of the hits it discards, and recall with and without. The logs are simulated: the numbers say how the parts
work together on this shop and promise nothing for another.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks.demo_shop import EXAMPLES, MODEL, SERVABLE, run_demo
from components.index_builder.servable import raw_search_spec
from components.recall_gate.config import GateConfig
from evaluation import metrics
from evaluation.bootstrap import Estimate, QueryBootstrap
from evaluation.eval_set import EvalCatalog, EvalRequests, normalize_query, read_catalog, read_requests
from evaluation.servable import LoadedServable
from schema import features, transformed
from schema.features import RelevanceControl
from souk_client.protos import example_pb2
from trainer import artifact
from trainer.artifact import TrainedModel
from trainer.input import SearchReader
from trainer.query_understanding import FIELDS, understand

_BATCH = 256
_TIMED = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-relevance"))
    parser.add_argument("--model", default="dpsr", choices=("two_tower", "dpsr", "mgdspr", "mmse"))
    parser.add_argument("--parts", nargs=3, metavar="DIR", help="examples, model and servable of a run that is there")
    arguments = parser.parse_args()
    examples, model_dir, servable_dir = arguments.parts or run(arguments.folder, arguments.model)
    gate, catalog = GateConfig(), read_catalog(examples)
    requests = read_requests(examples, catalog, gate.max_eval_requests, gate.seed, gate.gains)
    model, servable = artifact.load(model_dir), LoadedServable(servable_dir)
    console = Console(width=130)
    console.print(f"{model.config.model} on the simulated demo shop, {len(requests):,} requests of the evaluation day")
    console.print(understood_table(model, catalog, requests))
    console.print(answers_table(servable, catalog, requests))


def run(folder: Path, model: str) -> tuple[str, str, str]:
    """Where the pipeline, run on the benchmark's logs, left its examples, its model and its servable."""
    examples, trained, servable = run_demo(folder, [f"train.model={model}"], [EXAMPLES, MODEL, SERVABLE])
    return str(examples), str(trained / "Format-Serving"), str(servable / "Format-Serving")


def understood_table(model: TrainedModel, catalog: EvalCatalog, requests: EvalRequests) -> Table:
    """By field: how many queries name something, and what is of it, among the clicked items and in the catalog."""
    columns = {name: model.table.columns[name] for name in FIELDS}
    row_of = {item.decode(): row for row, item in enumerate(model.table.item_ids)}
    rows = np.array([row_of.get(item, model.table.size) for item in catalog.item_ids])
    clicked, of_request = rows[requests.relevant.rows], requests.relevant.request
    allowed = understood(model, requests)
    kept = {name: np.array([leaves(columns, name, values[name]) for values in allowed]) for name in FIELDS}
    kept["all three"] = np.logical_and.reduce(list(kept.values()))
    bootstrap, terms = bootstrap_of(requests), model.understanding.terms() if model.understanding else {}
    table = Table(title="What is understood")
    for column in ("field", "terms that say something", "queries that name it", "clicked items kept", "catalog kept"):
        table.add_column(column, justify="left" if column == "field" else "right")
    for label, mask in kept.items():
        clicks = np.bincount(of_request, minlength=len(requests))
        good = np.bincount(of_request, mask[of_request, clicked], minlength=len(requests)) / clicks
        table.add_row(
            label,
            f"{terms[label]:,}" if label in terms else "",
            shown(bootstrap.mean((~mask[:, :-1].all(axis=1)).astype(float))),
            shown(bootstrap.mean(good)),
            shown(bootstrap.mean(mask[:, :-1].mean(axis=1))),
        )
    return table


def leaves(columns: dict[str, np.ndarray], name: str, values: np.ndarray) -> np.ndarray:
    """Which items are of the values, [items + 1] bool; all where there is no value."""
    named = values[values > 0]
    return np.isin(columns[name], named) if len(named) else np.ones(len(columns[name]), bool)


def understood(model: TrainedModel, requests: EvalRequests) -> list[dict[str, np.ndarray]]:
    """What each query leaves, by field."""
    if model.understanding is None:
        raise SystemExit("the model was trained before query understanding was learned; train it again")
    profile = tuple(model.sizes.profile)
    reader, transform = SearchReader(model.config, profile), model.transform.transform_features_layer()
    arrays = {name: tf.constant(array) for name, array in model.understanding.arrays().items()}
    found = []
    for start in range(0, len(requests), _BATCH):
        serialized = tf.constant(list(requests.examples[start : start + _BATCH]))
        query = reader.query_batch(transform(tf.io.parse_example(serialized, raw_search_spec(profile))))
        batch = understand(arrays, query[transformed.QUERY_UNIGRAMS], query[transformed.QUERY_BIGRAMS])
        rows = len(serialized)
        found += [{name: values.numpy()[row] for name, values in batch.items()} for row in range(rows)]
    return found


def answers_table(servable: LoadedServable, catalog: EvalCatalog, requests: EvalRequests) -> Table:
    """The answers with and without relevance control, and what is between them."""
    bootstrap = bootstrap_of(requests)
    answers = {name: with_option(requests.examples, name) for name in (b"off", b"on")}
    plain, control = (servable.retrieve(examples, catalog).rows for examples in answers.values())
    table = Table(title="What is answered")
    for column in ("", "off", "on", "difference"):
        table.add_column(column, justify="right" if column else "left")
    for label, values in measures(plain, control, requests):
        off, on = values
        table.add_row(
            label, shown(bootstrap.mean(off)), shown(bootstrap.mean(on)), shown(bootstrap.difference(on, off), "+")
        )
    discarded = (plain >= 0) & ~(plain[:, :, np.newaxis] == control[:, np.newaxis, :]).any(axis=2)
    share = discarded.sum(axis=1) / np.maximum((plain >= 0).sum(axis=1), 1)
    table.add_row(f"of the {plain.shape[1]} hits of `off`, discarded", "", shown(bootstrap.mean(share)), "")
    flags = flags_of(servable, answers[b"on"])
    for flag in (RelevanceControl.APPLIED, RelevanceControl.NOTHING_NAMED, RelevanceControl.FALLBACK):
        table.add_row(f"requests `{flag}`", "", shown(bootstrap.mean((flags == flag.encode()).astype(float))), "")
    plain_ms, control_ms = interleaved_ms(servable, answers)
    table.add_row("median ms, single requests", f"{plain_ms:.2f}", f"{control_ms:.2f}", f"{control_ms - plain_ms:+.2f}")
    return table


def measures(plain: np.ndarray, control: np.ndarray, requests: EvalRequests) -> Iterator[tuple[str, list[np.ndarray]]]:
    ranks = [metrics.first_ranks(rows, requests.relevant) for rows in (plain, control)]
    for k in (10, 100):
        yield f"recall@{k}", [metrics.recall_at(rank, requests.relevant, k) for rank in ranks]
    yield "NDCG@10", [metrics.ndcg_at(rank, requests.relevant, 10) for rank in ranks]
    yield "places filled", [(rows >= 0).mean(axis=1) for rows in (plain, control)]
    yield "empty answers", [(rows < 0).all(axis=1).astype(float) for rows in (plain, control)]


def with_option(examples: tuple[bytes, ...] | list[bytes], value: bytes) -> list[bytes]:
    """The same requests, asking for relevance control or for none."""
    changed = []
    for serialized in examples:
        example = example_pb2.Example.FromString(serialized)
        example.features.feature[features.RELEVANCE_CONTROL].bytes_list.value.append(value)
        changed.append(example.SerializeToString())
    return changed


def flags_of(servable: LoadedServable, examples: list[bytes]) -> np.ndarray:
    call = tf.saved_model.load(servable.path).signatures[features.SIGNATURE_DEFAULT]
    batches = [tf.constant(examples[start : start + _BATCH]) for start in range(0, len(examples), _BATCH)]
    return np.concatenate([call(examples=batch)[features.OUTPUT_RELEVANCE_CONTROL].numpy() for batch in batches])


def interleaved_ms(servable: LoadedServable, answers: dict[bytes, list[bytes]]) -> list[float]:
    """Median time of one request in this process, with each way asked in turns, in milliseconds."""
    call = tf.saved_model.load(servable.path).signatures[features.SIGNATURE_DEFAULT]
    times: dict[bytes, list[float]] = {name: [] for name in answers}
    for number in range(_TIMED):
        for name, examples in answers.items():
            request = tf.constant([examples[number % len(examples)]])
            started = time.perf_counter()
            call(examples=request)
            times[name].append(time.perf_counter() - started)
    return [float(np.median(values[10:]) * 1000) for values in times.values()]


def bootstrap_of(requests: EvalRequests) -> QueryBootstrap:
    return QueryBootstrap([normalize_query(query) for query in requests.queries], 1000, 0.95, 0)


def shown(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


if __name__ == "__main__":
    main()
