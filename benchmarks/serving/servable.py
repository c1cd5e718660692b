"""The servable of the benchmark: the pipeline's own, over generated vectors."""

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving.towers import Towers
from components.index_builder.config import IndexConfig
from components.index_builder.lexical.lexicon import Lexicon
from components.index_builder.lexical.postings import Field, build_postings
from components.index_builder.parameters import MeasuredIndex, choose_index
from components.index_builder.search_index import SearchIndex
from components.index_builder.servable import Servable
from components.index_builder.warmup import write_warmup_requests
from souk_client.protocol import Retrieval
from trainer.item_table import ItemTable


@dataclass(frozen=True)
class Built:
    """A version that can be served.

    Attributes:
      version: its number.
      index: the index that it holds.
      chosen: that index' parameters.
      found: [queries, k] positions that this index gives for the queries that it was not chosen with.
      index_s: seconds that the index and the choice of its parameters took.
      save_s: seconds that the SavedModel took.
    """

    version: int
    index: SearchIndex
    chosen: MeasuredIndex
    found: np.ndarray
    index_s: float
    save_s: float


def build(
    towers: Towers, vectors: np.ndarray, rows: np.ndarray, config: IndexConfig, chosen_with: int, base: Path
) -> Built:
    """Writes a version into `base`, newer than those there, and removes them.

    Args:
      towers: the model, and the items that the others are copies of.
      vectors: of `towers.grow`.
      rows: of the same.
      config: as in the pipeline.
      chosen_with: parameters are chosen with this many of the queries, and judged with the others.
      base: of the versions.
    """
    started = time.perf_counter()
    index, curve = choose_index(vectors, towers.queries[:chosen_with], config)
    index_s = time.perf_counter() - started
    found, _ = index.search(towers.queries[chosen_with:], config.k)

    table = towers.catalog.table
    ids = np.char.add("item", np.char.zfill(np.arange(len(rows)).astype(str), 8)).astype("S")
    with_unknown = np.append(rows, table.size)
    grown = ItemTable(ids, {name: column[with_unknown] for name, column in table.columns.items()})
    # It is the index of vectors that is compared, so requests ask for nothing else.
    config = config.model_copy(update={"retrieval": Retrieval.DENSE})
    nothing = build_postings([Field("title", 1.0, 0.5, [b""] * len(rows))], config.lexical, True)
    without_words = Lexicon(nothing, True, 1.0, 1.0)
    started = time.perf_counter()
    unfinished = base / "unfinished"
    with tempfile.TemporaryDirectory() as folder:
        servable = Servable(
            towers.model,
            grown,
            index,
            np.arange(len(rows), dtype=np.int32),
            towers.catalog.attributes.take(rows),
            without_words,
            config,
            folder,
        )
        servable.save(str(unfinished))
    write_warmup_requests(str(unfinished), config.model_name, towers.examples[:8])
    old = [path for path in base.iterdir() if path.name.isdigit()]
    version = 1 + max((int(path.name) for path in old), default=0)
    unfinished.rename(base / str(version))
    for path in old:
        shutil.rmtree(path)
    chosen = next(point for point in curve if point.chosen)
    return Built(version, index, chosen, found.numpy(), index_s, time.perf_counter() - started)
