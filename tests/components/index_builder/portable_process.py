"""Loads servables as TensorFlow Serving does, by a session and without any custom op; a program of its own.

Prints as JSON, of each of the servables, the ops that TensorFlow's own registry lacks, and the answer to one search.
Arguments: the search in hexadecimal digits, and the folders of the servables.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from schema import features


def look_into(directory: str, example: bytes) -> dict[str, list[str]]:
    with open(os.path.join(directory, "saved_model.pb"), "rb") as file:
        graphs = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
    ops = {
        node.op
        for graph in graphs
        for nodes in (graph.graph_def.node, *(f.node_def for f in graph.graph_def.library.function))
        for node in nodes
    }
    functions = {f.signature.name for graph in graphs for f in graph.graph_def.library.function}
    unknown = sorted(op for op in ops - functions if op_def_registry.get(op) is None)
    ids: list[str] = []
    if not unknown:
        with tf.compat.v1.Session(graph=tf.Graph()) as session:
            loaded = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], directory)
            signature = loaded.signature_def[features.SIGNATURE_DEFAULT]
            answer = session.run(
                signature.outputs[features.OUTPUT_ITEM_IDS].name,
                {signature.inputs[features.INPUT_EXAMPLES].name: [example]},
            )
            ids = [item.decode() for item in answer[0]]
    return {"unknown": unknown, "ids": ids}


if __name__ == "__main__":
    print(json.dumps([look_into(directory, bytes.fromhex(sys.argv[1])) for directory in sys.argv[2:]]))
