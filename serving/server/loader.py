"""One version on disk -> signatures that can be called."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from serving.server import tensors
from serving.server.versions import SAVED_MODEL_FILE

WARM_UP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"

_SERVE_TAG = tf.saved_model.SERVING
_INIT_SIGNATURE = "__saved_model_init_op"
# Op name prefix -> the module whose import registers those ops.
_CUSTOM_OPS = {"Scann>": "scann"}


class SignatureError(ValueError):
    """A request does not fit the model; `missing` tells an unknown signature from wrong tensors."""

    def __init__(self, message: str, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True)
class Signature:
    """One callable signature: its TensorFlow function, and its tensors by name."""

    function: Any
    inputs: Mapping[str, tf.TensorSpec]
    outputs: frozenset[str]

    def check_inputs(self, inputs: Mapping[str, tf.Tensor]) -> None:
        """Compares what a request brings with what the signature takes.

        Raises:
          SignatureError: worded as TensorFlow Serving words it.
        """
        extra, missing = inputs.keys() - self.inputs.keys(), self.inputs.keys() - inputs.keys()
        if extra or missing:
            raise SignatureError(
                f"input size does not match signature: {len(inputs)}!={len(self.inputs)} "
                f"len({_names(inputs)}) != len({_names(self.inputs)}). "
                f"Sent extra: {_names(extra)}. Missing but required: {_names(missing)}."
            )
        for name, spec in self.inputs.items():
            got = inputs[name]
            if got.dtype != spec.dtype:
                raise SignatureError(f"input {name!r} must be {spec.dtype.name}, got {got.dtype.name}")
            if not spec.shape.is_compatible_with(got.shape):
                raise SignatureError(f"input {name!r} must have shape {spec.shape}, got {got.shape}")

    def pick_outputs(self, output_filter: list[str]) -> list[str]:
        """Names of the outputs to return: those of `output_filter`, or all if it is empty.

        Raises:
          SignatureError: on a name that is unknown or given twice.
        """
        for position, name in enumerate(output_filter):
            if name not in self.outputs:
                raise SignatureError(
                    f"output tensor alias not found in signature: {name} "
                    f"Outputs expected to be in the set {_names(self.outputs)}."
                )
            if name in output_filter[:position]:
                raise SignatureError(f"duplicate output tensor alias: {name}")
        return output_filter or sorted(self.outputs)


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory.

    Attributes:
      signatures: what can be called, by name.
      signature_defs: the same as the SavedModel states it, for GetModelMetadata.
      root: the restored object; it keeps the variables and tables of the signatures alive.
    """

    signatures: Mapping[str, Signature]
    signature_defs: get_model_metadata_pb2.SignatureDefMap
    root: Any

    def check(self, signature_name: str, inputs: Mapping[str, tf.Tensor], output_filter: list[str]) -> list[str]:
        """Compares a request with the signature; returns the names of the outputs that it wants.

        Raises:
          SignatureError: if the signature is unknown, or the request does not fit it.
        """
        signature = self.signature(signature_name)
        signature.check_inputs(inputs)
        return signature.pick_outputs(output_filter)

    def run(self, signature_name: str, inputs: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
        """All outputs of one signature by name, as `tensors.array` has them, for inputs that `check` has passed.

        Raises:
          SignatureError: if the signature is unknown.
          tf.errors.OpError: if the model itself fails.
        """
        outputs = self.signature(signature_name).function(**inputs)
        return {name: tensors.array(tensor) for name, tensor in outputs.items()}

    def signature(self, name: str) -> Signature:
        """The signature called `name`.

        Raises:
          SignatureError: if there is none.
        """
        signature = self.signatures.get(name)
        if signature is None:
            raise SignatureError(f'Serving signature key "{name}" not found.', missing=True)
        return signature


def load(path: Path) -> LoadedModel:
    """The model in the version folder `path`, custom ops of its index registered first.

    Raises:
      Exception: whatever TensorFlow has against the files; a broken model fails in many ways.
    """
    saved_model = saved_model_pb2.SavedModel.FromString((path / SAVED_MODEL_FILE).read_bytes())
    meta_graph = _serving_graph(saved_model)
    _register_custom_ops(meta_graph)
    root = tf.saved_model.load(str(path), tags=[_SERVE_TAG])
    signatures = {
        name: Signature(
            function=function,
            inputs=dict(function.structured_input_signature[1]),
            outputs=frozenset(function.structured_outputs),
        )
        for name, function in root.signatures.items()
    }
    definitions = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in meta_graph.signature_def.items():
        if name != _INIT_SIGNATURE:
            definitions.signature_def[name].CopyFrom(definition)
    return LoadedModel(signatures, definitions, root)


def warm_up_requests(path: Path, limit: int) -> list[Any]:
    """The first `limit` recorded PredictRequests of the version folder `path`; none if it has no recording.

    Raises:
      tf.errors.DataLossError: if the recording is broken.
    """
    recording = path / WARM_UP_FILE
    if limit == 0 or not recording.exists():
        return []
    logs = tf.data.TFRecordDataset(str(recording)).take(limit).as_numpy_iterator()
    records = [prediction_log_pb2.PredictionLog.FromString(record) for record in logs]
    return [log.predict_log.request for log in records if log.WhichOneof("log_type") == "predict_log"]


def _serving_graph(saved_model: saved_model_pb2.SavedModel) -> Any:
    for meta_graph in saved_model.meta_graphs:
        if _SERVE_TAG in meta_graph.meta_info_def.tags:
            return meta_graph
    raise ValueError(f"{SAVED_MODEL_FILE} holds no graph with the tag {_SERVE_TAG!r}")


def _register_custom_ops(meta_graph: Any) -> None:
    # `stripped_op_list` lacks the ops within conditions and loops.
    graph = meta_graph.graph_def
    names = {node.op for nodes in (graph.node, *(f.node_def for f in graph.library.function)) for node in nodes}
    for prefix, module in _CUSTOM_OPS.items():
        if any(name.startswith(prefix) for name in names):
            importlib.import_module(module)


def _names(names: Any) -> str:
    return "{" + ",".join(sorted(names)) + "}"
