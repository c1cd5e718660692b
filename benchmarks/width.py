"""What width and a text encoder are worth on queries that no log has. Simulated logs over real products.

    make bench-width     or    python -m benchmarks.width [--widths 64 128 192 256] [--seeds 3] [--text-encoder FOLDER]

Trains the default model at each width on logs simulated over the catalog of ESCI-150, and measures it by exact search
on the bare queries of the last day: as they are, with a letter wrong in one of their words, with two neighboring words
written as one, and, where WordNet is (Debian: `apt install wordnet-base`), with a word replaced by the first synonym of
its first sense. Nothing is chosen on that day. ESCI's own queries and judgments are not read.
"""

import argparse
import itertools
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


class Synonyms:
    """Queries with one noun replaced by a synonym, by WordNet (Miller, CACM 1995), however little it may fit.

    Args:
      folder: holds WordNet's `index.noun` and `data.noun`.
    """

    def __init__(self, folder: Path):
        data = [line.split(" ") for line in _lines(folder / "data.noun")]
        # Offset, file, kind, how many words in hexadecimal, then each word and a number.
        words = {fields[0]: fields[4 : 4 + 2 * int(fields[3], 16) : 2] for fields in data}
        index = [line.split() for line in _lines(folder / "index.noun")]
        # The noun, its kind, how many senses; at the end the offset of each, the most frequent first.
        self._first_sense = {fields[0]: words[fields[-int(fields[2])]] for fields in index}

    def __call__(self, query: str, rng: random.Random) -> str | None:
        """The query with one word replaced; None where WordNet has a synonym for none of its words."""
        words = query.split()
        found = [(place, synonym) for place, word in enumerate(words) if (synonym := self._of(word))]
        if not found:
            return None
        place, synonym = rng.choice(found)
        return " ".join([*words[:place], synonym, *words[place + 1 :]])

    def _of(self, word: str) -> str | None:
        forms = (word, word.removesuffix("s"), word.removesuffix("es"))
        noun = next((form for form in forms if len(form) > 2 and form in self._first_sense), "")
        others = [other.lower().replace("_", " ") for other in self._first_sense.get(noun, [])]
        return next((other for other in others if noun not in other and other != word), None)


def _lines(path: Path) -> list[str]:
    """The file's lines without those of its license, which are indented."""
    return [line for line in path.read_text().splitlines() if not line.startswith(" ")]


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
    """Prints recall@100 by width, without and with the text encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/width"))
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 192, 256])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--text-encoder", help="its folder; each width is trained with it, too")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    arguments = parser.parse_args()
    found = prepare(arguments.folder.absolute())
    judged = last_day(found)
    sets = {"as they are": judged, "misspelled": changed(judged, misspelled), "joined": changed(judged, joined)}
    if arguments.wordnet.exists():
        sets["synonym"] = changed(judged, Synonyms(arguments.wordnet))
    encoders = ["", arguments.text_encoder] if arguments.text_encoder else [""]
    table = Table(title=f"Simulated logs, {len(judged):,} queries; recall@{K}, {arguments.seeds} seeds: mean (range)")
    for name in ("width", *sets, "training, CPU s"):
        table.add_column(name, justify="right")
    for width, encoder in itertools.product(arguments.widths, encoders):
        found_by_set: dict[str, list[float]] = {name: [] for name in sets}
        seconds = []
        for seed in range(arguments.seeds):
            started = time.process_time()
            text_encoder = {"folder": encoder, "cache_dir": str(arguments.folder / "encoder_cache")}
            config = TrainerConfig(embedding_dim=width, dim=width, seed=seed, text_encoder=text_encoder)
            with tempfile.TemporaryDirectory() as log_dir:
                transform = tft.TFTransformOutput(found.transform)
                model = train(config, transform, found.files(TRAIN_SPLIT), found.files(CATALOG_SPLIT), log_dir)
            seconds.append(time.process_time() - started)
            items = ExactMetrics(model.towers, model.table, K).catalog_vectors()
            for name, queries in sets.items():
                found_by_set[name].append(recall(model, items, queries))
        cells = [f"{statistics.mean(v):.3f} ({min(v):.3f}-{max(v):.3f})" for v in found_by_set.values()]
        table.add_row(f"{width} + encoder" if encoder else str(width), *cells, f"{statistics.mean(seconds):.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
