"""A servable over any catalog that needs no training: texts are sums of fixed random word vectors."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from schema import features

DIM, BUCKETS = 192, 1 << 14


class WordModel(tf.Module):
    def __init__(self, item_ids: Sequence[str], titles: Sequence[str], k: int, retrieval: str = ""):
        super().__init__()
        rng = np.random.default_rng(11)
        self.k, self.retrieval = k, retrieval
        self.table = tf.Variable(rng.normal(size=(BUCKETS, DIM)).astype(np.float32))
        self.ids = tf.constant(item_ids)
        self.vectors = tf.Variable(self._embed(tf.constant(titles)))

    def _embed(self, texts: tf.Tensor) -> tf.Tensor:
        words = tf.strings.split(tf.strings.regex_replace(tf.strings.lower(texts), r"[^a-z0-9 ]", " "))
        rows = words.with_flat_values(tf.strings.to_hash_bucket_fast(words.flat_values, BUCKETS))
        vectors = rows.with_flat_values(tf.gather(self.table, rows.flat_values))
        return tf.math.l2_normalize(tf.reduce_sum(vectors, axis=1), axis=-1)

    def _parse(self, examples: tf.Tensor, name: str) -> tf.Tensor:
        return self._embed(tf.io.parse_example(examples, {name: tf.io.FixedLenFeature([], tf.string, "")})[name])

    def _search(self, vectors: tf.Tensor) -> dict[str, tf.Tensor]:
        scores, rows = tf.math.top_k(tf.matmul(vectors, self.vectors, transpose_b=True), k=self.k)
        return {features.OUTPUT_ITEM_IDS: tf.gather(self.ids, rows), features.OUTPUT_SCORES: scores}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_EXAMPLES)])
    def serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        vectors = self._parse(examples, features.QUERY)
        if self.retrieval:
            # Lexical retrieval stands for one that knows no item from another.
            spec = {features.RETRIEVAL: tf.io.FixedLenFeature([], tf.string, self.retrieval)}
            way = tf.io.parse_example(examples, spec)[features.RETRIEVAL][:, tf.newaxis]
            vectors = tf.where(way == features.Retrieval.LEXICAL, tf.zeros_like(vectors), vectors)
        return self._search(vectors)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_QUERY)])
    def query_text(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._search(self._embed(query))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_EXAMPLES)])
    def encode_query(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {features.OUTPUT_VECTORS: self._parse(examples, features.QUERY)[:, tf.newaxis, :]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_EXAMPLES)])
    def encode_items(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {features.OUTPUT_VECTORS: self._parse(examples, features.TITLE)}


def save_word_servable(path: Path, item_ids: Sequence[str], titles: Sequence[str], k: int, retrieval: str = "") -> Path:
    """A servable; with `retrieval` one that can retrieve in several ways, of which that is the default."""
    model = WordModel(item_ids, titles, k, retrieval)
    names = (
        features.SIGNATURE_DEFAULT,
        features.SIGNATURE_QUERY_TEXT,
        features.SIGNATURE_ENCODE_QUERY,
        features.SIGNATURE_ENCODE_ITEMS,
    )
    tf.saved_model.save(model, str(path), signatures={name: getattr(model, name) for name in names})
    if retrieval:
        (Path(path) / "assets.extra").mkdir(exist_ok=True)
        (Path(path) / "assets.extra" / "souk.json").write_text(json.dumps({"retrieval": retrieval}))
    return Path(path)
