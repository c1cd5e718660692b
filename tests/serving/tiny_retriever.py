"""A real retriever, small enough to build in a second: hashed words, an embedding table, a product and top-k.

Relevance control, where it is asked for, leaves the items that score more than half as much as the best one.

Its SavedModel has every signature that Souk's servable has. Item ids carry the version, so that an answer
shows which version gave it. `flaw` builds it with one thing wrong.
"""

import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from schema import features
from schema.features import RelevanceControl
from souk_client.examples import search_example

Flaw = Literal[
    "none", "nan_scores", "duplicate_ids", "unknown_ids", "unsorted", "fails_on_long_query", "short", "empty_control"
]

DIM, BUCKETS, LONG_QUERY = 8, 512, 1000
TITLES = [
    f"{color} {thing}"
    for color in ("red", "blue", "green", "black", "white", "crème")
    for thing in ("shoes", "shirt", "kettle", "lamp", "phone case", "跑步鞋")
]


def item_ids(version: int) -> list[str]:
    """The ids of the catalog as `version` returns them."""
    return [f"v{version}-{number}" for number in range(len(TITLES))]


def numbers_in(version: int, shard: tuple[int, int]) -> list[int]:
    """The numbers of the items of a shard, which is given as its number and of how many."""
    owners = tf.strings.to_hash_bucket_fast(tf.constant(item_ids(version)), shard[1]).numpy()
    return [number for number, owner in enumerate(owners) if owner == shard[0]]


class TinyRetriever(tf.Module):
    def __init__(self, version: int, k: int, flaw: Flaw, shard: tuple[int, int] = (0, 1)) -> None:
        super().__init__()
        rng = np.random.default_rng(7)
        self.k, self.flaw = k, flaw
        self.table = tf.Variable(rng.normal(size=(BUCKETS, DIM)).astype(np.float32))
        numbers = numbers_in(version, shard)
        self.items = len(numbers)
        self.ids = tf.gather(tf.constant(item_ids(version)), numbers)
        self.vectors = tf.Variable(self._embed(tf.gather(tf.constant(TITLES), numbers)))

    def _embed(self, texts: tf.Tensor) -> tf.Tensor:
        """[batch] texts -> [batch, dim] of length 1, or 0 for a text without words."""
        words = tf.strings.split(texts)
        rows = words.with_flat_values(tf.strings.to_hash_bucket_fast(words.flat_values, BUCKETS))
        vectors = rows.with_flat_values(tf.gather(self.table, rows.flat_values))
        return tf.math.l2_normalize(tf.reduce_sum(vectors, axis=1), axis=-1)

    def _encode(self, examples: tf.Tensor) -> tf.Tensor:
        parsed = tf.io.parse_example(
            examples,
            {
                features.QUERY: tf.io.FixedLenFeature([], tf.string, default_value=""),
                features.HISTORY_QUERIES: tf.io.RaggedFeature(tf.string),
                features.REAL_TIME_ITEMS: tf.io.RaggedFeature(tf.string),
            },
        )
        items = parsed[features.REAL_TIME_ITEMS]
        # Of another catalog, or of an id that is none, nothing is known.
        known = tf.ragged.map_flat_values(tf.strings.regex_full_match, items, "v[0-9]+-[0-9]+")
        items = tf.ragged.boolean_mask(items, known)
        numbers = tf.strings.regex_replace(items.flat_values, "v[0-9]+-", "")
        titles = tf.gather(tf.constant(TITLES), tf.strings.to_number(numbers, tf.int32))
        clicked = tf.strings.reduce_join(items.with_flat_values(titles), axis=-1, separator=" ")
        history = tf.strings.reduce_join(parsed[features.HISTORY_QUERIES], axis=-1, separator=" ")
        query = parsed[features.QUERY]
        if self.flaw == "fails_on_long_query":
            message = "this model takes short queries only"
            with tf.control_dependencies([tf.debugging.assert_less(tf.strings.length(query), LONG_QUERY, message)]):
                query = tf.identity(query)
        return self._embed(query) + 0.3 * (self._embed(history) + self._embed(clicked))

    def _search(self, vectors: tf.Tensor, control: tf.Tensor) -> dict[str, tf.Tensor]:
        found = min(self.k, self.items)
        scores, rows = tf.math.top_k(tf.matmul(vectors, self.vectors, transpose_b=True), k=found)
        ids = tf.gather(self.ids, rows)
        if self.flaw == "nan_scores":
            scores = tf.where(tf.range(found) == 1, float("nan"), scores)
        if self.flaw == "duplicate_ids":
            ids = tf.where(tf.range(found) == 1, ids[:, :1], ids)
        if self.flaw == "unknown_ids":
            ids = tf.where(tf.range(found) == 1, tf.constant("of another catalog"), ids)
        if self.flaw == "unsorted":
            scores = tf.reverse(scores, axis=[1])
        if self.flaw == "short":
            ids, scores = ids[:, : found // 2], scores[:, : found // 2]
        floor = float("inf") if self.flaw == "empty_control" else scores[:, :1] / 2
        left_out = control[:, tf.newaxis] & (scores <= floor)
        ids, scores = tf.where(left_out, "", ids), tf.where(left_out, float("-inf"), scores)
        missing = self.k - ids.shape[1]
        return {
            features.OUTPUT_ITEM_IDS: tf.pad(ids, [[0, 0], [0, missing]], constant_values=""),
            features.OUTPUT_SCORES: tf.pad(scores, [[0, 0], [0, missing]], constant_values=float("-inf")),
            features.OUTPUT_RELEVANCE_CONTROL: tf.where(control, RelevanceControl.APPLIED, RelevanceControl.OFF),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_EXAMPLES)])
    def serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        option = tf.io.FixedLenFeature([], tf.string, default_value="off")
        parsed = tf.io.parse_example(examples, {features.RELEVANCE_CONTROL: option})
        vectors = self._encode(examples)
        answer = self._search(vectors, parsed[features.RELEVANCE_CONTROL] == "on")
        return {**answer, features.OUTPUT_VECTORS: vectors[:, tf.newaxis, :]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_QUERY)])
    def query_text(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._search(self._embed(query), tf.zeros_like(query, tf.bool))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_EXAMPLES)])
    def encode_query(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {features.OUTPUT_VECTORS: self._encode(examples)[:, tf.newaxis, :]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.INPUT_EXAMPLES)])
    def encode_items(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, {features.TITLE: tf.io.FixedLenFeature([], tf.string)})
        return {features.OUTPUT_VECTORS: self._embed(parsed[features.TITLE])}


def build(
    path: Path,
    *,
    version: int = 1,
    k: int = 10,
    flaw: Flaw = "none",
    warm_up: bool = True,
    shard: tuple[int, int] = (0, 1),
) -> Path:
    """Writes the SavedModel of a `TinyRetriever` to `path`, with one recorded warm-up request."""
    model = TinyRetriever(version, k, flaw, shard)
    names = (
        features.SIGNATURE_DEFAULT,
        features.SIGNATURE_QUERY_TEXT,
        features.SIGNATURE_ENCODE_QUERY,
        features.SIGNATURE_ENCODE_ITEMS,
    )
    tf.saved_model.save(model, str(path), signatures={name: getattr(model, name) for name in names})
    if warm_up:
        write_warm_up(path, features.INPUT_EXAMPLES, search_example("red shoes"))
    return path


def write_warm_up(path: Path, input_name: str, value: bytes) -> None:
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = features.SIGNATURE_DEFAULT
    log.predict_log.request.inputs[input_name].CopyFrom(tf.make_tensor_proto([value]))
    recording = path / "assets.extra" / "tf_serving_warmup_requests"
    recording.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(recording)) as writer:
        writer.write(log.SerializeToString())


_BUILT = tempfile.TemporaryDirectory(prefix="souk-tiny-retriever-")


@functools.cache
def built(version: int = 1, flaw: Flaw = "none", shard: tuple[int, int] = (0, 1)) -> Path:
    """A `TinyRetriever`'s SavedModel, built once for all tests of this process; tests copy it, none writes to it."""
    path = Path(_BUILT.name) / f"{version}-{flaw}-{shard[0]}-{shard[1]}"
    return build(path, version=version, flaw=flaw, shard=shard)


def push(base: Path, version: int, flaw: Flaw = "none", shard: tuple[int, int] = (0, 1)) -> Path:
    """Puts a version into a model folder the way that TFX's Pusher does: saved_model.pb last."""
    source, target = built(version, flaw, shard), base / str(version)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("saved_model.pb"))
    return Path(shutil.copy(source / "saved_model.pb", target / "saved_model.pb")).parent
