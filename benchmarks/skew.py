"""What a skewed log costs ingestion, beside an even log of the same size.

The even log is a simulated shop's. The others are made of it, row by row: a user with 30 % of the events, a query that
is 20 % of the searches, an item that every search shows first. Each is ingested by a process of its own with one
worker, in turn, repeated; the peak memory is what the kernel says of that process (VmHWM).

The log with the one user is also ingested with `max_user_events` out of reach: the memory that the cap saves.

Run: python -m benchmarks.skew [--sizes 1_000_000,3_000_000] [--repeat 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import PROFILE_COLUMNS, simulate

EVEN, USER, QUERY, ITEM, UNCAPPED = "even", "user", "query", "item", "uncapped"
LABELS = {
    EVEN: "even",
    USER: "one user: 30 % of the events",
    QUERY: "one query: 20 % of the searches",
    ITEM: "one item in every search",
    UNCAPPED: "one user, without a cap",
}
_OUT_OF_REACH = 1_000_000_000
_WORKER = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


@dataclass(frozen=True)
class Run:
    """One measured ingestion: wall clock and processor seconds, bytes at its peak."""

    seconds: float
    cpu: float
    memory: int


def of_requests(share: float) -> pl.Expr:
    """Whether an event's request is among a share of them, drawn by its id."""
    return (pl.col("request_id").hash(seed=1) % 1000 < 1000 * share).fill_null(value=False)


def with_one_user(events: pl.DataFrame) -> pl.DataFrame:
    return events.with_columns(user_id=pl.when(of_requests(0.3)).then(pl.lit("robot")).otherwise("user_id"))


def with_one_query(events: pl.DataFrame) -> pl.DataFrame:
    asked = pl.col("query").is_not_null() & of_requests(0.2)
    return events.with_columns(query=pl.when(asked).then(pl.lit("gift")).otherwise("query"))


def with_one_item(events: pl.DataFrame) -> pl.DataFrame:
    """What was shown first in a request is the one item, and so is what was done with it there."""
    one = events["item_id"].drop_nulls().sort()[0]
    first = events.filter((pl.col("event_type") == "impression") & (pl.col("position") == 1))
    shown = first.select("request_id", "item_id", first=True).unique()
    joined = events.join(shown, on=["request_id", "item_id"], how="left", maintain_order="left")
    return joined.with_columns(item_id=pl.when("first").then(pl.lit(one)).otherwise("item_id")).drop("first")


SKEWS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    EVEN: lambda events: events,
    USER: with_one_user,
    QUERY: with_one_query,
    ITEM: with_one_item,
}


def log_of(kind: str, shop: Path) -> Path:
    """The folder of a log's events, made of the shop's once; the even one too, so that all are compressed alike."""
    folder = shop / f"skew-{kind}"
    if not (folder / "complete").exists():
        folder.mkdir(exist_ok=True)
        for path in sorted((shop / "events").glob("*.jsonl.gz")):
            skewed = SKEWS[kind](pl.read_ndjson(path))
            skewed.write_ndjson(folder / path.name, compression="gzip")
        (folder / "complete").touch()
    return folder


def ingest(kind: str, shop: Path, out: Path) -> None:
    """Ingests a log in this process, and prints what it took as the last line."""
    from benchmarks.ingest import measure
    from components.example_gen.config import IngestConfig
    from components.example_gen.ingest import run_ingest

    settings = {
        "data": {
            "events": f"{shop}/skew-{USER if kind == UNCAPPED else kind}/*.jsonl.gz",
            "catalog": f"{shop}/catalog.jsonl.gz",
            "users": f"{shop}/users.jsonl.gz",
            "profile_columns": list(PROFILE_COLUMNS),
        }
    }
    config = IngestConfig.parse(settings | ({"max_user_events": _OUT_OF_REACH} if kind == UNCAPPED else {}))
    measure(lambda: run_ingest(config, str(out), _WORKER))
    status = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))


def run(kind: str, shop: Path, out: Path) -> Run:
    """Ingests a log in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.skew", "--job", kind, "--shop", str(shop), "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if ended.returncode:
        raise SystemExit(f"{kind} failed:\n{ended.stderr[-3000:]}")
    *_, measured, kibibytes = ended.stdout.splitlines()
    values = json.loads(measured)
    return Run(values["seconds"], values["cpu"], int(kibibytes) * 1024)


def counts(folder: Path) -> tuple[int, int]:
    """The search examples that a run wrote, and the searches, clicks, carts and orders that it dropped over the cap."""
    counters = json.loads((folder / "summary.json").read_text())["counters"]
    dropped = sum(counters.get(f"events.{what}_over_max_user_events", 0) for what in ("requests", "interactions"))
    return counters["examples.train"] + counters["examples.eval"], dropped


def compare(size: int, folder: Path, repeat: int, console: Console) -> None:
    """Prints the table of one size."""
    shop = simulate(size, folder)
    for kind in SKEWS:
        log_of(kind, shop)
    runs: dict[str, list[Run]] = {kind: [] for kind in LABELS}
    for _ in range(repeat):
        for kind in LABELS:
            runs[kind].append(run(kind, shop, folder / f"out-{kind}"))
            print(f"{size} {kind}: {runs[kind][-1]}", file=sys.stderr)
    written = {kind: sum(p.stat().st_size for p in (folder / f"out-{kind}").rglob("*.gz")) for kind in LABELS}
    events = json.loads((shop / "shop.json").read_text())["rows_written"]
    table = Table(title=f"{events:,} events, median of {repeat} interleaved runs")
    table.add_column("log")
    columns = ("seconds", "CPU seconds", "times even", "peak MiB", "times even", "written MiB", "examples", "dropped")
    for column in columns:
        table.add_column(column, justify="right")
    cpu = {kind: statistics.median(r.cpu for r in measured) for kind, measured in runs.items()}
    memory = {kind: statistics.median(r.memory for r in measured) for kind, measured in runs.items()}
    for kind, measured in runs.items():
        table.add_row(
            LABELS[kind],
            f"{statistics.median(r.seconds for r in measured):.1f}",
            f"{cpu[kind]:.1f}",
            f"{cpu[kind] / cpu[EVEN]:.2f}",
            f"{memory[kind] / 2**20:,.0f}",
            f"{memory[kind] / memory[EVEN]:.2f}",
            f"{written[kind] / 2**20:,.0f}",
            *(f"{count:,}" for count in counts(folder / f"out-{kind}")),
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1_000_000,3_000_000", help="events of the logs")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/souk-benchmark-ingest"), help="for logs and outputs")
    parser.add_argument("--job", choices=list(LABELS), help=argparse.SUPPRESS)
    parser.add_argument("--shop", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    known = parser.parse_args()
    if known.job:
        ingest(known.job, known.shop, known.out)
        return
    console = Console(width=150)
    console.print(
        f"{os.cpu_count()} processors; before the start the load average was {os.getloadavg()[1]:.1f}. Other programs "
        "lengthen seconds, much less CPU seconds."
    )
    for size in known.sizes.split(","):
        compare(int(size), known.folder, known.repeat, console)


if __name__ == "__main__":
    main()
