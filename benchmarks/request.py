"""What one request costs in the servable: ops that run and CPU time, by kind of request; beside another servable's.

    make bench-request    or    python -m benchmarks.request [--servable FOLDER] [--against FOLDER] [--compare 1000]

The SavedModel runs in a session of one thread, as TensorFlow Serving runs it, without a server. Ops are counted in a
trace. CPU time is the process' own, the median of rounds in which the two servables take turns, so that a busy machine
slows both alike. `--compare` sends as many random requests of all kinds to both and says whether their answers differ,
as they may anyhow where each has a tree of ScaNN's of its own, which is not built alike twice.
"""

import argparse
import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table
from tensorflow.core.protobuf import config_pb2

from benchmarks.demo_shop import SERVABLE, run_demo
from schema import features
from schema.features import Retrieval
from souk_client.examples import Behavior, search_example
from souk_client.filters import Filters

BATCH, SEED, CALLS = 64, 17, 5
LISTS = dict(zip(features.BEHAVIOR_ITEM_FEATURES, (20, 20, 10, 10, 10), strict=True))

Call = tuple[str, list[bytes]]


class Loaded:
    """A servable in a session of one thread."""

    def __init__(self, folder: Path):
        from scann import scann_ops  # noqa: F401  # Registers the ops of an index of ScaNN's.

        one = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=one)
        with self._session.graph.as_default():
            self._signatures = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder)).signature_def

    def _tensors(self, signature: str) -> tuple[str, dict[str, str]]:
        definition = self._signatures[signature]
        (fed,) = definition.inputs.values()
        return fed.name, {name: output.name for name, output in definition.outputs.items()}

    def answer(self, call: Call, *options: Any) -> dict[str, np.ndarray]:
        """All outputs by name."""
        fed, outputs = self._tensors(call[0])
        return self._session.run(outputs, {fed: call[1]}, *options)

    def ops(self, call: Call) -> int:
        """How many ops a call runs."""
        trace = config_pb2.RunMetadata()
        self.answer(call, config_pb2.RunOptions(trace_level=config_pb2.RunOptions.FULL_TRACE), trace)
        return sum(len(device.node_stats) for device in trace.step_stats.dev_stats)

    def cpu_ms(self, call: Call, calls: int) -> float:
        """CPU milliseconds of a call, the mean of a few."""
        fed, outputs = self._tensors(call[0])
        run = self._session.make_callable(list(outputs.values()), [fed])
        run(call[1])
        started = time.process_time()
        for _ in range(calls):
            run(call[1])
        return (time.process_time() - started) / calls * 1000


class Shopper:
    """Makes requests out of the words and items that a servable knows."""

    def __init__(self, folder: Path, seed: int):
        assets = folder / "assets"
        self._random = random.Random(seed)
        self._items = (assets / "item_ids.txt").read_text().splitlines()
        lines = (assets / "unigrams").read_text().splitlines()
        self._words = [line.split(" ", 1)[1] for line in lines]

    def query(self, words: int = 2) -> str:
        """Frequent words more often, as in a log."""
        return " ".join(self._words[int(len(self._words) * self._random.random() ** 3)] for _ in range(words))

    def behavior(self) -> Behavior:
        """As much as the models read of a user."""
        lists: dict[str, Any] = {name: self._random.choices(self._items, k=count) for name, count in LISTS.items()}
        return Behavior(history_queries=[self.query() for _ in range(8)], **lists)

    def any_request(self) -> bytes:
        """A request of any kind: with or without behavior, filters, relevance control; known words or not."""
        draw = self._random.random
        query = self.query(self._random.randint(1, 4))
        if draw() < 0.2:
            query = self._random.choice([query[1:] + "zq", f'{query} 10" 1,5 l HL-2130', "红色手机 " + query, "?"])
        some = Behavior(real_time_items=["no such item", *self._random.sample(self._items, 2)], profile={"gender": "?"})
        cheap, excluded = Filters(max_price=20.0), Filters(exclude=self._random.sample(self._items, 3))
        return search_example(
            query,
            behavior=self._random.choice([None, some, self.behavior()]),
            relevance_control=self._random.choice([None, True, False]),
            filters=self._random.choice([None, None, cheap, excluded, Filters(brands=["nobody"])]),
            retrieval=self._random.choice([None, *Retrieval.ALL]),
        )


def calls_of(shopper: Shopper) -> dict[str, Call]:
    """A call of each kind by its name."""
    query, behavior = shopper.query(), shopper.behavior()
    many = [(shopper.query(), shopper.behavior()) for _ in range(BATCH)]
    # Most requests ask for nothing in particular.
    calls: dict[str, Call] = {"default": (features.SIGNATURE_DEFAULT, [search_example(query, behavior=behavior)])}
    for kind in Retrieval.ALL:
        calls[f"text, {kind}"] = features.SIGNATURE_DEFAULT, [search_example(query, retrieval=kind)]
    for kind in Retrieval.ALL:
        given: dict[str, Any] = {"behavior": behavior, "retrieval": kind}
        calls[f"behavior, {kind}"] = features.SIGNATURE_DEFAULT, [search_example(query, **given)]
        filters = Filters(max_price=50.0)
        calls[f"filter, {kind}"] = features.SIGNATURE_DEFAULT, [search_example(query, filters=filters, **given)]
        controlled = [search_example(query, relevance_control=True, **given)]
        calls[f"relevance control, {kind}"] = features.SIGNATURE_DEFAULT, controlled
        batch = [search_example(text, behavior=user, retrieval=kind) for text, user in many]
        calls[f"batch of {BATCH}, {kind}"] = features.SIGNATURE_DEFAULT, batch
    calls["signature query_text"] = features.SIGNATURE_QUERY_TEXT, [query.encode()]
    calls["signature encode_query"] = features.SIGNATURE_ENCODE_QUERY, [search_example(query, behavior=behavior)]
    return calls


def measure(servables: Mapping[str, Loaded], calls: Mapping[str, Call], rounds: int) -> Table:
    """Ops and CPU time of each call, in turns."""
    table = Table("request", title="One request in the servable, one thread", title_justify="left")
    for name in servables:
        table.add_column(f"ops {name}", justify="right")
        table.add_column(f"CPU ms {name}", justify="right")
    for kind, call in calls.items():
        times: dict[str, list[float]] = {name: [] for name in servables}
        for _ in range(rounds):
            for name, servable in servables.items():
                times[name].append(servable.cpu_ms(call, 1 if len(call[1]) > 1 else CALLS))
        cells = [(f"{one.ops(call):,}", f"{np.median(times[name]):.2f}") for name, one in servables.items()]
        table.add_row(kind, *(cell for pair in cells for cell in pair))
    return table


def differing(first: Loaded, second: Loaded, calls: Sequence[Call]) -> tuple[int, float]:
    """How many calls are answered with other items or flags, and the largest difference of two scores."""
    wrong, most = 0, 0.0
    for call in calls:
        one, other = first.answer(call), second.answer(call)
        scores, others = one.pop(features.OUTPUT_SCORES), other.pop(features.OUTPUT_SCORES)
        # Where both found an item; where one did not, the ids differ.
        found = np.isfinite(scores) & np.isfinite(others)
        most = max(most, float(np.abs(scores[found] - others[found]).max(initial=0.0)))
        wrong += not all(np.array_equal(one[name], other[name]) for name in one)
    return wrong, most


def main() -> None:
    """Runs the benchmark and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servable", type=Path, help="a SavedModel; by default that of the demo shop")
    parser.add_argument("--against", type=Path, help="another SavedModel of the same catalog")
    parser.add_argument("--compare", type=int, default=0, help="random requests that both answer")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-request"))
    arguments = parser.parse_args()
    folder = arguments.servable or run_demo(arguments.folder, [], [SERVABLE])[0] / "Format-Serving"
    servables = {"": Loaded(folder)} | ({"against": Loaded(arguments.against)} if arguments.against else {})
    console, shopper = Console(width=110), Shopper(folder, SEED)
    if arguments.compare and arguments.against:
        requests = [shopper.any_request() for _ in range(arguments.compare)]
        calls: list[Call] = [(features.SIGNATURE_DEFAULT, [request]) for request in requests]
        calls += [(features.SIGNATURE_DEFAULT, requests[at : at + BATCH]) for at in range(0, len(requests), BATCH)]
        calls += [(features.SIGNATURE_QUERY_TEXT, [shopper.query().encode()]) for _ in range(BATCH)]
        wrong, most = differing(servables[""], servables["against"], calls)
        console.print(f"{len(calls):,} calls: {wrong} answers differ, scores by {most:.1e} at most")
    console.print(measure(servables, calls_of(shopper), arguments.rounds))


if __name__ == "__main__":
    main()
