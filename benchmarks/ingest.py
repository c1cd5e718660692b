"""How fast ingestion is, and how its time and memory grow.

First table: the columnar job against a plain per-row Beam job (`benchmarks/ingest_per_row.py`) on the same simulated
log, interleaved, each repeated; both give the same examples, which is checked. With one worker or threads the columnar
job needs no Beam, with processes it does. Beside them bare polars, which only reads the log, sorts it by user and time
and groups it by request, and the columnar job on the log as Parquet. Second table: the columnar job alone on ever
larger logs. Times are the job's own, without the start of the interpreter and its imports; memory is the largest sum of
resident memory over the process and its children, sampled.

Run: python -m benchmarks.ingest [--events 1_000_000] [--repeat 3] [--growth 1_000_000,3_000_000,10_000_000]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

PROFILE_COLUMNS = ("gender", "age_group", "purchasing_power", "region")
# What the simulated shop gives per search, about.
EVENTS_PER_SEARCH = 8.0
EVENTS_PER_USER = 190
LOG = dict.fromkeys(
    ("event_id", "timestamp", "request_id", "user_id", "event_type", "query", "item_id"), pl.String()
) | {"position": pl.Int64()}


@dataclass(frozen=True)
class Run:
    """One measured run: events read, seconds of wall clock and of processors, bytes at its peak."""

    events: int
    seconds: float
    cpu: float
    memory: int


def simulate(events: int, folder: Path) -> Path:
    """A simulated shop with about `events` events; made once."""
    shop = folder / f"shop-{events}"
    if not (shop / "shop.json").exists():
        from marketplace.presets import choose_settings
        from marketplace.simulation import simulate as simulate_shop

        overrides = [
            f"searches={int(events / EVENTS_PER_SEARCH)}",
            f"searchers.users={events // EVENTS_PER_USER}",
            "catalog.items=24000",
            "queries.intents=20000",
        ]
        simulate_shop(choose_settings("large", None, 0, overrides), shop)
    return shop


def as_parquet(shop: Path) -> Path:
    """The shop's log as Parquet files, times as such; made once."""
    folder = shop / "parquet"
    if not folder.exists():
        for path in sorted((shop / "events").glob("*.jsonl.gz")):
            times = pl.col("timestamp").str.to_datetime(time_unit="ms", time_zone="UTC")
            target = folder / f"{path.name.removesuffix('.jsonl.gz')}.parquet"
            pl.read_ndjson(path, schema=LOG).with_columns(times).write_parquet(target, mkdir=True)
    return folder


def run_bare_polars(shop: Path, out: Path, beam_args: Sequence[str]) -> None:
    def work() -> None:
        log = pl.concat([pl.read_ndjson(path, schema=LOG) for path in sorted((shop / "events").glob("*.jsonl.gz"))])
        times = pl.col("timestamp").str.to_datetime(time_unit="ms", time_zone="UTC")
        log.with_columns(times).sort("user_id", "timestamp").group_by("request_id").agg(pl.all())

    measure(work)


def run_columnar(shop: Path, out: Path, beam_args: Sequence[str], events: str = "events/*.jsonl.gz") -> None:
    from components.example_gen.config import IngestConfig
    from components.example_gen.ingest import run_ingest

    config = IngestConfig.parse(
        {
            "data": {
                "events": f"{shop}/{events}",
                "catalog": f"{shop}/catalog.jsonl.gz",
                "users": f"{shop}/users.jsonl.gz",
                "profile_columns": list(PROFILE_COLUMNS),
            }
        }
    )
    measure(lambda: run_ingest(config, str(out), beam_args))


def run_columnar_on_parquet(shop: Path, out: Path, beam_args: Sequence[str]) -> None:
    as_parquet(shop)
    run_columnar(shop, out, beam_args, "parquet/*.parquet")


def run_per_row(shop: Path, out: Path, beam_args: Sequence[str]) -> None:
    from benchmarks import ingest_per_row

    measure(lambda: ingest_per_row.run(str(shop), str(out), PROFILE_COLUMNS, list(beam_args)))


JOBS = {
    "per-row": run_per_row,
    "columnar": run_columnar,
    "columnar-parquet": run_columnar_on_parquet,
    "bare-polars": run_bare_polars,
}


def measure(work: object) -> None:
    """Runs `work` and prints its seconds as the last line."""
    cpu, started = _cpu(), time.monotonic()
    work()  # type: ignore[operator]
    print(json.dumps({"seconds": time.monotonic() - started, "cpu": _cpu() - cpu}))


def _cpu() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run(job: str, shop: Path, out: Path, beam_args: Sequence[str]) -> Run:
    """Runs a job in a process of its own and watches its memory."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.ingest",
        "--job",
        job,
        "--shop",
        str(shop),
        "--out",
        str(out),
        *beam_args,
    ]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process, peak))
    watcher.start()
    output, errors = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{job} failed:\n{errors[-3000:]}")
    values = json.loads(output.splitlines()[-1])
    events = json.loads((shop / "shop.json").read_text())["rows_written"]
    return Run(events, values["seconds"], values["cpu"], peak[0])


def _watch(process: subprocess.Popen[str], peak: list[int]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], sum(_resident(pid) for pid in _family(process.pid)))
        time.sleep(0.05)


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def examples(folder: Path) -> dict[tuple[str, str], int]:
    """A fingerprint of every example of a run, whatever the order of its features."""
    import tensorflow as tf

    found: dict[tuple[str, str], int] = {}
    for split, key in (("train", "request_id"), ("eval", "request_id"), ("catalog", "item_id")):
        files = [str(path) for path in folder.glob(f"Split-{split}/*.gz")]
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            values = {
                name: tuple(getattr(feature[name], kind).value)
                for name in feature
                if (kind := feature[name].WhichOneof("kind")) and getattr(feature[name], kind).value
            }
            found[split, feature[key].bytes_list.value[0].decode()] = hash(tuple(sorted(values.items())))
    return found


def compare(shop: Path, folder: Path, repeat: int, console: Console) -> None:
    """Prints the first table."""
    one = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
    threads = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
    processes = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    variants = {
        ("per row", "1 worker"): ("per-row", one),
        ("columnar", "1 worker"): ("columnar", one),
        ("columnar", "1 worker, Parquet"): ("columnar-parquet", one),
        ("bare polars", "1 process"): ("bare-polars", one),
        ("columnar", "2 threads"): ("columnar", threads),
        ("columnar", "2 processes"): ("columnar", processes),
    }
    runs: dict[tuple[str, str], list[Run]] = {name: [] for name in variants}
    for _ in range(repeat):
        for name, (job, beam_args) in variants.items():
            runs[name].append(run(job, shop, folder / job, beam_args))
            print(f"{' '.join(name)}: {runs[name][-1]}", file=sys.stderr)
    expected = examples(folder / "per-row")
    for job in ("columnar", "columnar-parquet"):
        found = examples(folder / job)
        if expected != found:
            differing = sum(expected.get(key) != found.get(key) for key in expected.keys() | found.keys())
            raise SystemExit(f"{job} differs from per-row in {differing} of {len(expected)} examples")
    base = statistics.median(r.seconds for r in runs["per row", "1 worker"])
    base_cpu = statistics.median(r.cpu for r in runs["per row", "1 worker"])
    events = runs["per row", "1 worker"][0].events
    table = Table(
        title=f"{events:,} simulated events, median of {repeat} interleaved runs; {len(found):,} equal examples"
    )
    for column in ("job", "with", "seconds", "events/s", "times per row", "CPU seconds", "times less CPU", "peak MiB"):
        table.add_column(column, justify="left" if column in ("job", "with") else "right")
    for (job, workers), measured in runs.items():
        seconds = statistics.median(r.seconds for r in measured)
        cpu = statistics.median(r.cpu for r in measured)
        memory = max(r.memory for r in measured)
        table.add_row(
            job,
            workers,
            f"{seconds:.1f}",
            f"{events / seconds:,.0f}",
            f"{base / seconds:.1f}",
            f"{cpu:.1f}",
            f"{base_cpu / cpu:.1f}",
            f"{memory / 2**20:,.0f}",
        )
    console.print(table)


def grow(sizes: list[int], folder: Path, console: Console) -> None:
    """Prints the second table."""
    table = Table(title="The columnar job alone, 1 worker, on ever larger simulated logs")
    for column in ("events", "seconds", "events/s", "CPU s per million", "peak MiB"):
        table.add_column(column, justify="right")
    for size in sizes:
        shop = simulate(size, folder)
        done = run("columnar", shop, folder / "columnar", ("--direct_running_mode=in_memory", "--direct_num_workers=1"))
        table.add_row(
            f"{done.events:,}",
            f"{done.seconds:.1f}",
            f"{done.events / done.seconds:,.0f}",
            f"{done.cpu / done.events * 1e6:.2f}",
            f"{done.memory / 2**20:,.0f}",
        )
        print(done, file=sys.stderr)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="size of the log that both jobs read; 0: none")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--growth", default="1_000_000,3_000_000,10_000_000", help="sizes of the second table")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/souk-benchmark-ingest"), help="for logs and outputs")
    parser.add_argument("--job", choices=list(JOBS), help=argparse.SUPPRESS)
    parser.add_argument("--shop", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    known, beam_args = parser.parse_known_args()
    if known.job:
        JOBS[known.job](known.shop, known.out, beam_args)
        return
    console = Console(width=110)
    console.print(
        f"{os.cpu_count()} processors; before the start the load average was {os.getloadavg()[1]:.1f}. Other programs "
        "lengthen seconds, much less CPU seconds."
    )
    if known.events:
        compare(simulate(known.events, known.folder), known.folder, known.repeat, console)
    sizes = [int(size) for size in known.growth.split(",") if size]
    if sizes:
        grow(sizes, known.folder, console)


if __name__ == "__main__":
    main()
