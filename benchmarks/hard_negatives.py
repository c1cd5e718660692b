"""What mined hard negatives earn: the default model of the demo shop, trained with and without them.

    make bench-hard_negatives    or    python -m benchmarks.hard_negatives [--folder runs/bench-hard-negatives]

For each of three seeds the demo shop is simulated and the pipeline run twice: without mining, and again with negatives
that are mined by the model of the first run, as a nightly run would. Vectors alone are compared, on the requests of the
evaluation day. A folder that holds runs already is refused, for a further run would mine by another model. The logs are
simulated.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.demo_shop import EXAMPLES, SERVABLE, run_demo
from components.recall_gate.config import GateConfig
from evaluation.bootstrap import QueryBootstrap
from evaluation.eval_set import normalize_query, read_catalog, read_requests
from evaluation.metrics import FloatArray, first_ranks, ndcg_at, recall_at
from evaluation.servable import LoadedServable

SEEDS = (17, 18, 19)
MINED = ("hard_negatives.enabled=true", "train.negatives.hard=8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-hard-negatives"))
    folder = parser.parse_args().folder
    if folder.exists():
        raise SystemExit(f"{folder} holds runs already, whose models would be mined: remove it, or choose --folder")
    measured: dict[str, dict[str, list[FloatArray]]] = {}
    queries: list[str] = []
    for seed in SEEDS:
        for name, settings in (("random and in-batch negatives", ()), ("mined ones besides", MINED)):
            own = [f"train.seed={seed}", "index.retrieval=dense", *settings]
            examples, servable = run_demo(folder / f"seed{seed}", own, [EXAMPLES, SERVABLE])
            found, queries = metrics_of(str(examples), str(servable / "Format-Serving"))
            for metric, values in found.items():
                measured.setdefault(metric, {}).setdefault(name, []).append(values)
    print_table(measured, QueryBootstrap(queries))


def metrics_of(examples: str, servable: str) -> tuple[dict[str, FloatArray], list[str]]:
    """Metrics [requests] of the evaluation day by name, and each request's query."""
    gate, catalog = GateConfig(), read_catalog(examples)
    requests = read_requests(examples, catalog, gate.max_eval_requests, gate.seed, gate.gains)
    rows = LoadedServable(servable).retrieve(requests.examples, catalog).rows
    ranks = first_ranks(rows, requests.relevant)
    found = {f"recall@{k}": recall_at(ranks, requests.relevant, k) for k in (10, 100)}
    found["NDCG@10"] = ndcg_at(ranks, requests.relevant, 10)
    return found, [normalize_query(query) for query in requests.queries]


def print_table(measured: dict[str, dict[str, list[FloatArray]]], bootstrap: QueryBootstrap) -> None:
    """Prints each metric with and without mined negatives, and the paired difference."""
    table = Table(title=f"simulated demo shop, {len(SEEDS)} trainings each")
    for heading in ("metric", *next(iter(measured.values())), "difference, 95 %", "by seed"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for metric, by_name in measured.items():
        plain, mined = (np.stack(values) for values in by_name.values())
        apart = bootstrap.difference(mined.mean(axis=0), plain.mean(axis=0))
        assert apart is not None
        table.add_row(
            metric,
            f"{np.nanmean(plain):.3f}",
            f"{np.nanmean(mined):.3f}",
            f"{apart.value:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]",
            " ".join(f"{gap:+.3f}" for gap in np.nanmean(mined - plain, axis=1)),
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
