"""gRPC's health service: for the whole server, and for each model by its name.

It answers on a thread of its own, so that a probe of a busy server is not left waiting behind its requests.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from functools import partial
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

SERVICE = health.SERVICE_NAME

# Names that stand for the whole server.
_WHOLE = (health.OVERALL_HEALTH, "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
_LOOK_S = 0.2


class HealthService(health.HealthServicer):
    """Check and Watch.

    Args:
      availability: tells of each configured model whether a version of it answers.
    """

    def __init__(self, availability: Callable[[], Mapping[str, bool]]) -> None:
        self._pool = futures.ThreadPoolExecutor(1, thread_name_prefix="souk-health")
        super().__init__()
        self._availability = availability
        self._known: dict[str, HealthCheckResponse.ServingStatus] = {}
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="souk-health-watch", daemon=True)

    def start(self) -> None:
        """Begins to tell those who watch."""
        self._thread.start()

    def stop(self) -> None:
        """Answers no more; `enter_graceful_shutdown` comes first, for those who watch."""
        self._stop.set()
        self._pool.shutdown(wait=False)

    def handler(self) -> grpc.GenericRpcHandler:
        """What a gRPC server needs to offer the service.

        It reads requests itself: gRPC would call a malformed one an INTERNAL error.
        """

        def check(data: bytes, context: grpc.ServicerContext) -> HealthCheckResponse:
            request = _request(data, context)
            self._look()
            response = self.Check(request, context)
            if response.status not in (HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING):
                context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service or model {request.service!r}")
            return response

        def watch(data: bytes, context: grpc.ServicerContext, send_response_callback: Callable[[Any], None]) -> None:
            request = _request(data, context)
            self._look()

            def when_closed(callback: Callable[[], None]) -> None:
                # gRPC would call it on the thread that serves all calls. It waits there for a lock that is held while
                # another watcher is told something, for which that thread is needed: no call would be answered again.
                if not context.add_callback(partial(self._pool.submit, callback)):
                    self._pool.submit(callback)

            # Of the context, `Watch` needs this alone.
            self.Watch(request, SimpleNamespace(add_callback=when_closed), send_response_callback)

        check.experimental_thread_pool = watch.experimental_thread_pool = self._pool  # type: ignore[attr-defined]
        # A watcher stays for as long as it likes, and must not keep a thread for that.
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
        kinds = {
            "Check": grpc.unary_unary_rpc_method_handler(check, None, HealthCheckResponse.SerializeToString),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, None, HealthCheckResponse.SerializeToString),
        }
        return grpc.method_handlers_generic_handler(SERVICE, kinds)

    def _follow(self) -> None:
        while not self._stop.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        """Passes on what has changed; whoever watches is told of every `set`."""
        with self._looking:
            models = self._availability()
            now = {name: _status(answers) for name, answers in models.items()}
            now |= dict.fromkeys(_WHOLE, _status(all(models.values())))
            # Models that are no longer configured.
            now |= dict.fromkeys(self._known.keys() - now.keys(), HealthCheckResponse.SERVICE_UNKNOWN)
            for name, status in now.items():
                if self._known.get(name) != status:
                    self.set(name, status)
            self._known = now


def _status(answers: bool) -> HealthCheckResponse.ServingStatus:
    return HealthCheckResponse.SERVING if answers else HealthCheckResponse.NOT_SERVING


def _request(data: bytes, context: grpc.ServicerContext) -> HealthCheckRequest:
    try:
        return HealthCheckRequest.FromString(data)
    except DecodeError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the request is not a HealthCheckRequest: {error}")
        raise AssertionError("ServicerContext.abort always raises") from None
