import json

import apache_beam as beam
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import metadata_io

from components.transform.config import TransformConfig
from components.transform.preprocessing import CUSTOM_CONFIG_KEY, preprocessing_fn
from schema import features

CONFIG = TransformConfig(min_term_count=1, min_phrase_count=2, phrase_penalty=0.5)

SEARCHES = [
    {"query": [b"new york shoes"], "items": [b"a", b"zzz"], "stages": [3, 1], "positions": [1, 2]},
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
    },
    {"item_id": [b"b"], "title": [b"red hat"], "price": [0.0]},
    {"item_id": [b"c"], "title": ["红色手机壳".encode()], "brand": [b"Acme Co"]},
]
SEARCH_FEATURES = (*features.SEARCH_BYTES_FEATURES, *features.SEARCH_INT_FEATURES, "profile_gender")


def raw_feature_spec() -> dict[str, tf.io.VarLenFeature]:
    types = {
        **dict.fromkeys((*features.SEARCH_BYTES_FEATURES, *features.CATALOG_BYTES_FEATURES), tf.string),
        **dict.fromkeys(features.SEARCH_INT_FEATURES, tf.int64),
        **dict.fromkeys(features.CATALOG_FLOAT_FEATURES, tf.float32),
        "profile_gender": tf.string,
    }
    return {name: tf.io.VarLenFeature(dtype) for name, dtype in types.items()}


@pytest.fixture(scope="session")
def transformed_shop(tmp_path_factory) -> tuple[list[dict[str, list[int]]], tft.TFTransformOutput]:
    """The rows of a very small shop after the real transform (absent features left out), and its graph."""
    spec = raw_feature_spec()
    rows = [{name: row.get(name, []) for name in spec} for row in SEARCHES + CATALOG]
    metadata = tft.DatasetMetadata.from_feature_spec(spec)
    out = tmp_path_factory.mktemp("transform")
    custom_config = {CUSTOM_CONFIG_KEY: CONFIG.to_json()}
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=str(tmp_path_factory.mktemp("temp"))):
        data = pipeline | beam.Create(rows, reshuffle=False)
        (transformed, _), transform_fn = (data, metadata) | tft_beam.AnalyzeAndTransformDataset(
            lambda inputs: preprocessing_fn(inputs, custom_config)
        )
        transform_fn | tft_beam.WriteTransformFn(str(out))
        (
            transformed
            | beam.Map(lambda row: json.dumps({name: ids.tolist() for name, ids in row.items() if len(ids)}))
            | beam.io.WriteToText(str(out / "rows"), shard_name_template="")
        )
    metadata_io.write_metadata(metadata, str(out / "metadata"))
    return [json.loads(line) for line in (out / "rows").read_text().splitlines()], tft.TFTransformOutput(str(out))
