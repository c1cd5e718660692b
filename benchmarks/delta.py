"""What a delta index costs: seconds from the changed catalog file to the answer, and processor time of an answer.

    make bench-delta    or    python -m benchmarks.delta [--items 1000000] [--changed 1000] [--queries 2000]

A catalog is generated as for the benchmark of the lexical channel, its items are embedded by untrained towers of the
default size, and the full index is built and served by a serving program of its own. Then two of five changed items
are new, two have another price and one is gone; the file is compared, and the delta index built, gated, pushed and
loaded by that server, until a new item is an answer. Processor time is the server's, of hybrid answers to words of
titles, one after the other, asked without and with the delta index in turns.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.filters import SEED
from benchmarks.lexical import queries_of, titles_of
from benchmarks.serving.server import serving
from components.delta_index.build import embed
from components.example_gen.catalog import item_columns
from components.example_gen.catalog_file import read_catalog_file
from components.example_gen.encode import TFRecordWriter, encode_examples, tfrecords
from components.index_builder.build import query_vectors
from components.index_builder.catalog import EmbeddedCatalog
from components.index_builder.config import IndexConfig
from components.index_builder.delta_basis import DeltaBasis, basis_of
from components.index_builder.lexical.lexicon import Lexicon, fields_of
from components.index_builder.lexical.postings import build_postings
from components.index_builder.parameters import choose_index
from components.index_builder.servable import Servable
from components.index_builder.warmup import write_warmup_requests
from pipeline.config import PipelineConfig
from pipeline.delta import FullIndex, refresh_beside
from schema import transformed
from souk_client.client import Client
from souk_client.examples import search_example
from tests.small_shop import small_shop
from trainer import artifact
from trainer.artifact import TrainedModel
from trainer.clicked_queries import with_clicked_words
from trainer.config import TrainerConfig
from trainer.input import SearchReader
from trainer.item_table import ItemReader, read_item_table
from trainer.training_data import input_sizes

VERSION, ROUNDS = 1, 4
NEW_WORD = "zirconium"


def catalog_of(titles: list[list[str]], rng: np.random.Generator, first: int = 0) -> pl.DataFrame:
    """A catalog file's rows, whose ids count from `first`."""
    items = len(titles)
    return pl.DataFrame(
        {
            "item_id": np.char.add("i", np.char.zfill(np.arange(first, first + items).astype(str), 8)),
            "title": [" ".join(title) for title in titles],
            "brand": np.char.add("brand ", rng.integers(0, 1000, items).astype(str)),
            "category": np.char.add("Home > ", rng.integers(0, 200, items).astype(str)),
            "price": np.round(rng.uniform(1, 500, items), 2),
            "color": rng.choice(["red", "green", "blue"], items),
            "rating": np.round(rng.uniform(1, 5, items), 1),
            "story": [" ".join(title[:3]) for title in titles],
        }
    )


def changed(catalog: pl.DataFrame, count: int) -> pl.DataFrame:
    """The same with `count` items new, dearer or gone, in a proportion of 2, 2 and 1."""
    fifth = count // 5
    dearer = catalog[: 2 * fifth].with_columns(pl.col("price") + 1)
    new = catalog[-2 * fifth :].with_columns(
        pl.col("item_id").str.replace("i", "new"), title=pl.lit(f"{NEW_WORD} ") + pl.col("title")
    )
    return pl.concat([dearer, catalog[2 * fifth : -fifth], new])


def untrained_model(trained: TrainerConfig = TrainerConfig()) -> TrainedModel:  # noqa: B008
    """Towers, of the default size if nothing is said, over the words of the tests' small shop."""
    shop = small_shop()
    sizes = input_sizes(shop.transform)
    reader = ItemReader(trained, tuple(sizes.columns))
    ids = shop.transform.vocabulary_by_name(transformed.ITEM_IDS.name)
    table = with_clicked_words(read_item_table(reader, shop.files("catalog"), ids), [], 1, trained.clicked_units)
    towers = artifact.make_towers(trained, sizes)
    artifact.build(towers, SearchReader(trained, tuple(sizes.profile)), table)
    return TrainedModel(trained, sizes, towers, table, shop.transform, {})


def push_full(model: TrainedModel, catalog: EmbeddedCatalog, queries: list[str], base: Path) -> DeltaBasis:
    """Writes the full index as a version; gives what a delta of it is built from."""
    config = IndexConfig()
    examples = [search_example(query) for query in queries[:128]]
    index, _ = choose_index(
        catalog.vectors, query_vectors(model, examples).reshape(-1, model.config.vector_dim), config
    )
    fields = fields_of(catalog.attributes, catalog.texts, [b""] * catalog.table.size, config.lexical)
    postings = build_postings(fields, config.lexical, True)
    lexicon = Lexicon(postings, True, float(np.linalg.norm(catalog.vectors, axis=1).max()), 0.5)
    rows = np.arange(catalog.table.size, dtype=np.int32)
    with tempfile.TemporaryDirectory() as folder:
        servable = Servable(model, catalog.table, index, rows, catalog.attributes, lexicon, config, folder)
        servable.save(str(base / "unfinished"))
    write_warmup_requests(str(base / "unfinished"), config.model_name, examples[:8])
    (base / "unfinished").rename(base / str(VERSION))
    return basis_of(lexicon, [], config)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-delta"))
    arguments = parser.parse_args()
    folder = arguments.folder
    shutil.rmtree(folder, ignore_errors=True)
    base = folder / "serving" / "souk"
    base.mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    titles = titles_of(arguments.items, rng)
    queries = queries_of(titles, rng.choice(arguments.items, arguments.queries), rng)
    catalog = catalog_of(titles, rng)
    path = folder / "catalog.parquet"
    catalog.write_parquet(path)
    # Those of the tests' small shop.
    columns = {"text": "story", "categorical": "color", "numeric": "rating"}
    data = {"events": "none", "catalog": str(path), "catalog_columns": columns}
    config = PipelineConfig.parse({"root": str(folder), "ingest": {"data": data}})
    own = untrained_model()
    artifact.save(own, str(folder / "model"))
    items = read_catalog_file(None, config.ingest).items
    examples = [example for batch in encode_examples(item_columns(items)) for example in batch]
    with (folder / "catalog.gz").open("wb") as file, TFRecordWriter(file) as writer:
        for records in tfrecords(item_columns(items)):
            writer.write(records)
    embedded = embed(own, examples)
    assert embedded is not None
    push_full(own, embedded, queries, base).save(str(folder / "basis"))
    del embedded, examples, items, titles

    print(f"{os.cpu_count()} processors, {arguments.items:,} items, {arguments.changed:,} changed")
    with serving("souk serve", base, Path.cwd(), folder / "server.log") as server, Client(server.address) as client:
        changed(catalog, arguments.changed).write_parquet(path)
        del catalog
        started = time.monotonic()
        model, basis = artifact.load(str(folder / "model")), DeltaBasis.load(str(folder / "basis"))
        seconds = {"full": time.monotonic() - started}
        outcome = refresh_beside(FullIndex(VERSION, model, basis, str(folder / "catalog.gz")), config)
        assert outcome.version is not None, outcome
        seconds |= outcome.seconds
        pushed = time.monotonic()
        while not client.search(NEW_WORD)[0].item_id.startswith("new"):
            time.sleep(0.1)
        seconds |= {"loaded and found": time.monotonic() - pushed, "all": time.monotonic() - started}
        table = Table(title="Seconds from the file to the answer", title_justify="left")
        for name in seconds:
            table.add_column(name, justify="right")
        table.add_row(*(f"{value:.1f}" for value in seconds.values()))
        Console(width=120).print(table)

        spent: dict[str, list[float]] = {"full": [], "full and delta": []}
        with Client(server.address, with_delta=False) as alone:
            asked = {"full": alone, "full and delta": client}
            for turn in range(-1, ROUNDS):
                for name, one in asked.items():
                    before = server.cpu_s()
                    for query in queries:
                        one.search(query)
                    if turn >= 0:
                        spent[name].append((server.cpu_s() - before) / len(queries) * 1000)
        table = Table(title="The server's processor time of a hybrid answer, ms", title_justify="left")
        for name in (*spent, "more"):
            table.add_column(name, justify="right")
        full, both = (float(np.median(values)) for values in spent.values())
        table.add_row(f"{full:.2f}", f"{both:.2f}", f"{both / full - 1:.0%}")
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
