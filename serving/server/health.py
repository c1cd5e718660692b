"""gRPC's health service: for the whole server, and for each model by its name.

It answers on a thread of its own, so that a probe of a busy server is not left waiting behind its requests.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.protos.health_pb2 import HealthCheckRequest, HealthCheckResponse

SERVICE = "grpc.health.v1.Health"

# Names that stand for the whole server.
_WHOLE = {"", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"}
_LOOK_S = 0.2

_SendResponse = Callable[[Any], None]


class HealthService:
    """Check and Watch.

    Args:
      availability: tells of each configured model whether a version of it answers.
    """

    def __init__(self, availability: Callable[[], Mapping[str, bool]]) -> None:
        self._availability = availability
        self._pool = futures.ThreadPoolExecutor(1, thread_name_prefix="souk-health")
        self._lock = threading.Lock()
        # Sender of each watching call -> what it watches and what it was told last.
        self._watchers: dict[_SendResponse, tuple[str, int | None]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="souk-health-watch", daemon=True)

    def start(self) -> None:
        """Begins to tell those who watch."""
        self._thread.start()

    def stop(self) -> None:
        """Tells nobody any more."""
        self._stop.set()
        self._pool.shutdown(wait=False)

    def status(self, service: str) -> HealthCheckResponse.ServingStatus:
        """SERVING, NOT_SERVING, or SERVICE_UNKNOWN for a name that is neither a model's nor the server's."""
        models = self._availability()
        if service in _WHOLE:
            serving = all(models.values())
        elif service in models:
            serving = models[service]
        else:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING

    def handler(self) -> grpc.GenericRpcHandler:
        """What a gRPC server needs to offer the service."""

        def check(data: bytes, context: grpc.ServicerContext) -> HealthCheckResponse:
            service = _service(data, context)
            status = self.status(service)
            if status == HealthCheckResponse.SERVICE_UNKNOWN:
                context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service or model {service!r}")
            return HealthCheckResponse(status=status)

        def watch(data: bytes, context: grpc.ServicerContext, send_response_callback: _SendResponse) -> None:
            service = _service(data, context)
            with self._lock:
                self._watchers[send_response_callback] = (service, None)
            if not context.add_callback(lambda: self._leave(send_response_callback)):
                self._leave(send_response_callback)

        check.experimental_thread_pool = self._pool  # type: ignore[attr-defined]
        watch.experimental_thread_pool = self._pool  # type: ignore[attr-defined]
        # A watcher stays for as long as it likes, and must not keep a thread for that.
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
        kinds = {
            "Check": grpc.unary_unary_rpc_method_handler(check, None, HealthCheckResponse.SerializeToString),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, None, HealthCheckResponse.SerializeToString),
        }
        return grpc.method_handlers_generic_handler(SERVICE, kinds)

    def _leave(self, send: _SendResponse) -> None:
        with self._lock:
            self._watchers.pop(send, None)

    def _tell(self) -> None:
        while not self._stop.wait(_LOOK_S):
            with self._lock:
                watchers = list(self._watchers.items())
            for send, (service, told) in watchers:
                status = self.status(service)
                if status != told:
                    with self._lock:
                        if send in self._watchers:
                            self._watchers[send] = (service, status)
                    send(HealthCheckResponse(status=status))


def _service(data: bytes, context: grpc.ServicerContext) -> str:
    try:
        return HealthCheckRequest.FromString(data).service
    except DecodeError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the request is not a HealthCheckRequest: {error}")
        raise AssertionError("ServicerContext.abort always raises") from None
