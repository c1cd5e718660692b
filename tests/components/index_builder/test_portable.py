"""A servable for TF Serving's stock image, in a process that has no op but TensorFlow's own."""

import json
import subprocess
import sys
from pathlib import Path

import tensorflow as tf

from components.index_builder.search_index import ScannIndex
from components.index_builder.servable import SAVE_OPTIONS
from schema import features
from tests.components.index_builder import portable_process
from tests.components.index_builder.test_op_memory import SEARCHES
from tests.components.index_builder.test_parameters import VECTORS
from tests.small_shop import serialize


def save_scann(directory: Path) -> None:
    """A SavedModel with a signature that needs ScaNN."""
    module = tf.Module()
    module.index = ScannIndex(VECTORS, {"reorder": 30}, 10)
    spec = [tf.TensorSpec([None, VECTORS.shape[1]], tf.float32)]
    search = tf.function(lambda vectors: {"positions": module.index.search(vectors, 10)[0]}, input_signature=spec)
    tf.saved_model.save(module, str(directory), {"serving_default": search}, SAVE_OPTIONS)


def test_a_portable_servable_needs_tensorflows_own_ops_alone(traced, tmp_path):
    servable = traced("mgdspr")
    save_scann(tmp_path)
    arguments = [serialize(SEARCHES["plain"]).hex(), servable.directory, str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", portable_process.__name__, *arguments], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    portable, scann = json.loads(ended.stdout)
    assert portable["unknown"] == []
    answer = servable.answers["plain"][features.OUTPUT_ITEM_IDS][0]
    assert portable["ids"] == [item.decode() for item in answer]
    assert all(portable["ids"])
    # What is not TensorFlow's own would have been noticed.
    assert scann["unknown"]
    assert all(op.startswith("Scann>") for op in scann["unknown"])
