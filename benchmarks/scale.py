"""What one event costs ingestion, wherever it runs: bytes moved and stored, and memory to process a partition.

First table: bytes, and rows that Beam shuffles, for each event, by number of partitions. The last row is that of a log
of a billion events: how a record batch is partitioned depends on its size and the number of partitions alone, so a
million events show it. Second table: the memory of a process for one partition, by the events of the partition, above
what the process takes to start; each is measured in a process of its own.

Run: python -m benchmarks.scale [--events 1_000_000] [--partitions 1,2,4,8,16]
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import polars as pl
from apache_beam.coders import FastPrimitivesCoder
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import PROFILE_COLUMNS, simulate
from components.example_gen import job as kinds
from components.example_gen import steps
from components.example_gen.config import IngestConfig
from components.example_gen.job import IngestJob, plan_job
from components.example_gen.summary import Tally
from components.example_gen.timeline import timeline

Partitioned = list[tuple[int, Any]]
_MIB: Final = 2**20
_LARGEST: Final = 1_000_000_000
# Of such a log, by `components.example_gen.job`.
_MAX_PARTITIONS: Final = 4096
_ID_PARTS: Final = 20
_IDS_PER_PART: Final = 250_000


@dataclass(frozen=True)
class Stage:
    """What one step passes to the next: bytes on the disk that all workers share, rows that Beam shuffles, and bytes of
    such a row as Beam encodes it.
    """

    kept: int
    rows: int
    row: float


@dataclass
class Measured:
    """The measurements of one run of the steps.

    Attributes:
      partitions: of the log.
      events, searches: how many there were.
      log: bytes of the log's text.
      stages: by the name of what is passed on.
      written: bytes of the search examples.
      memory: by step, bytes over what the process took to start, and seconds.
    """

    partitions: int
    events: int = 0
    searches: int = 0
    log: int = 0
    stages: dict[str, Stage] = field(default_factory=dict)
    written: int = 0
    memory: dict[str, tuple[int, float]] = field(default_factory=dict)


def run_steps(shop: Path, partitions: int, folder: Path) -> Measured:
    """Runs the steps of ingestion one after the other; partition 0 of each in a process of its own."""
    job = _job(shop, partitions, folder)
    measured = Measured(partitions)
    read, tally = _read(job)
    paths = _catalog(read[kinds.CATALOG], job)
    plan = timeline(tally, job.config)
    again = _again(read["ids"], job)
    requests: Partitioned = []
    interactions: Partitioned = []
    for partition, refs in _grouped(read[kinds.EVENTS], partitions):
        step = steps.join_partition if partition else _measured(measured, "join", steps.join_partition)
        of_requests, of_interactions, _ = step(partition, refs, paths, again, plan, job)
        requests += of_requests
        interactions += of_interactions
    by_user = [dict(_grouped(part, partitions)) for part in (requests, interactions, read[kinds.USERS])]
    for partition in range(partitions):
        step = steps.write_search if partition else _measured(measured, "write", steps.write_search)
        asked, done, profiles = (part.get(partition, []) for part in by_user)
        tally += step(partition, asked, done, profiles, plan, job)
    measured.events = tally.counters["events.read"]
    measured.searches = tally.counters["examples.train"] + tally.counters["examples.eval"]
    measured.log = _decoded(shop / "events")
    measured.written = sum(_size(folder / "out" / f"Split-{split}") for split in ("train", "eval"))
    _weigh(
        measured,
        folder,
        {"events": read[kinds.EVENTS], "ids": read["ids"], "requests": requests, "interactions": interactions},
    )
    return measured


def partition_finely(shop: Path, joined_partitions: int, partitions: int, folder: Path) -> Measured:
    """What is moved of a log so large that it has many partitions, each with the events of one of `joined_partitions`.

    The log is put into one file, so that its record batches are as long as they get.
    """
    one = folder / "shop"
    (one / "events").mkdir(parents=True)
    for name in ("catalog.jsonl.gz", "users.jsonl.gz"):
        (one / name).symlink_to(shop / name)
    with (one / "events" / "all.jsonl.gz").open("wb") as stream:
        for path in sorted((shop / "events").iterdir()):
            stream.write(path.read_bytes())
    fine, coarse = _job(one, partitions, folder / "fine"), _job(one, joined_partitions, folder / "coarse")
    measured = Measured(partitions)
    of_fine, _ = _read(fine)
    _weigh(measured, folder / "fine", {"events": of_fine[kinds.EVENTS], "ids": of_fine["ids"]})
    read, tally = _read(coarse)
    paths = _catalog(read[kinds.CATALOG], coarse)
    plan = timeline(tally, coarse.config)
    again = _again(read["ids"], coarse)
    joined: dict[str, Partitioned] = {"requests": [], "interactions": []}
    for partition, refs in _grouped(read[kinds.EVENTS], joined_partitions):
        fine_job = replace(coarse, partitions=partitions)
        requests, interactions, _ = steps.join_partition(partition, refs, paths, again, plan, fine_job)
        joined["requests"] += requests
        joined["interactions"] += interactions
    measured.events = tally.counters["events.read"]
    _weigh(measured, folder / "coarse", joined)
    return measured


def weigh_item_ids(folder: Path) -> tuple[float, float]:
    """Bytes that an item's id takes at the peak: a process that joins, and one that runs the transform's graph."""
    paths = []
    vocabulary = folder / "vocabulary"
    with vocabulary.open("w") as stream:
        for part in range(_ID_PARTS):
            first = 1_000_000_000 + part * _IDS_PER_PART
            ids = pl.int_range(first, first + _IDS_PER_PART, eager=True).cast(pl.String).shuffle(seed=part)
            paths.append(str(folder / f"{part}.parquet"))
            ids.to_frame("item_id").write_parquet(paths[-1])
            stream.write("\n".join(ids) + "\n")
    measured = Measured(partitions=0)
    _measured(measured, "join", _count_ids)(tuple(paths))
    in_graph = _measured(measured, "look up", _load_vocabulary)(str(vocabulary))
    items = _ID_PARTS * _IDS_PER_PART
    return measured.memory["join"][0] / items, in_graph / items


def _count_ids(paths: tuple[str, ...]) -> int:
    return len(steps._known_items(paths))


def _load_vocabulary(path: str) -> int:
    """Bytes of the table that looks up ids, without TensorFlow itself."""
    import tensorflow as tf

    before = _peak()
    key, value = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    initializer = tf.lookup.TextFileInitializer(path, tf.string, key, tf.int64, value)
    tf.lookup.StaticVocabularyTable(initializer, num_oov_buckets=1)
    return _peak() - before


def _job(shop: Path, partitions: int, folder: Path) -> IngestJob:
    data = {
        "events": f"{shop}/events/*.jsonl.gz",
        "catalog": f"{shop}/catalog.jsonl.gz",
        "users": f"{shop}/users.jsonl.gz",
        "profile_columns": list(PROFILE_COLUMNS),
    }
    config = IngestConfig.parse({"data": data, "partitions": partitions})
    return plan_job(config, str(folder / "out"), str(folder / "work"))


def _read(job: IngestJob) -> tuple[dict[str, Partitioned], Tally]:
    tally = Tally()
    read: dict[str, Partitioned] = defaultdict(list)
    for split in job.input_splits:
        for refs, ids, of_batch in steps.read_split(split, job):
            read[split.kind] += refs
            read["ids"] += ids
            tally += of_batch
    return read, tally


def _again(ids: Partitioned, job: IngestJob) -> list[str]:
    checked = (steps.check_event_ids(number, some, job)[0] for number, some in _grouped(ids, job.partitions))
    return [path for path in checked if path]


def _catalog(refs: Partitioned, job: IngestJob) -> list[str]:
    return [steps.write_catalog(number, some, job)[0] for number, some in _grouped(refs, job.item_partitions)]


def _weigh(measured: Measured, folder: Path, shuffled: dict[str, Partitioned]) -> None:
    coder = FastPrimitivesCoder()
    for name, rows in shuffled.items():
        some = rows[:: max(1, len(rows) // 500)]
        encoded = sum(len(coder.encode(row)) for row in some) / len(some)
        measured.stages[name] = Stage(_size(folder / "work" / name), len(rows), encoded)


def _grouped(rows: Partitioned, partitions: int) -> list[tuple[int, list]]:
    groups: list[list] = [[] for _ in range(partitions)]
    for partition, ref in rows:
        groups[partition].append(ref)
    return [(partition, group) for partition, group in enumerate(groups) if group]


def _measured(into: Measured, name: str, step: Callable) -> Callable:
    """The same step, done by a fresh process that measures itself."""

    def run(*arguments: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            given, got = Path(folder, "given"), Path(folder, "got")
            given.write_bytes(pickle.dumps((step, arguments)))
            subprocess.run(
                [sys.executable, "-m", "benchmarks.scale", "--given", str(given), "--got", str(got)],
                env=os.environ | {"PYTHONPATH": os.getcwd()},
                check=True,
            )
            result, memory, seconds = pickle.loads(got.read_bytes())
        into.memory[name] = (memory, seconds)
        return result

    return run


def run_one(given: Path, got: Path) -> None:
    """Runs one step; in the fresh process."""
    step, arguments = pickle.loads(given.read_bytes())
    before, started = _peak(), time.monotonic()
    result = step(*arguments)
    got.write_bytes(pickle.dumps((result, _peak() - before, time.monotonic() - started)))


def _peak() -> int:
    # Not `ru_maxrss`, which begins with that of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _decoded(folder: Path) -> int:
    import gzip

    total = 0
    for path in folder.iterdir():
        with gzip.open(path) as stream:
            while data := stream.read(16 * _MIB):
                total += len(data)
    return total


def print_bytes(runs: list[Measured], id_bytes: tuple[float, float], console: Console) -> None:
    """Prints the first table."""
    whole = runs[0]
    table = Table(title=f"{whole.events:,} simulated events, of {whole.searches:,} searches: bytes for each event")
    for column in (
        "partitions",
        "disk: events",
        "disk: ids",
        "disk: requests",
        "disk: interactions",
        "rows",
        "through Beam",
    ):
        table.add_column(column, justify="right")
    for run in runs:
        stages = [run.stages[name] for name in ("events", "ids", "requests", "interactions")]
        table.add_row(
            f"{run.partitions:,}",
            *(f"{stage.kept / run.events:.0f}" for stage in stages),
            f"{sum(stage.rows for stage in stages) / run.events:.4f}",
            f"{sum(stage.rows * stage.row for stage in stages) / run.events:.2f}",
        )
    console.print(table)
    console.print(
        f"The log is {whole.log / whole.events:.0f} bytes of text an event, the search examples "
        f"{whole.written / whole.events:.0f}, gzipped. The ids of all items, of ten digits, take a process that joins "
        f"{id_bytes[0]:.0f} bytes an item at the peak, one that runs the transform's graph {id_bytes[1]:.0f}."
    )


def print_memory(runs: list[Measured], console: Console) -> None:
    """Prints the second table."""
    table = Table(title="One partition, in a process of its own: above what it takes to start")
    for column in ("its events", "join MiB", "bytes/event", "s", "write MiB", "bytes/event", "s"):
        table.add_column(column, justify="right")
    for run in sorted(runs, key=lambda run: -run.partitions):
        events = run.events / run.partitions
        cells = [f"{events:,.0f}"]
        for name in ("join", "write"):
            memory, seconds = run.memory[name]
            cells += [f"{memory / _MIB:,.0f}", f"{memory / events:,.0f}", f"{seconds:.2f}"]
        table.add_row(*cells)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--partitions", default="1,2,4,8,16")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/souk-benchmark-ingest"), help="for logs")
    parser.add_argument("--given", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--got", type=Path, help=argparse.SUPPRESS)
    known = parser.parse_args()
    if known.given:
        run_one(known.given, known.got)
        return
    shop = simulate(known.events, known.folder)
    runs = []
    for partitions in map(int, known.partitions.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run_steps(shop, partitions, Path(folder)))
        print(runs[-1], file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        joined_partitions = max(1, round(known.events * _MAX_PARTITIONS / _LARGEST))
        largest = partition_finely(shop, joined_partitions, _MAX_PARTITIONS, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        id_bytes = weigh_item_ids(Path(folder))
    console = Console(width=100)
    print_bytes([*runs, largest], id_bytes, console)
    print_memory(runs, console)


if __name__ == "__main__":
    main()
