"""TensorFlow Serving's gRPC services over a `ModelManager`, with its status codes and its messages."""

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server import tensors
from serving.server.loader import LoadedModel, SignatureError
from serving.server.manager import ModelManager, NotServedError, Status

_SIGNATURE_DEF = "signature_def"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class PredictionServicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata of one model."""

    def __init__(self, manager: ModelManager[LoadedModel]) -> None:
        self._manager = manager

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 (gRPC's name)
        """Runs one signature."""
        _require_model_spec(request, context)
        signature = request.model_spec.signature_name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        response = predict_pb2.PredictResponse()
        with _version(self._manager, request.model_spec, context) as (number, model):
            try:
                inputs = {name: tensors.from_proto(proto) for name, proto in request.inputs.items()}
                outputs = model.run(signature, inputs, list(request.output_filter))
            except SignatureError as error:
                code = grpc.StatusCode.FAILED_PRECONDITION if error.missing else grpc.StatusCode.INVALID_ARGUMENT
                _abort(context, code, str(error))
            except ValueError as error:
                _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
            except tf.errors.OpError as error:
                _abort(context, _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN), error.message)
            for name, tensor in outputs.items():
                response.outputs[name].CopyFrom(tensors.to_proto(tensor))
        _fill_model_spec(response.model_spec, self._manager.name, number)
        response.model_spec.signature_name = signature
        return response

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The SavedModel's signatures."""
        _require_model_spec(request, context)
        if not request.metadata_field:
            _abort(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                "GetModelMetadataRequest must specify at least one metadata_field",
            )
        for field in request.metadata_field:
            if field != _SIGNATURE_DEF:
                _abort(context, grpc.StatusCode.INVALID_ARGUMENT, f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with _version(self._manager, request.model_spec, context) as (number, model):
            response.metadata[_SIGNATURE_DEF].Pack(model.signature_defs)
        _fill_model_spec(response.model_spec, self._manager.name, number)
        return response


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus of one model."""

    def __init__(self, manager: ModelManager[LoadedModel]) -> None:
        self._manager = manager

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """States of all versions, newest first, or the state of the one asked for."""
        _require_model_spec(request, context)
        spec = request.model_spec
        statuses = self._manager.statuses() if spec.name == self._manager.name else {}
        if spec.WhichOneof("version_choice") == "version_label":
            _abort_on_label(context, spec)
        if spec.HasField("version"):
            number = spec.version.value
            if number not in statuses:
                _abort(
                    context,
                    grpc.StatusCode.NOT_FOUND,
                    f"Could not find version {number} of model {spec.name}",
                )
            statuses = {number: statuses[number]}
        if not statuses:
            _abort(context, grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in sorted(statuses, reverse=True):
            _add_status(response, number, statuses[number])
        return response


@contextlib.contextmanager
def _version(
    manager: ModelManager[LoadedModel], spec: model_pb2.ModelSpec, context: grpc.ServicerContext
) -> Iterator[tuple[int, LoadedModel]]:
    choice = spec.WhichOneof("version_choice")
    if choice == "version_label":
        _abort_on_label(context, spec)
    number = spec.version.value if choice == "version" else None
    if spec.name != manager.name:
        asked = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
        _abort(context, grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(manager.use(number))
        except NotServedError as error:
            if error.loading:
                _abort(context, grpc.StatusCode.UNAVAILABLE, f"{error}: it is still loading")
            _abort(context, grpc.StatusCode.NOT_FOUND, str(error))
        yield found


def _require_model_spec(request: Any, context: grpc.ServicerContext) -> None:
    if not request.HasField("model_spec"):
        _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")


def _abort_on_label(context: grpc.ServicerContext, spec: model_pb2.ModelSpec) -> NoReturn:
    _abort(
        context,
        grpc.StatusCode.INVALID_ARGUMENT,
        f"Unrecognized servable version label: {spec.version_label}",
    )


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    context.abort(code, message)
    raise AssertionError("ServicerContext.abort always raises")


def _fill_model_spec(spec: model_pb2.ModelSpec, name: str, number: int) -> None:
    spec.name = name
    spec.version.value = number


def _add_status(response: Any, number: int, status: Status) -> None:
    entry = response.model_version_status.add(version=number, state=int(status.state))
    # A version that ended by an error carries it, as TensorFlow Serving's does.
    entry.status.error_code = tf.errors.UNKNOWN if status.error else tf.errors.OK
    entry.status.error_message = status.error
