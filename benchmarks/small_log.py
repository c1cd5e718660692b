"""What a log of a few thousand clicks teaches, with and without a minimum of steps. Simulated logs.

    make bench-small_log     or    python -m benchmarks.small_log [--folder runs/small-log] [--clicks 3000] [--seeds 3]

Two shops: the demo's and one of a small catalog. Keeps as many users as make that many clicks before the last day,
trains the default model on what they did, and measures it on all requests of the last day by exact search. Nothing is
chosen on that day.
"""

import argparse
import gzip
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import polars as pl
import tensorflow_transform as tft
from rich.console import Console
from rich.table import Table

from benchmarks.training.data import Artifacts, artifacts_of_run
from marketplace.presets import choose_settings
from marketplace.simulation import simulate
from schema.features import CATALOG_SPLIT, EVAL_SPLIT, TRAIN_SPLIT
from trainer.config import TrainerConfig
from trainer.input import SearchReader, read_requests
from trainer.recall import ExactMetrics
from trainer.train import train

KS = (1, 10, 100)
MIN_STEPS = (1, TrainerConfig().min_steps)
SHOPS = {
    "24,000 items": [],
    "450 items": ["catalog.items=450", "searches=14000", "queries.intents=1500", "searchers.users=1000"],
}


def cut_log(events: Path, clicks: int, out: Path) -> None:
    """Writes the events of as many users as make `clicks` before the last day, and that whole day."""
    rows = pl.concat([pl.read_ndjson(gzip.decompress(path.read_bytes())) for path in sorted(events.glob("*.gz"))])
    before = pl.col("timestamp") < str(rows["timestamp"].max())[:10]
    by_user = rows.filter(before & (pl.col("event_type") == "click")).group_by("user_id").len()
    # Users in an order that says nothing of them.
    by_user = by_user.sort(pl.col("user_id").hash(seed=17), "user_id")
    kept = by_user.filter(pl.col("len").cum_sum() <= clicks)["user_id"]
    rows.filter(~before | pl.col("user_id").is_in(kept.implode())).write_ndjson(out)


def prepare(folder: Path, shop: Sequence[str], clicks: int) -> Artifacts:
    """Simulates, cuts and takes the log through Transform; what is there already is not done again."""
    from pipeline import config, local_runner
    from pipeline.pipeline import create_data_pipeline

    data, cut = folder / "data", folder / f"events-{clicks}.jsonl"
    if not (data / "shop.json").exists():
        simulate(choose_settings("demo", None, seed=0, overrides=shop), data)
    if not cut.exists():
        cut_log(data / "events", clicks, cut)
    paths = {"events": cut, "catalog": data / "catalog.jsonl.gz", "users": data / "users.jsonl.gz"}
    settings = [f"ingest.data.{name}={path}" for name, path in paths.items()]
    local_runner.run(config.load("demo", [f"root={folder}", *settings]), create=create_data_pipeline)
    return artifacts_of_run(folder / "artifacts")


def measure(found: Artifacts, config: TrainerConfig) -> tuple[int, dict[int, float]]:
    """Trains; gives the epochs that this took and recall on the eval split by k."""
    with tempfile.TemporaryDirectory() as log_dir:
        transform = tft.TFTransformOutput(found.transform)
        model = train(config, transform, found.files(TRAIN_SPLIT), found.files(CATALOG_SPLIT), log_dir)
    # Every request of the eval split is measured: what is kept for validation is a share of the train split.
    reader = SearchReader(config.model_copy(update={"validation_share": 0.0}), tuple(model.sizes.profile))
    requests = read_requests(reader, found.files(EVAL_SPLIT), validation=False)
    recall = {k: ExactMetrics(model.towers, model.table, k)(requests)[f"recall@{k}"] for k in KS}
    return len(model.history["loss"]), recall


def main() -> None:
    """Prints recall by shop and minimum of steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/small-log"))
    parser.add_argument("--clicks", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    table = Table(
        title=f"Simulated; the last day after {arguments.clicks:,} clicks; {arguments.seeds} seeds: mean (range)"
    )
    for name in ("shop", "min_steps", "epochs", "s", *(f"recall@{k}" for k in KS)):
        table.add_column(name, justify="left" if name == "shop" else "right")
    for shop, overrides in SHOPS.items():
        found = prepare(arguments.folder.absolute() / shop.split(",")[0].split(" ")[0], overrides, arguments.clicks)
        for steps in MIN_STEPS:
            started = time.perf_counter()
            runs = [measure(found, TrainerConfig(min_steps=steps, seed=seed)) for seed in range(arguments.seeds)]
            seconds = (time.perf_counter() - started) / arguments.seeds
            by_k = [[recall[k] for _, recall in runs] for k in KS]
            table.add_row(
                shop,
                str(steps),
                f"{statistics.mean(epochs for epochs, _ in runs):.1f}",
                f"{seconds:.0f}",
                *(f"{statistics.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})" for values in by_k),
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
