"""What a refresh of the catalog costs beside a whole run: seconds by step, on the demo shop's simulated logs.

    make bench-refresh    or    python -m benchmarks.refresh [--folder runs/bench-refresh]

A whole run, then a refresh with a catalog in which one item in a hundred has gone, one is new and five have another
price, then a refresh in which nothing has changed. A folder that has these already is begun anew.
"""

import argparse
import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rich.console import Console
from rich.table import Table

from benchmarks.demo_shop import simulate_once
from pipeline import config, local_runner
from pipeline.refresh import CREATE
from pipeline.runs.metadata import Kind, Run


def changed(rows: list[dict]) -> list[dict]:
    """One item in a hundred less, one more, and five dearer."""
    kept = [row for number, row in enumerate(rows) if number % 100]
    dearer = [{**row, "price": row["price"] * 1.1} if number % 20 == 1 else row for number, row in enumerate(kept)]
    new = [{**row, "item_id": f"new-{row['item_id']}", "price": row["price"] * 0.9} for row in rows[50::100]]
    return [*dearer, *new]


def measure(folder: Path) -> list[Run]:
    """A whole run, a refresh, and a refresh without any change."""
    data = folder / "data"
    simulate_once("demo", data)
    for name in ("metadata.sqlite", "artifacts", "serving"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    with gzip.open(data / "catalog.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    later = folder / "later.jsonl"
    later.write_text("".join(json.dumps(row) + "\n" for row in changed(rows)))
    own = [
        f"root={folder}",
        f"ingest.data.events={data}/events/*.jsonl.gz",
        f"ingest.data.users={data}/users.jsonl.gz",
    ]
    runs = []
    plan: list[tuple[Kind, Path]] = [("run", data / "catalog.jsonl.gz"), ("refresh", later), ("refresh", later)]
    for kind, catalog in plan:
        loaded = config.load("demo", [*own, f"ingest.data.catalog={catalog}"])
        runs.append(local_runner.run(loaded, create=CREATE[kind]))
    return runs


def table_of(runs: list[Run]) -> Table:
    """Seconds by step."""
    table = Table("step", title="Seconds of each step; nothing for one that comes from cache", title_justify="left")
    for name in ("whole run", "refresh", "refresh again"):
        table.add_column(name, justify="right")
    names = dict.fromkeys(step.name for run in runs for step in run.steps if not step.is_lookup)
    for name in names:
        steps = [run.step(name) for run in runs]
        table.add_row(name, *("" if s is None or s.state == "cached" else f"{s.seconds:.1f}" for s in steps))
    table.add_row("all, from first to last", *(f"{run.seconds:.1f}" for run in runs))
    recall = [_property(run, "RecallGate", "evaluation", "recall@100") for run in runs]
    table.add_row("recall@100", *("" if value is None else f"{value:.3f}" for value in recall))
    table.add_row(
        "pushed version", *(_property(run, "Pusher", "pushed_model", "pushed_version") or "none" for run in runs)
    )
    return table


def _property(run: Run, step: str, key: str, name: str) -> Any:
    artifact = run.output(step, key)
    return artifact.properties.get(name) if artifact else None


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-refresh"))
    runs = measure(parser.parse_args().folder.resolve())
    print(f"{os.cpu_count()} processors; the demo shop, simulated")
    Console(width=100).print(table_of(runs))


if __name__ == "__main__":
    main()
