"""The serving program: the port, the watched folder, and an orderly end."""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from schema.settings import InputError
from serving.config import ServingConfig
from serving.server import loader, tensors, versions
from serving.server.loader import LoadedModel
from serving.server.manager import ModelManager
from serving.server.servicers import ModelServicer, PredictionServicer

log = logging.getLogger("souk.serve")

_PARENT_CHECK_S = 1.0


@dataclass(frozen=True)
class RunningServer:
    """A server that answers on `address` ("host:port") until `stop` is called."""

    address: str
    port: int
    manager: ModelManager[LoadedModel]
    grpc_server: grpc.Server

    def stop(self, grace: float) -> None:
        """Takes no new request, gives those in flight `grace` seconds, and ends."""
        self.grpc_server.stop(grace).wait()
        self.manager.stop(grace)


def load_and_warm_up(path: Path, warm_up_limit: int) -> LoadedModel:
    """The model in `path`, after it has answered its recorded warm-up requests.

    Raises:
      Exception: if it cannot be loaded, or cannot answer one of them.
    """
    model = loader.load(path)
    requests = loader.warm_up_requests(path, warm_up_limit)
    for request in requests:
        inputs = {name: tensors.from_proto(proto) for name, proto in request.inputs.items()}
        signature = request.model_spec.signature_name or "serving_default"
        model.run(signature, inputs, list(request.output_filter))
    log.info("version %s: warmed up with %d recorded requests", path.name, len(requests))
    return model


def start(config: ServingConfig) -> RunningServer:
    """Opens the port and loads in the background; until a version is loaded, requests get UNAVAILABLE.

    Raises:
      InputError: if the model folder is not given or not there, or the port is taken.
    """
    base = versions.base_folder(config.model_dir)
    manager = ModelManager(
        config.model_name,
        base,
        partial(load_and_warm_up, warm_up_limit=config.warm_up_limit),
        config.versions,
    )
    threads = config.threads or max(4, 2 * (os.cpu_count() or 1))
    grpc_server = grpc.server(
        futures.ThreadPoolExecutor(threads, thread_name_prefix="souk-request"),
        options=[
            # Two servers on one port would share its requests without a word.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionServicer(manager), grpc_server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(manager), grpc_server)
    port = _bind(grpc_server, config.host, config.port)
    grpc_server.start()
    manager.start(config.poll_interval_s)
    log.info("watching %s every %g s, %d requests at once", base, config.poll_interval_s, threads)
    return RunningServer(f"{config.host}:{port}", port, manager, grpc_server)


def serve(
    config: ServingConfig,
    *,
    announce: Callable[[str], None] = print,
    ready_file: Path | None = None,
    parent: int | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT. Must be called from the main thread.

    Args:
      config: what to serve and where.
      announce: gets the one line that says that a version is being served.
      ready_file: written as JSON {"address", "port", "pid", "model_name"} when the port is open.
      parent: process whose end ends the server too.

    Raises:
      InputError: as for `start`.
    """
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server = start(config)
    if ready_file is not None:
        _write_ready_file(ready_file, server, config.model_name)
    announced = False
    while not stopped.is_set():
        if parent is not None and os.getppid() != parent:
            log.warning("the process that started this server is gone; stopping")
            break
        if announced:
            stopped.wait(_PARENT_CHECK_S)
        elif server.manager.wait_until_available(timeout=0.1):
            announce(f"ready: model {config.model_name!r} answers at {server.address}")
            announced = True
    log.info("stopping; requests in flight get %g s", config.shutdown_grace_s)
    server.stop(config.shutdown_grace_s)
    log.info("stopped")


def _bind(grpc_server: grpc.Server, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = grpc_server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise InputError(
            f"Cannot listen on {address}: the port is taken, or the address is not this machine's. "
            "Give another one with --port, or --port 0 for any free one."
        )
    return bound


def _write_ready_file(path: Path, server: RunningServer, model_name: str) -> None:
    ready = {"address": server.address, "port": server.port, "pid": os.getpid(), "model_name": model_name}
    # Whoever waits for the file must never read half of it.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(ready))
    unfinished.replace(path)
