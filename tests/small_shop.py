"""A shop small enough to read, taken through the real transform once per test session."""

import functools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import metadata_io

from components.transform.config import TransformConfig
from components.transform.preprocessing import CUSTOM_CONFIG_KEY, preprocessing_fn
from schema import features
from trainer.artifact import TrainedModel
from trainer.config import NegativesConfig, OptimizerConfig, TrainerConfig
from trainer.train import train

CONFIG = TransformConfig(min_bigram_count=1, min_phrase_count=2, phrase_penalty=0.5)
# Narrow, and enough to find what was searched for. Two heads, so that the searches of several are united.
TRAINER = TrainerConfig(
    heads=2,
    embedding_dim=16,
    dim=16,
    hidden=(32,),
    batch_size=64,
    epochs=12,
    min_steps=1,
    recall_k=3,
    validation_share=0.2,
    patience=12,
    negatives=NegativesConfig(per_positive=64),
    optimizer=OptimizerConfig(learning_rate=0.01),
)

SEARCHES = [
    {
        "query": [b"new york shoes"],
        "items": [b"a", b"zzz"],
        "stages": [3, 1],
        "positions": [1, 2],
        "hard_negatives": [b"c", b"b"],
    },
    {"query": [b"New York hat"], "history_queries": [b"red hat", b"shoes"], "real_time_items": [b"b", b"a"]},
    {"query": ["红色手机".encode()], "profile_gender": [b"f"]},
    {"query": ["手机".encode()], "profile_gender": [b"m"], "items": [b"c"], "stages": [2], "positions": [0]},
]
CATALOG = [
    {
        "item_id": [b"a"],
        "title": [b"New York running shoes, men's"],
        "brand": [b"Acme Co"],
        "category_path": [b"Fashion", b"Shoes"],
        "leaf_category": [b"Fashion > Shoes"],
        "top_category": [b"Fashion"],
        "shop": [b"s1"],
        "price": [19.5],
        "text_story": [b"Light shoes for running. Shoes for New York, and for red hats."],
        "categorical_color": [b"red", b"black"],
        "numeric_rating": [4.5],
    },
    {"item_id": [b"b"], "title": [b"red hat"], "price": [0.0]},
    {"item_id": [b"c"], "title": ["红色手机壳".encode()], "brand": [b"Acme Co"]},
]
COLORS = ("red", "green", "blue", "black", "white", "yellow")
THINGS = ("kettle", "lamp", "chair", "guitar", "tent", "kite", "mug", "clock")


def _generated() -> tuple[list[dict], list[dict]]:
    """Searches for a colored thing, each of which led to the one item that is so called."""
    searches, catalog = [], []
    for c, color in enumerate(COLORS):
        for t, thing in enumerate(THINGS):
            item_id = f"{color}-{thing}".encode()
            catalog.append(
                {
                    "item_id": [item_id],
                    "title": [f"{thing} in {color}".encode()],
                    "brand": [f"brand {t % 3}".encode()],
                    "category_path": [b"Home", thing.encode()],
                    "leaf_category": [f"Home > {thing}".encode()],
                    "top_category": [b"Home"],
                    "shop": [f"s{c % 2}".encode()],
                    "price": [5.0 + t],
                }
            )
            search = {
                "query": [f"{color} {thing}".encode()],
                "items": [item_id],
                "stages": [2 + (c + t) % 2],
                "positions": [1],
                "real_time_items": [b"a"] if t % 2 else [],
                "profile_gender": [b"f" if c % 2 else b"m"],
            }
            searches += [{**search, "request_id": [f"{color}-{thing}-{n}".encode()]} for n in range(8)]
    return searches, catalog


MORE_SEARCHES, MORE_CATALOG = _generated()
ALL_CATALOG = CATALOG + MORE_CATALOG


@dataclass(frozen=True)
class SmallShop:
    """The transformed shop.

    Attributes:
      rows: transformed features by row, absent ones left out: SEARCHES, CATALOG, MORE_SEARCHES, MORE_CATALOG.
      transform: the transform graph.
      directory: holds `Split-*` of raw and `transformed/Split-*` of transformed examples, gzip TFRecords.
    """

    rows: list[dict[str, list[int]]]
    transform: tft.TFTransformOutput
    directory: Path

    def files(self, split: str, transformed: bool = True) -> list[str]:
        """The one file of a split."""
        return [str(self.directory / ("transformed" if transformed else "") / f"Split-{split}" / "part.gz")]

    def train(self, config: TrainerConfig, log_dir: Path, **more: Any) -> TrainedModel:
        """What `trainer.train` makes of it, given `more`."""
        return train(config, self.transform, self.files("train"), self.files("catalog"), str(log_dir), **more)


def raw_feature_spec() -> dict[str, tf.io.VarLenFeature]:
    types = {
        **dict.fromkeys((*features.SEARCH_BYTES_FEATURES, *features.CATALOG_BYTES_FEATURES), tf.string),
        **dict.fromkeys(features.SEARCH_INT_FEATURES, tf.int64),
        **dict.fromkeys(features.CATALOG_FLOAT_FEATURES, tf.float32),
        "profile_gender": tf.string,
        "text_story": tf.string,
        "categorical_color": tf.string,
        "numeric_rating": tf.float32,
    }
    return {name: tf.io.VarLenFeature(dtype) for name, dtype in types.items()}


_BUILT = tempfile.TemporaryDirectory(prefix="souk-small-shop-")


@functools.cache
def small_shop() -> SmallShop:
    """Runs the transform at the first call."""
    spec = raw_feature_spec()
    searches, catalog = SEARCHES + MORE_SEARCHES, ALL_CATALOG
    raw = [{name: row.get(name, []) for name in spec} for row in SEARCHES + CATALOG + MORE_SEARCHES + MORE_CATALOG]
    metadata = tft.DatasetMetadata.from_feature_spec(spec)
    out, scratch = Path(_BUILT.name) / "shop", Path(_BUILT.name) / "scratch"
    custom_config = {CUSTOM_CONFIG_KEY: CONFIG.to_json()}
    with beam.Pipeline(runner="FnApiRunner") as pipeline, tft_beam.Context(temp_dir=str(scratch)):
        data = pipeline | beam.Create(raw, reshuffle=False)
        (transformed, _), transform_fn = (
            data,
            metadata,
        ) | tft_beam.AnalyzeAndTransformDataset(lambda inputs: preprocessing_fn(inputs, custom_config))
        transform_fn | tft_beam.WriteTransformFn(str(out))
        (transformed | beam.Map(_json) | beam.io.WriteToText(str(out / "rows"), shard_name_template=""))
    metadata_io.write_metadata(metadata, str(out / "metadata"))
    rows = [json.loads(line) for line in (out / "rows").read_text().splitlines()]
    for row in rows:
        row.update({name: [text.encode() for text in row[name]] for name in (features.REQUEST_ID,) if name in row})
    is_search = [features.ITEM_ID not in row for row in SEARCHES + CATALOG + MORE_SEARCHES + MORE_CATALOG]
    write_examples(out / "Split-train" / "part.gz", searches)
    write_examples(out / "Split-catalog" / "part.gz", catalog)
    write_examples(out / "transformed/Split-train" / "part.gz", [r for r, s in zip(rows, is_search, strict=True) if s])
    write_examples(
        out / "transformed/Split-catalog" / "part.gz", [r for r, s in zip(rows, is_search, strict=True) if not s]
    )
    return SmallShop(rows, tft.TFTransformOutput(str(out)), out)


def _json(row: Any) -> str:
    """A transformed row without what is absent, as JSON, which has no bytes."""
    values = {name: found.tolist() for name, found in row.items() if len(found)}
    return json.dumps(values, default=bytes.decode)


def serialize(row: dict[str, list]) -> bytes:
    """A tf.Example of a row of byte strings, ints and floats."""

    def feature(values: list) -> tf.train.Feature:
        if values and isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if values and isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    by_name = {name: feature(values) for name, values in row.items() if len(values)}
    return tf.train.Example(features=tf.train.Features(feature=by_name)).SerializeToString()


def write_examples(path: Path, rows: list[dict[str, list]]) -> None:
    """Writes rows as a gzip TFRecord file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for row in rows:
            writer.write(serialize(row))
