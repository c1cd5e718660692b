"""Steps of a large shop on this machine, once: each one's seconds, processor seconds and peak of memory.

Run: python -m benchmarks.large_shop --events 30_000_000
     python -m benchmarks.large_shop --items 10_000_000 [--dim 64] [--title-units 8] [--shards 1]

`--events`: a simulated log through ingestion and Transform. `--items`: a generated catalog through the embedding, by
untrained towers over the words of the tests' small shop, and the choice of the index. Each step runs in a process of
its own that imports all it needs and has the settings of a local run, so its figures are the whole step's. What a step
did stays in `--folder` with its figures: a run that was stopped goes on with the step that it was in.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

_GIB: Final = 2**30
_ITEMS_PER_FILE: Final = 100_000
_QUERIES: Final = 256
_ONE_WORKER: Final = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


@dataclass(frozen=True)
class Shop:
    """What is run.

    Attributes:
      size: events or items.
      dim: of the vectors.
      title_units: of a title that are read.
      shards: of the index, built one after the other.
    """

    size: int
    dim: int = 192
    title_units: int = 40
    shards: int = 1


@dataclass(frozen=True)
class Done:
    """What a step took and left: seconds, processor seconds, bytes of memory at the peak, bytes on disk, and what it
    says of its work.
    """

    seconds: float
    cpu: float
    memory: int
    disk: int
    says: str = ""


def simulated(shop: Shop, folder: Path) -> str:
    """The log, in `<step>/shop-<events>`."""
    from benchmarks.ingest import simulate

    simulate(shop.size, folder / "simulated")
    return f"{json.loads((_log(shop, folder) / 'shop.json').read_text())['rows_written']:,} events"


def ingested(shop: Shop, folder: Path) -> str:
    """Its examples."""
    from benchmarks.ingest import PROFILE_COLUMNS
    from components.example_gen.config import IngestConfig
    from components.example_gen.ingest import run_ingest

    log = _log(shop, folder)
    data = {
        "events": f"{log}/events/*.jsonl.gz",
        "catalog": f"{log}/catalog.jsonl.gz",
        "users": f"{log}/users.jsonl.gz",
        "profile_columns": list(PROFILE_COLUMNS),
    }
    summary = run_ingest(IngestConfig.parse({"data": data}), str(folder / "ingested"), _ONE_WORKER)
    return f"{sum(summary.counters[f'examples.{split}'] for split in ('train', 'eval')):,} searches"


def transformed(shop: Shop, folder: Path) -> str:
    """The examples as ids, and the graph."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0.schema_pb2 import Schema

    from components.example_gen.ingest import local_pipeline
    from components.transform.config import TransformConfig
    from components.transform.job import transform_splits
    from schema.artifacts import split_folder
    from schema.features import CATALOG_SPLIT, SPLITS, TRAIN_SPLIT

    raw, out = folder / "ingested", folder / "transformed"
    with local_pipeline(_ONE_WORKER) as pipeline:
        transform_splits(
            pipeline,
            text_format.Parse(Path("schema/souk.pbtxt").read_text(), Schema()),
            TransformConfig(),
            analyzed=[str(raw / split_folder(split)) for split in (TRAIN_SPLIT, CATALOG_SPLIT)],
            splits={str(raw / split_folder(split)): str(out / split_folder(split)) for split in SPLITS},
            graph_dir=str(out / "graph"),
            scratch=str(out / "unfinished"),
        )
    shutil.rmtree(out / "unfinished")
    words = (out / "graph/transform_fn/assets/unigrams").read_bytes().count(b"\n")
    return f"{words:,} unigrams"


def generated(shop: Shop, folder: Path) -> str:
    """Catalog examples, as ingestion writes them, a hundred thousand a file; and some queries, words of titles."""
    import numpy as np
    import polars as pl

    from benchmarks.delta import catalog_of
    from benchmarks.filters import SEED
    from benchmarks.lexical import queries_of, titles_of, words_of
    from components.example_gen.catalog import item_columns, validate_items
    from components.example_gen.config import CatalogColumns
    from components.example_gen.encode import TFRecordWriter, tfrecords

    (folder / "generated").mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    words = words_of(rng)
    columns = CatalogColumns(text=("story",), categorical=("color",), numeric=("rating",))
    for first in range(0, shop.size, _ITEMS_PER_FILE):
        titles = titles_of(min(_ITEMS_PER_FILE, shop.size - first), rng, words)
        catalog = catalog_of(titles, rng, first)
        raw = catalog.with_columns(pl.all().cast(pl.String), shop=pl.lit(None, pl.String), available=pl.lit("true"))
        items, _, _ = validate_items(raw, 0, columns)
        with (folder / "generated" / f"{first:010d}.gz").open("wb") as file, TFRecordWriter(file) as writer:
            for records in tfrecords(item_columns(items)):
                writer.write(records)
        if not first:
            queries = queries_of(titles, rng.choice(len(titles), _QUERIES), rng)
            (folder / "generated" / "queries.json").write_text(json.dumps(queries))
    return f"{shop.size:,} items"


def embedded(shop: Shop, folder: Path) -> str:
    """The parts of the embedded catalog."""
    from benchmarks.delta import untrained_model
    from components.example_gen.ingest import local_pipeline
    from components.index_builder.catalog import SharedModel, embed_catalog
    from trainer import artifact
    from trainer.config import TrainerConfig

    parts = folder / "embedded" / "parts"
    parts.mkdir(parents=True)
    model = untrained_model(TrainerConfig(dim=shop.dim, title_units=shop.title_units))
    artifact.save(model, str(folder / "embedded" / "model"))
    with local_pipeline(_ONE_WORKER) as pipeline:
        embed_catalog(
            pipeline, SharedModel(str(folder / "embedded" / "model")), str(folder / "generated" / "*.gz"), str(parts)
        )
    return f"{sum(1 for _ in parts.glob('*.npz')):,} parts"


def indexed(shop: Shop, folder: Path) -> str:
    """Chooses the index of each shard, which it measures; keeps nothing, as a servable is the next step's."""
    import numpy as np

    from components.index_builder.build import query_vectors
    from components.index_builder.catalog import read_parts, rows_to_index
    from components.index_builder.config import IndexConfig
    from components.index_builder.parameters import choose_index
    from schema.servable_files import shard_of
    from souk_client.examples import search_example
    from trainer import artifact

    config = IndexConfig(shards=shop.shards)
    catalog = read_parts(str(folder / "embedded" / "parts"))
    rows = rows_to_index(catalog, config.drop_duplicates)
    read = _peak()
    model = artifact.load(str(folder / "embedded" / "model"))
    queries = json.loads((folder / "generated" / "queries.json").read_text())
    vectors = query_vectors(model, [search_example(query) for query in queries]).reshape(-1, shop.dim)
    owner = shard_of(catalog.table.item_ids, shop.shards)[rows]
    chosen = []
    for shard in range(shop.shards):
        # Not the index itself: it must be gone before the next shard's is built.
        curve = choose_index(catalog.vectors[rows[np.flatnonzero(owner == shard)]], vectors, config)[1]
        chosen.append(next(point for point in curve if point.chosen))
    worst = min(chosen, key=lambda point: point.recall)
    (folder / "indexed").mkdir(parents=True)
    (folder / "indexed" / "chosen.json").write_text(json.dumps([asdict(point) for point in chosen], indent=1))
    return (
        f"{len(rows):,} indexed; {worst.name}, recall {worst.recall:.3f}, {worst.latency_ms:.0f} ms a search; "
        f"{read / _GIB:.1f} GiB once read"
    )


Step = Callable[[Shop, Path], str]
EVENT_STEPS: Final[Mapping[str, Step]] = {"simulated": simulated, "ingested": ingested, "transformed": transformed}
ITEM_STEPS: Final[Mapping[str, Step]] = {"generated": generated, "embedded": embedded, "indexed": indexed}


def run(shop: Shop, steps: Mapping[str, Step], folder: Path, console: Console) -> None:
    """Runs those steps that the folder has no figures of, and prints a table."""
    folder.mkdir(parents=True, exist_ok=True)
    table = Table(title=f"{shop}, each step in a process of its own", title_justify="left")
    for column in ("step", "seconds", "CPU seconds", "CPU s per million", "peak GiB", "disk GiB", ""):
        table.add_column(column, justify="left" if column in ("step", "") else "right")
    for name in steps:
        figures = _figures(folder, name, shop)
        if not figures.exists():
            shutil.rmtree(folder / name, ignore_errors=True)
            arguments = json.dumps({"shop": asdict(shop), "step": name, "folder": str(folder)})
            environment = os.environ | {"PYTHONPATH": os.getcwd(), "TF_CPP_MIN_LOG_LEVEL": "3"}
            environment |= {"TF_USE_LEGACY_KERAS": "1"}
            subprocess.run(
                [sys.executable, "-m", "benchmarks.large_shop", "--step", arguments], env=environment, check=True
            )
        done = Done(**json.loads(figures.read_text()))
        cells = [f"{done.seconds:,.0f}", f"{done.cpu:,.0f}", f"{done.cpu / shop.size * 1e6:.1f}"]
        table.add_row(name, *cells, f"{done.memory / _GIB:.2f}", f"{done.disk / _GIB:.2f}", done.says)
        print(name, done, file=sys.stderr)
    console.print(table)


def run_step(arguments: str) -> None:
    """Runs one step and writes its figures; in a process of its own."""
    given = json.loads(arguments)
    shop, name, folder = Shop(**given["shop"]), given["step"], Path(given["folder"])
    started = time.monotonic()
    says = {**EVENT_STEPS, **ITEM_STEPS}[name](shop, folder)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    disk = sum(path.stat().st_size for path in _files(folder / name))
    done = Done(time.monotonic() - started, usage.ru_utime + usage.ru_stime, _peak(), disk, says)
    unfinished = folder / "unfinished.json"
    unfinished.write_text(json.dumps(asdict(done), indent=1))
    unfinished.rename(_figures(folder, name, shop))


def _figures(folder: Path, name: str, shop: Shop) -> Path:
    # What is embedded is the same for any number of shards.
    return folder / (f"{name}-of-{shop.shards}.json" if name == "indexed" else f"{name}.json")


def _log(shop: Shop, folder: Path) -> Path:
    return folder / "simulated" / f"shop-{shop.size}"


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, help="of the log")
    parser.add_argument("--items", type=int, help="of the catalog")
    parser.add_argument("--dim", type=int, default=64, help="with --items: of the vectors")
    parser.add_argument("--title-units", type=int, default=8, help="with --items: of a title that are read")
    parser.add_argument("--shards", type=int, default=1, help="with --items: of the index")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-large-shop"))
    parser.add_argument("--step", help=argparse.SUPPRESS)
    known = parser.parse_args()
    if known.step:
        run_step(known.step)
        return
    if max(known.events or 0, known.items or 0) < 1:
        parser.error("say how many --events or --items")
    console = Console(width=140)
    print(f"{os.cpu_count()} processors; before the start the load average was {os.getloadavg()[1]:.1f}")
    folder = known.folder.resolve()
    if known.events:
        run(Shop(known.events), EVENT_STEPS, folder / f"events-{known.events}", console)
    if known.items:
        shop = Shop(known.items, known.dim, known.title_units, known.shards)
        run(shop, ITEM_STEPS, folder / f"items-{known.items}-{known.dim}-{known.title_units}", console)


if __name__ == "__main__":
    main()
