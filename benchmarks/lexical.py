"""What the lexical channel costs a server: CPU and wall time of a request by dense, lexical and hybrid retrieval.

    make bench-lexical    or    python -m benchmarks.lexical [--items 100000 --items 1000000] [--depth 30000]

A catalog is generated: titles of 8 words, drawn by Zipf's law as in text, and unit vectors in clusters. Its servable
has untrained towers of the default size. Requests are 2 to 5 words of one title, one in ten of them misspelled. Each is
asked for by each kind of retrieval in turn, alone, in this one process, from the serialized request to the ids of the
answer. The last column says what reading at most `--depth` items of a term loses: the share that lexical answers have
of the k best by all items of the terms.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks.filters import DIM, SEED, K, clustered
from components.index_builder.attributes import ItemAttributes
from components.index_builder.config import IndexConfig
from components.index_builder.lexical.config import LexicalConfig
from components.index_builder.lexical.index import LexicalIndex, LexicalQuery
from components.index_builder.lexical.lexicon import Lexicon
from components.index_builder.lexical.postings import Field, build_postings
from components.index_builder.parameters import choose_index
from components.index_builder.search_index import SearchIndex
from components.index_builder.servable import Servable
from schema import features, transformed
from schema.features import Retrieval
from souk_client.examples import search_example
from tests.small_shop import small_shop
from trainer import artifact
from trainer.artifact import TrainedModel
from trainer.clicked_queries import with_clicked_words
from trainer.config import TrainerConfig
from trainer.input import SearchReader
from trainer.item_table import ItemReader, ItemTable, read_item_table
from trainer.training_data import input_sizes

_WORDS_PER_TITLE, _WORDS, _ZIPF = 8, 200_000, 1.0
_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))
_WARM_UP = 20


@dataclass
class Times:
    """Seconds of each query."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def words_of(rng: np.random.Generator) -> np.ndarray:
    """All words that titles have, the most frequent first; the frequent ones are short, as in a language."""
    lengths = np.clip(np.log2(np.arange(_WORDS) + 2).astype(int) // 2 + rng.integers(1, 5, _WORDS), 2, 14)
    return np.array(["".join(rng.choice(_LETTERS, length)) for length in lengths])


def titles_of(items: int, rng: np.random.Generator, words: np.ndarray | None = None) -> list[list[str]]:
    """Words of titles, out of `words` or of new ones."""
    vocabulary = words_of(rng) if words is None else words
    weights = 1 / (np.arange(_WORDS) + 3) ** _ZIPF
    return vocabulary[rng.choice(_WORDS, (items, _WORDS_PER_TITLE), p=weights / weights.sum())].tolist()


def queries_of(titles: Sequence[list[str]], chosen: np.ndarray, rng: np.random.Generator) -> list[str]:
    """A few words of each chosen title, now and then with two letters of one swapped."""
    queries = []
    for item in chosen:
        words = list(rng.choice(titles[item], rng.integers(2, 6), replace=False))
        if rng.random() < 0.1:
            word = words[0]
            words[0] = word[:1] + word[2:3] + word[1:2] + word[3:]
        queries.append(" ".join(words))
    return queries


def servable_of(index: SearchIndex, items: int, lexicon: Lexicon, config: LexicalConfig, folder: str) -> Servable:
    """A servable of towers that nobody has trained, over a table of the same few items over and over."""
    shop = small_shop()
    trained = TrainerConfig(title_units=8)
    items_reader = ItemReader(trained, tuple(input_sizes(shop.transform).columns))
    item_ids = shop.transform.vocabulary_by_name(transformed.ITEM_IDS.name)
    small = with_clicked_words(
        read_item_table(items_reader, shop.files("catalog"), item_ids), [], 1, trained.clicked_units
    )
    rows = np.append(np.arange(items) % small.size, small.size)
    ids = np.char.add("i", np.arange(items).astype(str)).astype("S")
    table = ItemTable(ids, {name: column[rows] for name, column in small.columns.items()})
    sizes = input_sizes(shop.transform)
    towers = artifact.make_towers(trained, sizes)
    artifact.build(towers, SearchReader(trained, tuple(sizes.profile)), table)
    model = TrainedModel(trained, sizes, towers, table, shop.transform, {})
    nothing = np.full(items, b"")
    attributes = ItemAttributes(nothing, nothing, np.zeros(items, np.float32))
    rows = np.arange(items, dtype=np.int32)
    return Servable(model, table, index, rows, attributes, lexicon, IndexConfig(k=K, lexical=config), folder)


def kept_of(lexical: LexicalIndex, queries: Sequence[str], depth: int, items: int) -> float:
    """Mean share of the k best by all items of the terms that are found by `depth` of each."""
    shares = []
    for query in queries:
        terms = LexicalQuery(*(part[0] for part in lexical.understand(tf.constant([query]))))
        found, best = (lexical.best(lexical.scores(terms, limit), K)[0].numpy() for limit in (depth, items))
        if (best >= 0).any():
            shares.append(np.isin(best[best >= 0], found).mean())
    return float(np.mean(shares))


def run(items: int, backend: str, depth: int, requests: int) -> list[tuple[str, ...]]:
    """A row of the table for each kind of retrieval."""
    rng = np.random.default_rng(SEED)
    titles = titles_of(items, rng)
    chosen = rng.choice(items, requests)
    queries = queries_of(titles, chosen, rng)
    config = IndexConfig().lexical
    started = time.perf_counter()
    texts = [" ".join(title).encode() for title in titles]
    postings = build_postings([Field("title", config.title.weight, config.title.b, texts)], config, True)
    arrays = (postings.fingerprints, postings.idf, postings.most, postings.starts, postings.items, postings.saturations)
    print(
        f"{items:,} items: {len(postings.fingerprints):,} terms, {len(postings.items):,} postings, "
        f"{sum(array.nbytes for array in arrays) / 1e6:.0f} MB, built in {time.perf_counter() - started:.0f} s"
    )
    del titles, texts
    vectors = clustered(items, rng)[0].astype(np.float32)
    near = vectors[rng.choice(items, 128)] + 0.3 * clustered(128, rng)[0]
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    index, curve = choose_index(vectors, near, IndexConfig(k=K, backend=backend, wanted_recall=0.97))
    kind = next(point for point in curve if point.chosen)
    print(f"  index: {kind.name} {kind.parameters}, recall {kind.recall:.3f}")
    del vectors
    kept = kept_of(LexicalIndex(postings, config, True), queries[:100], depth, items)
    times = {name: Times() for name in Retrieval.ALL}
    with tempfile.TemporaryDirectory() as folder:
        limited = config.model_copy(update={"postings_per_term": depth})
        servable = servable_of(index, items, Lexicon(postings, True, 1.0, 0.5), limited, folder)
        for place, query in enumerate(queries):
            for name, measured in times.items():
                example = tf.constant([search_example(query, retrieval=name)])
                cpu, wall = time.process_time(), time.perf_counter()
                servable.search(example)[features.OUTPUT_ITEM_IDS].numpy()
                if place >= _WARM_UP:
                    measured.wall.append(time.perf_counter() - wall)
                    measured.cpu.append(time.process_time() - cpu)
    dense = float(np.mean(times[Retrieval.DENSE].cpu))
    return [
        (
            f"{items:,}",
            kind.name,
            name,
            f"{1000 * np.mean(measured.cpu):.2f}",
            f"{np.mean(measured.cpu) / dense:.2f}",
            *(f"{1000 * np.percentile(measured.wall, part):.2f}" for part in (50, 99)),
            f"{kept:.3f}" if name == Retrieval.LEXICAL else "",
        )
        for name, measured in times.items()
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, action="append")
    parser.add_argument("--backend", choices=("scann", "portable"), action="append")
    parser.add_argument("--depth", type=int, default=LexicalConfig().postings_per_term)
    parser.add_argument("--requests", type=int, default=300)
    arguments = parser.parse_args()
    table = Table(title=f"At most {arguments.depth:,} items of a term", title_justify="left")
    for name in ("items", "index", "retrieval", "CPU ms", "of dense", "ms p50", "ms p99", "kept of k best"):
        table.add_column(name, justify="left" if name in ("index", "retrieval") else "right")
    print(f"{os.cpu_count()} processors, {arguments.requests} single queries, k {K}, vectors of {DIM}")
    for items in arguments.items or (100_000, 1_000_000):
        for backend in arguments.backend or ("scann",):
            for row in run(items, backend, arguments.depth, arguments.requests):
                table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
