"""How well each model finds what users will click and order on the demo shop's last day, beside what needs no training.

    make bench-retrieval            or  python -m benchmarks.retrieval [--folder runs/bench-retrieval]

Simulates the demo shop, runs the pipeline once per model on the same logs (unchanged steps come from cache) and prints
one table: recall and NDCG on the evaluation day, with 95 % intervals by bootstrap over queries, and how far each system
is from `dpsr`. The logs are simulated: the numbers compare systems on this shop and promise nothing for another.

The shown engine is the simulated shop's own lexical ranking, replayed without noise for the same queries. `as shown` is
the page that users really saw; most clicks come from it, so it cannot be beaten fairly and is given for orientation.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

# Before TensorFlow is imported, here or by any of these.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.demo_shop import simulate_once
from components.recall_gate import baselines, metrics
from components.recall_gate.bootstrap import Estimate, QueryBootstrap
from components.recall_gate.config import GateConfig
from components.recall_gate.eval_set import (
    Catalogue,
    EvalRequests,
    normalise_query,
    read_catalogue,
    read_requests,
    read_training,
)
from components.recall_gate.replay import Servable
from marketplace.engine import LexicalEngine
from pipeline import config as pipeline_config
from pipeline import local_runner, metadata
from schema.features import Stage

LEAD = "dpsr"
VARIANTS = {
    LEAD: [],
    "dpsr, the paper's hinge": ["train.loss.kind=hinge"],
    "dpsr, one head": ["train.heads=1"],
    "dpsr, nobody's history": ["train.history.enabled=false", "train.profile=false"],
    "dpsr, no lexical skip": ["train.lexical_skip=false"],
    "two_tower": ["train.model=two_tower", "train.heads=1"],
}
KS = (10, 50, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-retrieval"))
    parser.add_argument("--models", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    arguments = parser.parse_args()
    simulate_once("demo", arguments.folder / "data")

    ranked: dict[str, np.ndarray] = {}
    examples_dir = ""
    for name in arguments.models:
        run = run_variant(arguments.folder, VARIANTS[name])
        examples_dir = _uri(run, "SoukExampleGen", "examples")
        catalogue, requests = read_eval_day(examples_dir)
        servable = Servable(Path(_uri(run, "IndexBuilder", "servable")) / "Format-Serving")
        ranked[name] = servable.retrieve(requests.examples, catalogue).rows
    engine = LexicalEngine.from_catalogue(str(arguments.folder / "data" / "catalog.jsonl.gz"))
    ranked["shown engine, replayed"] = np.array(
        [
            [catalogue.rows[item] for item in row] + [-1] * (KS[-1] - len(row))
            for row in (engine.search(query, KS[-1]) for query in requests.queries)
        ]
    )
    ranked["BM25"] = baselines.Bm25(catalogue.texts()).search(requests.queries, KS[-1])
    interactions = read_training(examples_dir, catalogue).interactions
    ranked["popularity"] = baselines.most_popular(interactions, len(requests), KS[-1])
    ranked["(as shown)"] = baselines.as_shown(requests.shown, KS[-1])
    Console(width=150).print(as_table(ranked, requests))


def run_variant(folder: Path, overrides: list[str]) -> metadata.Run:
    """The demo's pipeline on the benchmark's logs."""
    data = folder / "data"
    config = pipeline_config.load(
        "demo",
        [
            "name=bench",
            f"root={folder}",
            f"ingest.data.events={data}/events/*.jsonl.gz",
            f"ingest.data.catalog={data}/catalog.jsonl.gz",
            f"ingest.data.users={data}/users.jsonl.gz",
            *overrides,
        ],
    )
    return local_runner.run(config)


def read_eval_day(examples_dir: str) -> tuple[Catalogue, EvalRequests]:
    config = GateConfig()
    catalogue = read_catalogue(examples_dir)
    gains = {int(Stage.CLICKED): config.clicked_gain, int(Stage.ORDERED): config.ordered_gain}
    return catalogue, read_requests(examples_dir, catalogue, config.max_eval_requests, config.seed, gains)


def as_table(ranked: dict[str, np.ndarray], requests: EvalRequests) -> Table:
    bootstrap = QueryBootstrap([normalise_query(query) for query in requests.queries], 1000, 0.95, 0)
    table = Table(title=f"Simulated demo shop, {len(requests):,} requests of the evaluation day")
    columns = [*(f"recall@{k}" for k in KS), "NDCG@10", f"recall@{KS[-1]} less {LEAD}'s"]
    table.add_column("system")
    for column in columns:
        table.add_column(column, justify="right")
    values = {name: list(_per_request(rows, requests)) for name, rows in ranked.items()}
    for name, measured in values.items():
        cells = [_shown(bootstrap.mean(value)) for value in measured]
        behind = bootstrap.difference(measured[len(KS) - 1], values[LEAD][len(KS) - 1]) if LEAD in values else None
        table.add_row(name, *cells, "" if name == LEAD else _shown(behind, sign="+"))
    return table


def _per_request(rows: np.ndarray, requests: EvalRequests) -> Iterator[np.ndarray]:
    ranks = metrics.first_ranks(rows, requests.relevant)
    for k in KS:
        yield metrics.recall_at(ranks, requests.relevant, k)
    yield metrics.ndcg_at(ranks, requests.relevant, 10)


def _shown(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def _uri(run: metadata.Run, step: str, key: str) -> str:
    artifact = run.output(step, key)
    if artifact is None:
        raise SystemExit(f"the run has no output {key!r} of {step}; see its log under the benchmark's folder")
    return artifact.uri


if __name__ == "__main__":
    main()
