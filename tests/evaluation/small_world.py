"""A small shop whose truth is known: every query is about one topic, and its items are what searchers want.

`write_examples` writes it as an Examples artifact, `save_servable` as a real SavedModel with Souk's
signatures over two heads. `noise` makes the model worse, `shuffled` deals its item vectors to the wrong items.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from schema import features

TOPICS, ITEMS_PER_TOPIC, QUERIES_PER_TOPIC, DIM = 40, 10, 5, 24
ITEMS, QUERIES = TOPICS * ITEMS_PER_TOPIC, TOPICS * QUERIES_PER_TOPIC
NEW_ITEMS = 30
TRAIN_REQUESTS, EVAL_REQUESTS = 900, 700
K = 25
DAY_MS = 86_400_000
START_MS = 1_750_000_000_000

TOPIC_WORDS = [f"{a}{b}" for a in ("lam", "ket", "sho", "bag", "cam") for b in "aeiouyxz"]
NOT_IN_CATALOG = "item-of-yesterday"


def item_id(item: int) -> str:
    return f"item-{item:03d}"


def item_topic(item: int) -> int:
    return item % TOPICS


def query_text(query: int) -> str:
    return f"{TOPIC_WORDS[query % TOPICS]} {['for', 'with', 'best', 'new', 'old'][query // TOPICS]}"


@dataclass(frozen=True)
class Request:
    request_id: str
    user: str
    query: str
    timestamp_ms: int
    history: tuple[str, ...]
    items: tuple[str, ...]
    stages: tuple[int, ...]
    positions: tuple[int, ...]


def make_requests(count: int, seed: int, start_ms: int, items: int) -> list[Request]:
    """Requests over the first `items` items, Zipf over queries; one in ten ends without a click."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, QUERIES + 1)
    queries = rng.choice(QUERIES, size=count, p=weights / weights.sum())
    requests = []
    for number, query in enumerate(queries):
        members = [item for item in range(items) if item_topic(item) == query % TOPICS]
        page = [*rng.choice(members, size=min(6, len(members)), replace=False), *rng.integers(0, items, 4)]
        page = list(dict.fromkeys(int(item) for item in page))
        stages = np.ones(len(page), dtype=int)
        if number % 10:
            liked = rng.choice(6, size=int(rng.integers(1, 4)), replace=False)
            stages[liked[liked < len(page)]] = features.Stage.CLICKED
            stages[liked[0]] = rng.choice([features.Stage.CLICKED, features.Stage.ORDERED])
        requests.append(
            Request(
                request_id=f"r{seed}-{number:04d}",
                user=f"u{number % 50}",
                query=query_text(int(query)),
                timestamp_ms=start_ms + number * 1000,
                history=tuple(item_id(int(item)) for item in rng.integers(0, items, number % 3)),
                items=tuple(item_id(item) for item in page),
                stages=tuple(int(stage) for stage in stages),
                positions=tuple(range(1, len(page) + 1)),
            )
        )
    return requests


def bytes_feature(values: Sequence[str]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode() for value in values]))


def int_feature(values: Sequence[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def search_example(request: Request) -> bytes:
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                features.REQUEST_ID: bytes_feature([request.request_id]),
                features.USER_ID: bytes_feature([request.user]),
                features.QUERY: bytes_feature([request.query]),
                features.TIMESTAMP_MS: int_feature([request.timestamp_ms]),
                features.REAL_TIME_ITEMS: bytes_feature(request.history),
                features.ITEMS: bytes_feature(request.items),
                features.STAGES: int_feature(request.stages),
                features.POSITIONS: int_feature(request.positions),
            }
        )
    ).SerializeToString()


def catalog_example(item: int) -> bytes:
    topic = item_topic(item)
    top = "Home" if topic % 2 else "Outdoors"
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                features.ITEM_ID: bytes_feature([item_id(item)]),
                features.TITLE: bytes_feature([f"{TOPIC_WORDS[topic].title()} <b>model</b> {item}"]),
                features.BRAND: bytes_feature([f"brand{item % 7}"] if item % 5 else []),
                features.CATEGORY_PATH: bytes_feature([top, f"Topic {topic}"]),
                features.TOP_CATEGORY: bytes_feature([top]),
            }
        )
    ).SerializeToString()


def write_split(examples_dir: Path, split: str, serialized: Sequence[bytes], shards: int = 1) -> None:
    folder = Path(examples_dir) / f"Split-{split}"
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        path = folder / f"part-{shard:05d}-of-{shards:05d}.tfrecord.gz"
        with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
            for example in serialized[shard::shards]:
                writer.write(example)


def train_requests() -> list[Request]:
    return make_requests(TRAIN_REQUESTS, 1, START_MS, ITEMS - NEW_ITEMS)


def eval_requests(count: int = EVAL_REQUESTS) -> list[Request]:
    return make_requests(count, 2, START_MS + DAY_MS, ITEMS)


def write_examples(examples_dir: Path, eval_count: int = EVAL_REQUESTS) -> Path:
    write_split(examples_dir, features.TRAIN_SPLIT, [search_example(request) for request in train_requests()])
    write_split(
        examples_dir, features.EVAL_SPLIT, [search_example(request) for request in eval_requests(eval_count)], 2
    )
    write_split(examples_dir, features.CATALOG_SPLIT, [catalog_example(item) for item in range(ITEMS)])
    return Path(examples_dir)


class TopicModel(tf.Module):
    """Query and item vectors are their topic's direction plus noise; search looks at every item."""

    def __init__(
        self,
        noise: float,
        shuffled: bool,
        broken_index: bool,
        scores_nan: bool,
        shard: tuple[int, int] = (0, 1),
        retrieval: str = "",
    ):
        super().__init__()
        rng = np.random.default_rng(3)
        topics = rng.normal(size=(TOPICS, DIM))
        topics /= np.linalg.norm(topics, axis=1, keepdims=True)
        vectors = topics[[item_topic(item) for item in range(ITEMS)]]
        vectors = vectors + noise * rng.normal(size=vectors.shape) + 1e-3 * rng.normal(size=vectors.shape)
        if shuffled:
            vectors = rng.permutation(vectors)
        self.vectors = tf.Variable(vectors.astype(np.float32))
        queries = np.stack([topics[query % TOPICS] for query in range(QUERIES)])
        heads = np.stack([queries, queries * 0.5], axis=1)
        # The last row is that of a query never seen.
        self.queries = tf.Variable(np.concatenate([heads, np.zeros((1, 2, DIM))]).astype(np.float32))
        self.query_rows = _table([query_text(query) for query in range(QUERIES)], QUERIES)
        self.item_rows = _table([item_id(item) for item in range(ITEMS)], 0)
        self.ids = tf.constant([item_id(item) for item in range(ITEMS - 1)] + [NOT_IN_CATALOG])
        self.broken_index, self.scores_nan = broken_index, scores_nan
        self.shard, self.shards = shard
        self.retrieval = retrieval

    def _encode(self, queries: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.queries, self.query_rows.lookup(queries))

    def _search(self, vectors: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = tf.reduce_max(tf.einsum("bhd,nd->bhn", vectors, self.vectors), axis=1)
        if self.broken_index:
            # Sees every other item only, as an index that was searched too shallowly does.
            scores = tf.where(tf.range(ITEMS) % 2 == 0, scores, -1.0)
        if self.shards > 1:
            scores = tf.where(tf.range(ITEMS) % self.shards == self.shard, scores, float("-inf"))
        if self.scores_nan:
            scores = scores * float("nan")
        scores, rows = tf.math.top_k(scores, k=K)
        return {features.OUTPUT_ITEM_IDS: tf.gather(self.ids, rows), features.OUTPUT_SCORES: scores}

    def _query_of(self, examples: tf.Tensor) -> tf.Tensor:
        spec = {features.QUERY: tf.io.FixedLenFeature([], tf.string, "")}
        return tf.io.parse_example(examples, spec)[features.QUERY]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_EXAMPLES)])
    def serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        vectors = self._encode(self._query_of(examples))
        if self.retrieval:
            # Of the ways of retrieval `lexical` finds the same for everyone, and `hybrid` the best half of both.
            spec = {features.RETRIEVAL: tf.io.FixedLenFeature([], tf.string, self.retrieval)}
            way = tf.io.parse_example(examples, spec)[features.RETRIEVAL][:, tf.newaxis, tf.newaxis]
            vectors = tf.where(way == features.Retrieval.LEXICAL, tf.zeros_like(vectors), vectors)
            found = self._search(vectors)
            cut = (way[:, 0] == features.Retrieval.HYBRID) & (tf.range(K) >= K // 2)[tf.newaxis, :]
            ids = tf.where(cut, "", found[features.OUTPUT_ITEM_IDS])
            return {**found, features.OUTPUT_ITEM_IDS: ids}
        return self._search(vectors)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_QUERY)])
    def query_text(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._search(self._encode(query))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_EXAMPLES)])
    def encode_query(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {features.OUTPUT_VECTORS: self._encode(self._query_of(examples))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_EXAMPLES)])
    def encode_items(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {features.ITEM_ID: tf.io.FixedLenFeature([], tf.string)}
        rows = self.item_rows.lookup(tf.io.parse_example(examples, spec)[features.ITEM_ID])
        return {features.OUTPUT_VECTORS: tf.gather(self.vectors, rows)}


def _table(keys: list[str], default: int) -> tf.lookup.StaticHashTable:
    values = tf.range(len(keys), dtype=tf.int64)
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(keys), values), default_value=default
    )


CARD = {
    "model": "topic_model",
    "k": K,
    "dim": DIM,
    "heads": 2,
    "index": {"kind": "exact", "parameters": {}},
    "index_curve": [
        {
            "name": "tree",
            "parameters": {"leaves": 10},
            "recall": 0.91,
            "latency_ms": 0.4,
            "chosen": False,
        },
        {
            "name": "tree",
            "parameters": {"leaves": 40},
            "recall": 0.98,
            "latency_ms": 1.1,
            "chosen": True,
        },
        {"name": "exact", "parameters": {}, "recall": 1.0, "latency_ms": 3.9, "chosen": False},
    ],
    "history": {
        "loss": [1.9, 1.2, 0.9, 0.8],
        "val_loss": [1.7, 1.3, 1.1, 1.1],
        "recall@100": [0.3, 0.5, 0.58, 0.6],
    },
}


def save_servable(
    path: Path,
    noise: float = 0.0,
    shuffled: bool = False,
    broken_index: bool = False,
    scores_nan: bool = False,
    shard: tuple[int, int] = (0, 1),
    retrieval: str = "",
) -> Path:
    """A servable; with `retrieval` one that can retrieve in several ways, of which that is the default."""
    model = TopicModel(noise, shuffled, broken_index, scores_nan, shard, retrieval)
    names = (
        features.SIGNATURE_DEFAULT,
        features.SIGNATURE_QUERY_TEXT,
        features.SIGNATURE_ENCODE_QUERY,
        features.SIGNATURE_ENCODE_ITEMS,
    )
    tf.saved_model.save(model, str(path), signatures={name: getattr(model, name) for name in names})
    card = Path(path) / "assets.extra" / "souk.json"
    card.parent.mkdir(exist_ok=True)
    card.write_text(json.dumps({**CARD, "retrieval": retrieval} if retrieval else CARD))
    return Path(path)
