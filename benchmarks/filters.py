"""What filters cost and lose: recall@100 against exact filtered search, and latency, by how much a filter leaves.

    make bench-filters    or    python -m benchmarks.filters [--items 1000000] [--backend scann|portable]

Unit vectors of 64 numbers in clusters are generated. Each filter leaves a share of the items: either spread evenly, or
all of one region that most queries are far from, which is the hard case for an index that is asked for more hits and
then filtered. Queries are single; times are those of the search in this process, filters and index together.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from components.index_builder.attributes import ItemAttributes
from components.index_builder.config import IndexConfig
from components.index_builder.filters import ItemFilters, filter_spec
from components.index_builder.parameters import choose_index, recall_against_exact
from souk_client.examples import search_example
from souk_client.filters import Filters

DIM, K, CLUSTERS, SEED, WANTED = 64, 100, 500, 17, 0.97
SHARES = (0.5, 0.1, 0.02, 0.01, 0.001, 0.0001)
_EXACT_AT_ONCE = 32


@dataclass(frozen=True)
class Measured:
    """One filter: recall@k against exact filtered search, and milliseconds of a query."""

    recall: float
    p50: float
    p99: float


def clustered(items: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [items, DIM] and the cluster of each, sizes as uneven as those of categories."""
    centers = rng.normal(size=(CLUSTERS, DIM)).astype(np.float32)
    weights = rng.pareto(1.5, CLUSTERS) + 0.2
    cluster = rng.choice(CLUSTERS, items, p=weights / weights.sum())
    vectors = centers[cluster] + 0.7 * rng.normal(size=(items, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), cluster


def attributes_of(cluster: np.ndarray, rng: np.random.Generator) -> ItemAttributes:
    """A brand for each share, spread evenly, and a category for each, filled cluster by cluster."""
    items = len(cluster)
    brands, categories = np.full(items, b"other", "S16"), np.full(items, b"other", "S16")
    even = rng.permutation(items)
    regional = np.argsort(rng.permutation(CLUSTERS)[cluster], kind="stable")
    start = 0
    for share in SHARES:
        end = start + round(items * share)
        brands[even[start:end]] = f"b{share}".encode()
        categories[regional[start:end]] = f"c{share}".encode()
        start = end
    return ItemAttributes(brands, categories, np.ones(items, np.float32))


def measure(
    search: tf.types.experimental.PolymorphicFunction,
    vectors: np.ndarray,
    queries: np.ndarray,
    kept: np.ndarray,
    filters: Filters,
) -> Measured:
    """Answers every query under one filter; `kept` [items] bool says which items it leaves."""
    example = tf.constant([search_example("any", filters=filters)])
    found, times = [], []
    search(tf.constant(queries[:1, np.newaxis]), example)
    for query in queries:
        vector = tf.constant(query[np.newaxis, np.newaxis])
        started = time.perf_counter()
        positions = search(vector, example)
        times.append(time.perf_counter() - started)
        found.append(positions.numpy()[0])
    rows = np.flatnonzero(kept)
    exact = []
    for start in range(0, len(queries), _EXACT_AT_ONCE):
        scores = queries[start : start + _EXACT_AT_ONCE] @ vectors[rows].T
        exact += list(rows[np.argsort(-scores, axis=1)[:, :K]])
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    return Measured(recall_against_exact(np.array(found), np.array(exact)), float(p50), float(p99))


def run(items: int, backend: str, requests: int) -> Table:
    """The table for one backend."""
    rng = np.random.default_rng(SEED)
    vectors, cluster = clustered(items, rng)
    chosen_with = IndexConfig().sample_requests
    queries, _ = clustered(chosen_with + requests, np.random.default_rng(SEED))
    queries = vectors[rng.choice(items, len(queries))] + 0.3 * queries
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    attributes = attributes_of(cluster, rng)
    started = time.perf_counter()
    index, _ = choose_index(vectors, queries[:chosen_with], IndexConfig(k=K, backend=backend, wanted_recall=WANTED))
    queries = queries[chosen_with:]
    built = time.perf_counter() - started
    limit = IndexConfig().exact_filter_up_to
    table = Table(
        title=f"{items:,} items, {backend}, chosen and built in {built:.0f} s\n"
        f"Where a filter leaves up to {limit:,} items, all are scored.",
        title_justify="left",
    )
    for name in ("filter leaves", "items", "where", "recall@100", "ms p50", "ms p99"):
        table.add_column(name, justify="left" if name == "where" else "right")
    with tempfile.TemporaryDirectory() as folder:
        filters = ItemFilters(index, attributes, limit, folder)

        @tf.function(input_signature=[tf.TensorSpec([None, 1, DIM]), tf.TensorSpec([None], tf.string)])
        def search(asked: tf.Tensor, examples: tf.Tensor) -> tf.Tensor:
            raw = tf.io.parse_example(examples, filter_spec())
            nothing = tf.RaggedTensor.from_row_lengths(
                tf.zeros([0], tf.int32), tf.zeros([tf.size(examples)], tf.int64), validate=False
            )
            return filters.search(asked, filters.conditions(raw, nothing), K)[0]

        cases = [("all", np.ones(items, bool), Filters(), "no filter")]
        for share in SHARES:
            brand, category = f"b{share}", f"c{share}"
            cases.append((f"{share:.2%}", attributes.brands == brand.encode(), Filters(brands=(brand,)), "evenly"))
            kept = attributes.category_paths == category.encode()
            cases.append((f"{share:.2%}", kept, Filters(categories=(category,)), "one region"))
        for share_text, kept, wanted, where in cases:
            if kept.sum() >= K:
                got = measure(search, vectors, queries, kept, wanted)
                cells = (f"{got.recall:.3f}", f"{got.p50:.1f}", f"{got.p99:.1f}")
                table.add_row(share_text, f"{int(kept.sum()):,}", where, *cells)
    return table


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--backend", choices=("scann", "portable"), action="append")
    arguments = parser.parse_args()
    console = Console(width=110)
    print(f"{os.cpu_count()} processors, {arguments.requests} single queries, generated vectors of {DIM}")
    for backend in arguments.backend or ("scann", "portable"):
        print(f"{backend} ...", file=sys.stderr)
        console.print(run(arguments.items, backend, arguments.requests))


if __name__ == "__main__":
    main()
