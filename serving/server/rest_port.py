"""The REST port: Predict, status and metadata of models in JSON, and Prometheus' page of metrics."""

import asyncio
import json
import logging
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from schema.settings import InputError
from serving.http_thread import HttpThread
from serving.server import json_tensors, servicers
from serving.server.errors import RequestError, invalid
from serving.server.json_errors import JsonRunner, error_text, expect, json_answer, read_body
from serving.server.loader import LoadedModel
from serving.server.prediction import Predictor, Tensors

log = logging.getLogger("souk.serve")

METRICS_PATH = "/monitoring/prometheus/metrics"

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_MODEL = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.IGNORECASE)
_MAX_VERSION = 2**63 - 1

# TensorFlow Serving's own table of gRPC statuses in HTTP.
_HTTP_CODES = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class RestOptions:
    """What the port takes.

    Attributes:
      threads: requests worked on at once.
      max_request_bytes: size of the largest body that is read.
      timeout_s: deadline of a request.
      grace_s: seconds that requests in flight get when the server stops.
      admit: whether the value of an Authorization header may come in; None lets in everybody.
      tls: what makes it HTTPS, or None.
    """

    threads: int
    max_request_bytes: int
    timeout_s: float
    grace_s: float
    admit: Callable[[str], bool] | None = None
    tls: ssl.SSLContext | None = None


class RestServer:
    """An HTTP server that runs on a thread of its own from construction until `stop`.

    Raises:
      InputError: if the port is taken, or the address is not this machine's.
    """

    def __init__(self, predictor: Predictor, host: str, port: int, options: RestOptions) -> None:
        self._api = RestApi(predictor)
        self._options = options
        try:
            self._http = HttpThread(self._open(host, port), options.threads, "souk-rest")
        except OSError as error:
            raise InputError(
                f"Cannot listen on {host}:{port} for REST: {error.strerror or error}. "
                "Give another port with --rest-port, --rest-port 0 for any free one, or --rest-port -1 for none."
            ) from None
        self.port = self._http.port

    def stop(self) -> None:
        """Takes no new request, gives those in flight their time, and ends."""
        self._http.stop()

    async def _open(self, host: str, port: int) -> web.BaseRunner:
        application = web.Application(client_max_size=self._options.max_request_bytes, middlewares=[self._guard])
        application.router.add_get(METRICS_PATH, self._metrics)
        application.router.add_route("*", "/v1/{rest:.*}", self._answer, expect_handler=expect)
        runner = JsonRunner(application, access_log=None, shutdown_timeout=self._options.grace_s)
        await runner.setup()
        await web.TCPSite(runner, host, port, ssl_context=self._options.tls, reuse_port=False).start()
        return runner

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        admit = self._options.admit
        if admit is not None and not admit(request.headers.get("Authorization", "")):
            error = RequestError(grpc.StatusCode.UNAUTHENTICATED, "a valid bearer token is needed")
            return _refusal(error, {"WWW-Authenticate": "Bearer"})
        try:
            return await handler(request)
        except RequestError as error:
            return _refusal(error)
        except web.HTTPException as error:
            allowed = {name: value for name, value in error.headers.items() if name == "Allow"}
            return json_answer(error.status, error_text(error.text or error.reason), allowed)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return json_answer(500, error_text("the server failed; its log says why"))

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self._api.predictor.metrics.page(), content_type="text/plain")

    async def _answer(self, request: web.Request) -> web.Response:
        deadline = time.monotonic() + self._options.timeout_s
        body = await read_body(request)
        # On its own thread: the loop must go on while TensorFlow works.
        return json_answer(200, await asyncio.to_thread(self._api.answer, request.method, request.path, body, deadline))


class RestApi:
    """TensorFlow Serving's REST API as one function of method, path and body."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def answer(self, method: str, path: str, body: bytes, deadline: float) -> str:
        """The JSON that answers a request.

        Raises:
          RequestError: if it is refused.
        """
        if method == "POST" and (found := _PREDICT.fullmatch(path)):
            if found["method"].lower() != "predict":
                raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"{found['method']} is not offered, only predict")
            return self._predict(_spec(found), body, deadline)
        if method == "GET" and (found := _MODEL.fullmatch(path)):
            if found["name"] is None:
                raise invalid("Missing model name in request.")
            return self._metadata(_spec(found)) if found["metadata"] else self._status(_spec(found))
        raise invalid(f"Malformed request: {method} {path}")

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes, deadline: float) -> str:
        started = time.perf_counter()
        code = grpc.StatusCode.OK
        try:
            return self._predicted(spec, body, deadline)
        except RequestError as error:
            code = error.code
            raise
        finally:
            self.predictor.count(spec.name, "REST", started, code)

    def _predicted(self, spec: model_pb2.ModelSpec, body: bytes, deadline: float) -> str:
        layouts = []
        try:
            document = json_tensors.parse(body)
            spec.signature_name = json_tensors.signature_name(document)
        except ValueError as error:
            raise invalid(str(error)) from None

        def read(model: LoadedModel, signature: str) -> Tensors:
            found = model.signatures.get(signature)
            if found is None:
                raise ValueError(f'Serving signature name: "{signature}" not found in signature def')
            inputs, layout = json_tensors.read(document, found.inputs)
            layouts.append(layout)
            return inputs

        answer = self.predictor.predict(spec, read, (), deadline)
        try:
            return json_tensors.write(answer.outputs, layouts[0])
        except ValueError as error:
            raise invalid(str(error)) from None

    def _status(self, spec: model_pb2.ModelSpec) -> str:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        response = servicers.get_model_status(self.predictor.registry, request, None)
        return json.dumps(_message_dict(response), indent=1, ensure_ascii=False)

    def _metadata(self, spec: model_pb2.ModelSpec) -> str:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[servicers.SIGNATURE_DEF]
        )
        response = servicers.get_model_metadata(self.predictor.registry, request, None)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[servicers.SIGNATURE_DEF].Unpack(signatures)
        told = {
            "model_spec": _message_dict(response.model_spec),
            "metadata": {servicers.SIGNATURE_DEF: _message_dict(signatures)},
        }
        return json.dumps(told, indent=1, ensure_ascii=False)


def _spec(found: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec()
    try:
        spec.name = found["name"]
        if found["version"] is not None:
            number = int(found["version"])
            if number > _MAX_VERSION:
                raise ValueError
            spec.version.value = number
        if found["label"] is not None:
            spec.version_label = found["label"]
    except ValueError:
        raise invalid(f"Malformed request: the path {found[0]!r} names no model or version") from None
    return spec


def _message_dict(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(message, including_default_value_fields=True, preserving_proto_field_name=True)


def _refusal(error: RequestError, headers: dict[str, str] | None = None) -> web.Response:
    return json_answer(_HTTP_CODES.get(error.code, 500), error_text(error.message), headers)
