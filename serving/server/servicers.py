"""TensorFlow Serving's gRPC methods, one plain function each: a request in, a response out or a `RequestError`."""

import time
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)

from schema.settings import InputError
from serving.server import model_config, tensors
from serving.server.errors import RequestError, invalid
from serving.server.loader import LoadedModel
from serving.server.manager import Status
from serving.server.prediction import Predictor
from serving.server.registry import ModelRegistry

SIGNATURE_DEF = "signature_def"


def predict(predictor: Predictor, request: predict_pb2.PredictRequest, deadline: float | None) -> Any:
    """Runs one signature."""
    started = time.perf_counter()
    code = grpc.StatusCode.OK
    try:
        _require_model_spec(request)
        answer = predictor.predict(
            request.model_spec,
            lambda model, signature: {name: tensors.from_proto(proto) for name, proto in request.inputs.items()},
            request.output_filter,
            deadline,
        )
    except RequestError as error:
        code = error.code
        raise
    finally:
        predictor.count(request.model_spec.name, "GRPC", started, code)
    response = predict_pb2.PredictResponse()
    for name, values in answer.outputs.items():
        tensors.to_proto(values, response.outputs[name])
    _fill_model_spec(response.model_spec, answer.name, answer.number)
    response.model_spec.signature_name = answer.signature
    return response


def get_model_metadata(registry: ModelRegistry[LoadedModel], request: Any, deadline: float | None) -> Any:
    """The SavedModel's signatures."""
    _require_model_spec(request)
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid(f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with registry.use(request.model_spec) as used:
        response.metadata[SIGNATURE_DEF].Pack(used.model.signature_defs)
    _fill_model_spec(response.model_spec, used.name, used.number)
    return response


def get_model_status(registry: ModelRegistry[LoadedModel], request: Any, deadline: float | None) -> Any:
    """States of all versions, newest first, or of the one whose number is asked for."""
    _require_model_spec(request)
    statuses = registry.statuses(request.model_spec)
    response = get_model_status_pb2.GetModelStatusResponse()
    for number in sorted(statuses, reverse=True):
        _add_status(response, number, statuses[number])
    return response


def handle_reload_config(registry: ModelRegistry[LoadedModel], request: Any, deadline: float | None) -> Any:
    """Serves another list of models; what is wrong with it is told and changes nothing."""
    try:
        models = model_config.from_proto(request.config)
    except InputError as error:
        raise invalid(str(error)) from None
    timeout = () if deadline is None else (max(0.0, deadline - time.monotonic()),)
    registry.reload(models, *timeout)
    return model_management_pb2.ReloadConfigResponse(status={"error_code": tf.errors.OK})


def _require_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def _fill_model_spec(spec: model_pb2.ModelSpec, name: str, number: int) -> None:
    spec.name = name
    spec.version.value = number


def _add_status(response: Any, number: int, status: Status) -> None:
    entry = response.model_version_status.add(version=number, state=int(status.state))
    # A version that ended by an error carries it, as TensorFlow Serving's does.
    entry.status.error_code = tf.errors.UNKNOWN if status.error else tf.errors.OK
    entry.status.error_message = status.error
