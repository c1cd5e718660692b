"""What the width of vectors is worth on queries that no log has. Simulated logs over real products.

    make bench-width     or    python -m benchmarks.width [--folder runs/width] [--widths 64 128 192 256] [--seeds 3]

Trains the default model at each width on logs simulated over the catalog of ESCI-150, and measures it by exact search
on the bare queries of the last day: as they are, with a letter wrong in one of their words, and with two neighboring
words written as one. Nothing is chosen on that day. ESCI's own queries and judgments are not read.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from rich.console import Console
from rich.table import Table

from benchmarks.demo_shop import simulate_once
from benchmarks.esci import ESCI
from benchmarks.training.data import Artifacts, artifacts_of_run
from schema import features
from schema.features import CATALOG_SPLIT, EVAL_SPLIT, TRAIN_SPLIT, Stage
from trainer.artifact import TrainedModel
from trainer.config import TrainerConfig
from trainer.input import SearchReader
from trainer.recall import ExactMetrics
from trainer.train import train

K = 100
_AT_ONCE = 256
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

Judged = dict[str, set[bytes]]


def misspelled(query: str, rng: random.Random) -> str | None:
    """The query with one letter of a longer word left out, added, replaced or swapped; None without such a word."""
    words = query.split()
    longer = [place for place, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    if not longer:
        return None
    place = rng.choice(longer)
    word, at = words[place], rng.randrange(1, len(words[place]) - 1)
    words[place] = rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + rng.choice(_LETTERS) + word[at:],
            word[:at] + rng.choice(_LETTERS) + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ]
    )
    return " ".join(words)


def joined(query: str, rng: random.Random) -> str | None:
    """The query with two neighboring words written as one; None for a single word."""
    words = query.split()
    if len(words) < 2:
        return None
    place = rng.randrange(len(words) - 1)
    return " ".join([*words[:place], words[place] + words[place + 1], *words[place + 2 :]])


def last_day(found: Artifacts) -> Judged:
    """By query, the items that its requests of the eval split led to."""
    judged: Judged = {}
    for record in tf.data.TFRecordDataset(found.files(EVAL_SPLIT, raw=True), compression_type="GZIP"):
        values = tf.train.Example.FromString(record.numpy()).features.feature
        query = values[features.QUERY].bytes_list.value
        items, stages = values[features.ITEMS].bytes_list.value, values[features.STAGES].int64_list.value
        reached = {item for item, stage in zip(items, stages, strict=True) if stage >= Stage.CLICKED}
        if query and reached:
            judged.setdefault(query[0].decode(), set()).update(reached)
    return judged


def changed(judged: Judged, change: Callable[[str, random.Random], str | None]) -> Judged:
    """The queries that `change` changes, as they are then."""
    rng = random.Random(5)
    pairs = [(change(query, rng), judged[query]) for query in sorted(judged)]
    return {query: items for query, items in pairs if query}


def recall(model: TrainedModel, items: np.ndarray, judged: Judged) -> float:
    """Mean recall@100 of bare queries by exact search over the vectors `items` [items, dim]."""
    reader, transform = (
        SearchReader(model.config, tuple(model.sizes.profile)),
        model.transform.transform_features_layer(),
    )
    names = (features.HISTORY_QUERIES, *features.BEHAVIOR_ITEM_FEATURES, *model.sizes.profile)
    columns, shares, queries = model.table.as_tensors(), [], list(judged)
    for start in range(0, len(queries), _AT_ONCE):
        asked = queries[start : start + _AT_ONCE]
        raw = dict.fromkeys(
            names, tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0], tf.string), [len(asked), 0])
        )
        raw[features.QUERY] = tf.RaggedTensor.from_row_lengths(asked, [1] * len(asked)).to_sparse()
        vectors = model.towers.encode_query(reader.query_batch(transform(raw)), columns).numpy()
        for query, scores in zip(asked, np.einsum("bhd,nd->bhn", vectors, items).max(axis=1), strict=True):
            best = model.table.item_ids[np.argpartition(-scores, K)[:K]]
            shares.append(len(judged[query] & set(best.tolist())) / len(judged[query]))
    return float(np.mean(shares))


def prepare(folder: Path) -> Artifacts:
    """Simulates, and takes the logs through Transform; what is there already is not done again."""
    from pipeline import config, local_runner
    from pipeline.pipeline import create_data_pipeline

    data = folder / "data"
    simulate_once("esci", data, str(ESCI / "items.jsonl.gz"))
    paths = {
        "events": data / "events/*.jsonl.gz",
        "catalog": data / "catalog.jsonl.gz",
        "users": data / "users.jsonl.gz",
    }
    settings = [f"ingest.data.{name}={path}" for name, path in paths.items()]
    local_runner.run(config.load("esci", [f"root={folder}", *settings]), create=create_data_pipeline)
    return artifacts_of_run(folder / "artifacts")


def main() -> None:
    """Prints recall@100 by width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/width"))
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 192, 256])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    found = prepare(arguments.folder.absolute())
    judged = last_day(found)
    sets = {"as they are": judged, "misspelled": changed(judged, misspelled), "joined": changed(judged, joined)}
    table = Table(title=f"Simulated logs, {len(judged):,} queries; recall@{K}, {arguments.seeds} seeds: mean (range)")
    for name in ("width", *sets, "training, CPU s"):
        table.add_column(name, justify="right")
    for width in arguments.widths:
        found_by_set: dict[str, list[float]] = {name: [] for name in sets}
        seconds = []
        for seed in range(arguments.seeds):
            started = time.process_time()
            config = TrainerConfig(embedding_dim=width, dim=width, seed=seed)
            with tempfile.TemporaryDirectory() as log_dir:
                transform = tft.TFTransformOutput(found.transform)
                model = train(config, transform, found.files(TRAIN_SPLIT), found.files(CATALOG_SPLIT), log_dir)
            seconds.append(time.process_time() - started)
            items = ExactMetrics(model.towers, model.table, K).catalog_vectors()
            for name, queries in sets.items():
                found_by_set[name].append(recall(model, items, queries))
        cells = [f"{statistics.mean(v):.3f} ({min(v):.3f}-{max(v):.3f})" for v in found_by_set.values()]
        table.add_row(str(width), *cells, f"{statistics.mean(seconds):.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
