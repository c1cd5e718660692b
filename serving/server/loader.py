"""One version on disk -> signatures that can be called."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, prediction_log_pb2

from serving.server import tensors
from serving.server.versions import SAVED_MODEL_FILE

WARM_UP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"

_SERVE_TAG = tf.saved_model.SERVING
_INIT_SIGNATURE = "__saved_model_init_op"
# A request runs on the thread that brought it: handing its small ops to others costs more than they do.
_SESSION = config_pb2.ConfigProto(inter_op_parallelism_threads=-1, allow_soft_placement=True)
# Each signature is a function, which TensorFlow optimizes by itself. To do so again from outside takes seconds of a
# load and makes no request faster.
_SESSION.graph_options.rewrite_options.disable_meta_optimizer = True
# Op name prefix -> the module whose import registers those ops.
_CUSTOM_OPS = {"Scann>": "scann"}


class SignatureError(ValueError):
    """A request does not fit the model; `missing` tells an unknown signature from wrong tensors."""

    def __init__(self, message: str, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True)
class Signature:
    """One callable signature.

    Attributes:
      function: from an array for each of `inputs` to an array for each of `outputs`, in their order.
      inputs: what it takes, by name.
      outputs: names of what it gives.
    """

    function: Callable[..., Sequence[Any]]
    inputs: Mapping[str, tf.TensorSpec]
    outputs: Sequence[str]

    def check_inputs(self, inputs: Mapping[str, np.ndarray]) -> None:
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
            got, dtype = inputs[name], tf.as_dtype(inputs[name].dtype)
            if dtype != spec.dtype:
                raise SignatureError(f"input {name!r} must be {spec.dtype.name}, got {dtype.name}")
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
    """

    signatures: Mapping[str, Signature]
    signature_defs: get_model_metadata_pb2.SignatureDefMap

    def check(self, signature_name: str, inputs: Mapping[str, np.ndarray], output_filter: list[str]) -> list[str]:
        """Compares a request with the signature; returns the names of the outputs that it wants.

        Raises:
          SignatureError: if the signature is unknown, or the request does not fit it.
        """
        signature = self.signature(signature_name)
        signature.check_inputs(inputs)
        return signature.pick_outputs(output_filter)

    def run(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs of one signature by name, texts as arrays of bytes objects, for inputs that `check` has passed.

        Raises:
          SignatureError: if the signature is unknown.
          tf.errors.OpError: if the model itself fails.
        """
        signature = self.signature(signature_name)
        outputs = signature.function(*(inputs[name] for name in signature.inputs))
        return {name: tensors.array(value) for name, value in zip(signature.outputs, outputs, strict=True)}

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

    It runs in a session of its own, as in TensorFlow Serving, which lives as long as its signatures: what ops keep
    (ScaNN's searcher) goes with it, and would stay in TensorFlow's eager context for good.

    Raises:
      Exception: whatever TensorFlow has against the files; a broken model fails in many ways.
    """
    saved_model = saved_model_pb2.SavedModel.FromString((path / SAVED_MODEL_FILE).read_bytes())
    _register_custom_ops(_serving_graph(saved_model))
    session = tf.compat.v1.Session(graph=tf.Graph(), config=_SESSION)
    with session.graph.as_default():
        meta_graph = tf.compat.v1.saved_model.load(session, [_SERVE_TAG], str(path))
    definitions = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in meta_graph.signature_def.items():
        if name != _INIT_SIGNATURE:
            definitions.signature_def[name].CopyFrom(definition)
    signatures = {name: _signature(session, found) for name, found in definitions.signature_def.items()}
    return LoadedModel(signatures, definitions)


def _signature(session: tf.compat.v1.Session, definition: Any) -> Signature:
    options = config_pb2.CallableOptions(
        feed=[info.name for info in definition.inputs.values()],
        fetch=[info.name for info in definition.outputs.values()],
    )
    return Signature(
        session._make_callable_from_options(options),
        {
            name: tf.TensorSpec(info.tensor_shape, tf.as_dtype(info.dtype), name)
            for name, info in definition.inputs.items()
        },
        tuple(definition.outputs),
    )


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
