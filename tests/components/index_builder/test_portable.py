"""A servable for TF Serving's stock image, in a process that has no op but TensorFlow's own."""

import json
import subprocess
import sys

import apache_beam as beam
import tensorflow as tf

from components.index_builder.build import build_servable
from components.index_builder.search_index import ScannIndex
from components.index_builder.servable import SAVE_OPTIONS
from tests.components.index_builder import portable_process
from tests.components.index_builder.conftest import CONFIG
from tests.components.index_builder.test_parameters import VECTORS
from tests.small_shop import serialize

SEARCH = {"query": [b"red lamp"], "filter_brand": [b"brand 1"]}


def run(servable, example: bytes) -> dict:
    arguments = [sys.executable, "-m", portable_process.__name__, str(servable), example.hex()]
    ended = subprocess.run(arguments, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_a_portable_servable_needs_no_op_outside_tensorflow_and_loads_as_tf_serving_loads(built, tmp_path):
    (tmp_path / "parts").mkdir()
    summary = build_servable(
        model_dir=built.model_dir,
        catalog_pattern=built.shop.files("catalog", transformed=False)[0],
        request_pattern=built.shop.files("train", transformed=False)[0],
        output_dir=str(tmp_path / "servable"),
        part_dir=str(tmp_path / "parts"),
        config=CONFIG.model_copy(update={"backend": "portable", "portable_exact_below": 0}),
        make_pipeline=lambda: beam.Pipeline(runner="FnApiRunner"),
    )
    assert summary.index == "inverted_file"
    example = serialize(SEARCH)
    seen = run(tmp_path / "servable", example)
    assert seen["unknown"] == []
    answer = tf.saved_model.load(str(tmp_path / "servable")).signatures["serving_default"](
        examples=tf.constant([example])
    )
    assert seen["ids"] == [item.decode() for item in answer["item_ids"].numpy()[0]]
    assert [item for item in seen["ids"] if item]


def test_the_check_would_notice_an_op_of_scann(tmp_path):
    index = ScannIndex(VECTORS, {"reorder": 30}, 10)
    module = tf.Module()
    module.index = index
    spec = [tf.TensorSpec([None, VECTORS.shape[1]], tf.float32)]
    search = tf.function(lambda vectors: {"positions": index.search(vectors, 10)[0]}, input_signature=spec)
    tf.saved_model.save(module, str(tmp_path), {"serving_default": search}, SAVE_OPTIONS)
    unknown = run(tmp_path, b"")["unknown"]
    assert unknown
    assert all(op.startswith("Scann>") for op in unknown)
