"""The gRPC port: methods by name, requests read and refusals told."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from schema.settings import InputError
from serving.server import servicers
from serving.server.errors import RequestError, invalid
from serving.server.health import HealthService
from serving.server.prediction import Predictor

log = logging.getLogger("souk.serve")

Answering = Callable[[Any, float | None], Message]

_PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
_MODEL_SERVICE = "tensorflow.serving.ModelService"
_RELOAD = "HandleReloadConfigRequest"
# What gRPC calls a deadline that was not set.
_NO_DEADLINE_S = 10 * 365 * 86400.0
# Further calls get RESOURCE_EXHAUSTED at once: waiting behind so many, they would be answered too late.
_MOST_CALLS = 2048


def create(
    predictor: Predictor,
    *,
    threads: int,
    max_request_bytes: int,
    health: HealthService,
    interceptors: Sequence[grpc.ServerInterceptor] = (),
) -> grpc.Server:
    """A server of TensorFlow Serving's methods that listens nowhere yet."""
    registry = predictor.registry
    server = grpc.server(
        futures.ThreadPoolExecutor(threads, thread_name_prefix="souk-request"),
        interceptors=interceptors,
        maximum_concurrent_rpcs=_MOST_CALLS,
        options=[
            # Two servers on one port would share its requests without a word.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", max_request_bytes),
            ("grpc.max_send_message_length", -1),
        ],
    )
    prediction = {
        "Predict": (predict_pb2.PredictRequest, partial(servicers.predict, predictor)),
        "GetModelMetadata": (
            get_model_metadata_pb2.GetModelMetadataRequest,
            partial(servicers.get_model_metadata, registry),
        ),
    }
    model = {
        "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, partial(servicers.get_model_status, registry)),
        _RELOAD: (
            model_management_pb2.ReloadConfigRequest,
            partial(servicers.handle_reload_config, registry),
        ),
    }
    server.add_generic_rpc_handlers(
        (service(_PREDICTION_SERVICE, prediction), service(_MODEL_SERVICE, model), health.handler())
    )
    return server


def service(name: str, methods: Mapping[str, tuple[type[Message], Answering]]) -> grpc.GenericRpcHandler:
    """A gRPC service whose methods are plain functions of a request and a deadline."""
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            partial(_answer, f"{name}/{method}", request, function),
            # Read by `_answer`: gRPC itself would call a malformed request an INTERNAL error.
            request_deserializer=None,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for method, (request, function) in methods.items()
    }
    if _RELOAD in handlers:
        # It waits for models to load, and must not keep requests from being answered meanwhile.
        handlers[_RELOAD].unary_unary.experimental_thread_pool = futures.ThreadPoolExecutor(1, "souk-reload")
    return grpc.method_handlers_generic_handler(name, handlers)


def listen(server: grpc.Server, host: str, port: int, credentials: grpc.ServerCredentials | None) -> int:
    """Takes a port; returns its number.

    Raises:
      InputError: if the port is taken, or the address is not this machine's.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if credentials is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, credentials)
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise InputError(
            f"Cannot listen on {address}: the port is taken, or the address is not this machine's. "
            "Give another one with --port, or --port 0 for any free one."
        )
    return int(bound)


def _answer(name: str, kind: type[Message], function: Answering, data: bytes, context: grpc.ServicerContext) -> Message:
    try:
        remaining = context.time_remaining()
        if not context.is_active():
            raise RequestError(grpc.StatusCode.CANCELLED, "the caller has gone")
        deadline = None if remaining is None or remaining > _NO_DEADLINE_S else time.monotonic() + remaining
        return function(_read(kind, data), deadline)
    except RequestError as error:
        context.abort(error.code, error.message)
    except Exception:
        log.exception("%s failed", name)
        context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log says why")
    raise AssertionError("ServicerContext.abort always raises")


def _read(kind: type[Message], data: bytes) -> Message:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise invalid(f"the request is not a {kind.DESCRIPTOR.name}: {error}") from None
