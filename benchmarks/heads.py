"""What a second query vector could earn on ambiguous queries: the best vectors for the items of a trained model.

    make bench-heads    or    python -m benchmarks.heads [--folder runs/bench-heads] [--requests 200]

Simulates the demo shop, runs the pipeline (unchanged steps come from cache), and takes requests of the evaluation day
whose query means things of several leaf categories, as the simulation knows it. For each of them the simulation also
tells how likely its user wants each item of the catalog. To that the best query vectors are fitted, given the item
vectors of the trained model: one; two, of which an item counts by the best one, as heads do; and one for the meaning
that the request had, which no model can know. No learning from clicks is in between, so that two vectors earn here what
they can at most. Two vectors are fitted twice, from one for each of the two likeliest meanings and from the best single
vector; of each request the better fit is taken. The logs are simulated.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.demo_shop import EXAMPLES, SERVABLE, run_demo
from components.recall_gate.config import GateConfig
from evaluation.bootstrap import QueryBootstrap
from evaluation.eval_set import normalize_query, read_catalog, read_requests
from evaluation.metrics import FloatArray, IntArray, first_ranks, recall_at
from evaluation.servable import LoadedServable
from marketplace.truth import lasting
from pipeline.bench.ambiguity import SECOND_MEANING
from pipeline.bench.oracles import Oracles

K = 100
STEPS = 300
LEARNING_RATE = 0.3

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Wishes:
    """How likely each item is wanted in some requests, each [requests, items] and of sum 1.

    Attributes:
      query: by what can be told from query and user.
      meanings: the same of each of the two likeliest leaf categories, [requests, 2, items].
      meant: by what the request had in mind.
    """

    query: Vectors
    meanings: Vectors
    meant: Vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-heads"))
    parser.add_argument("--requests", type=int, default=200, help="at most, drawn at random")
    arguments = parser.parse_args()
    examples, servable_dir = run_demo(arguments.folder, [], [EXAMPLES, SERVABLE])
    gate, catalog = GateConfig(), read_catalog(str(examples))
    requests = read_requests(str(examples), catalog, gate.max_eval_requests, gate.seed, gate.gains)
    oracles = Oracles.read(arguments.folder / "data" / "shop.json", catalog, requests)
    chosen = ambiguous(oracles)
    chosen = np.sort(np.random.default_rng(0).permutation(chosen)[: arguments.requests])
    wishes = wishes_of(oracles, chosen)

    servable = LoadedServable(servable_dir / "Format-Serving")
    items = servable.encode_items(catalog.examples)
    heads = servable.encode_query(requests.examples)[chosen]
    one = fitted(wishes.query[:, np.newaxis], wishes.query, items, "one vector")[0]
    each = fitted(wishes.meanings, wishes.query, items, "a vector for each meaning")
    near = fitted(np.stack([wishes.query] * 2, axis=1), wishes.query, items, "two vectors", start=one)
    two = np.where((each[1] < near[1])[:, np.newaxis, np.newaxis], each[0], near[0])
    meant = fitted(wishes.meant[:, np.newaxis], wishes.meant, items, "the meaning that it had")[0]
    found = {
        "the trained model": best(heads, items),
        "the best one vector": best(one, items),
        "the best two vectors": best(two, items),
        "ranking by the truth itself": np.argsort(-wishes.query, axis=1)[:, :K],
        "the best one vector for the meaning that it had": best(meant, items),
    }
    everything = {name: np.full((len(requests), K), -1, np.int64) for name in found}
    for name, rows in found.items():
        everything[name][chosen] = rows
    relevant = requests.relevant
    clicks = {name: recall_at(first_ranks(rows, relevant), relevant, K)[chosen] for name, rows in everything.items()}
    wanted = {name: np.take_along_axis(wishes.query, rows, axis=1).sum(axis=1) for name, rows in found.items()}
    bootstrap = QueryBootstrap([normalize_query(requests.queries[n]) for n in chosen])
    print_table(wanted, clicks, bootstrap, f"{servable.card['model']}, {heads.shape[1]} head(s)")


def ambiguous(oracles: Oracles) -> IntArray:
    """Requests whose query means things of two leaf categories, each with SECOND_MEANING of chance and more."""
    leaves = [leaves_of(oracles, n)[2] for n in range(len(oracles.queries))]
    return np.flatnonzero([(share >= SECOND_MEANING).sum() >= 2 for share in leaves])


def leaves_of(oracles: Oracles, request: int) -> tuple[IntArray, FloatArray, FloatArray]:
    """What a request can mean: intents, how likely each is, and how likely each leaf category is."""
    intents, likely = oracles.meanings.likely(oracles.queries[request], int(oracles.requests.user[request]))
    of_leaf = np.bincount(oracles.truth.chooser.intents.leaf[intents], likely).astype(np.float64)
    return intents, likely, of_leaf


def wishes_of(oracles: Oracles, chosen: IntArray) -> Wishes:
    """What the simulation knows of the chosen requests."""
    truth, leaf = oracles.truth, oracles.truth.chooser.intents.leaf
    power = truth.settings.behavior.relevance_weight
    query, meanings, meant = [], [], []
    for request in track(chosen, "wishes", console=Console(stderr=True)):
        own = oracles.requests.take(np.array([request]))
        liked = np.exp(truth.liking(lasting(own), oracles.items[np.newaxis])[0])
        intents, likely, of_leaf = leaves_of(oracles, int(request))
        met = truth.relevance(intents, oracles.items[np.newaxis]) ** power
        query.append(liked * (likely @ met))
        in_leaf = [leaf[intents] == one for one in np.argsort(-of_leaf)[:2]]
        meanings.append([liked * (likely[here] @ met[here]) for here in in_leaf])
        here = leaf[intents] == leaf[own.intent]
        meant.append(liked * (likely[here] @ met[here]) if here.any() else query[-1])

    def shares(values: list) -> Vectors:
        array = np.asarray(values, np.float64)
        return (array / array.sum(axis=-1, keepdims=True)).astype(np.float32)

    return Wishes(shares(query), shares(meanings), shares(meant))


def fitted(
    starts: Vectors, wished: Vectors, items: Vectors, about: str, start: Vectors | None = None
) -> tuple[Vectors, FloatArray]:
    """Query vectors [requests, heads, dim] under which the wished items are likeliest, and their loss [requests].

    The loss is the softmax cross entropy over the whole catalog that models train with, of vectors of any length.

    Args:
      starts: [requests, heads, items], to the mean of whose items each vector points in the beginning.
      wished: [requests, items], what is fitted to.
      items: [items, dim] vectors.
      about: for the progress bar.
      start: [requests, 1, dim], where all vectors of a request begin instead, up to noise.
    """
    rng = np.random.default_rng(0)
    means = np.einsum("rhi,id->rhd", starts, items)
    value = 10.0 * means / np.linalg.norm(means, axis=-1, keepdims=True)
    if start is not None:
        value = start + rng.normal(0.0, 0.3, value.shape)
    vectors = tf.Variable(value.astype(np.float32))
    wanted, table, optimizer = tf.constant(wished), tf.constant(items), keras.optimizers.Adam(LEARNING_RATE)

    @tf.function
    def losses() -> tf.Tensor:
        scores = tf.reduce_logsumexp(tf.einsum("rhd,id->rhi", vectors, table), axis=1)
        return tf.nn.softmax_cross_entropy_with_logits(wanted, scores)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            # A sum: no request is fitted less for there being many.
            loss = tf.reduce_sum(losses())
        optimizer.apply_gradients([(tape.gradient(loss, vectors), vectors)])

    for number in track(range(STEPS), about, console=Console(stderr=True)):
        optimizer.learning_rate = LEARNING_RATE * (1.0 - number / STEPS)
        step()
    return vectors.numpy(), losses().numpy().astype(np.float64)


def best(heads: Vectors, items: Vectors) -> IntArray:
    """The K items that score best, each by the best of the heads [requests, heads, dim]."""
    scores = (heads @ items.T).max(axis=1)
    return np.argsort(-scores, axis=1)[:, :K]


def print_table(
    wanted: dict[str, FloatArray], clicks: dict[str, FloatArray], bootstrap: QueryBootstrap, model: str
) -> None:
    """Prints what each finds of what was wanted and of what was clicked, and how it differs from one vector."""
    requests = len(wanted["the trained model"])
    table = Table(title=f"{requests} requests of ambiguous queries, simulated demo shop; items of {model}")
    table.add_column("query vectors")
    headings = f"wanted items in {K}", "against one vector, 95 %", f"recall@{K} of clicks", "against one vector, 95 %"
    for heading in headings:
        table.add_column(heading, justify="right")
    for name in wanted:
        cells = []
        for measured in (wanted, clicks):
            apart = bootstrap.difference(measured[name], measured["the best one vector"])
            change = f"{apart.value:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]" if apart else ""
            cells += [f"{measured[name].mean():.3f}", "" if name == "the best one vector" else change]
        table.add_row(name, *cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
