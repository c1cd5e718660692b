"""The serving program: its ports, its models, and an orderly end."""

import contextlib
import ctypes
import gc
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc

from schema.files import write_whole
from schema.settings import InputError
from serving.config import ServingConfig
from serving.server import grpc_port, model_config, versions, warm_up
from serving.server.batching import BatchingRunner, read_options
from serving.server.config_file import ConfigFileWatcher
from serving.server.health import HealthService
from serving.server.loader import LoadedModel
from serving.server.metrics import Metrics
from serving.server.model_config import ModelSettings
from serving.server.prediction import DirectRunner, Predictor, Runner
from serving.server.registry import ModelRegistry
from serving.server.rest_port import RestOptions, RestServer
from serving.server.security import Tls, TokenInterceptor, read_tls, read_tokens

log = logging.getLogger("souk.serve")

_PARENT_CHECK_S = 1.0
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
# A request that waits for its batch keeps a thread and no processor.
_BATCHED_REQUESTS = 64
# Of glibc's malloc.h.
_M_MMAP_THRESHOLD = -3
_TABLE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class RunningServer:
    """A server that answers on `address` ("host:port") until `stop` is called.

    Attributes:
      address: where gRPC answers.
      port: its port.
      manager: the models.
      predictor: what answers Predict, with the metrics.
    """

    address: str
    port: int
    manager: ModelRegistry[LoadedModel]
    predictor: Predictor
    grpc_server: grpc.Server
    health: HealthService
    rest_server: RestServer | None
    config_watcher: ConfigFileWatcher | None

    @property
    def rest_address(self) -> str | None:
        """Where REST answers ("host:port"), or None where it is switched off."""
        return None if self.rest_server is None else f"{self.address.rsplit(':', 1)[0]}:{self.rest_server.port}"

    def stop(self, grace: float) -> None:
        """Takes no new request, gives those in flight `grace` seconds, and ends."""
        if self.config_watcher is not None:
            self.config_watcher.stop()
        self.health.enter_graceful_shutdown()
        stopping = self.grpc_server.stop(grace)
        if self.rest_server is not None:
            self.rest_server.stop()
        stopping.wait()
        self.health.stop()
        self.manager.stop(grace)


def start(config: ServingConfig) -> RunningServer:
    """Opens the ports and loads in the background; until a version is loaded, requests get UNAVAILABLE.

    Raises:
      InputError: if what is to be served is not given or not there, or a port is taken.
    """
    models = _models(config)
    metrics = Metrics()
    registry = ModelRegistry(
        partial(warm_up.load_and_warm_up, warm_up_limit=config.warm_up_limit, metrics=metrics), config.poll_interval_s
    )
    admit = None if config.auth_token_file is None else read_tokens(Path(config.auth_token_file))
    tls = None if config.ssl_config_file is None else read_tls(Path(config.ssl_config_file))
    if admit is None and config.host not in _LOOPBACK:
        log.warning(
            "%s can be reached from the network, and whoever reaches it may ask; see --auth-token-file", config.host
        )
    with contextlib.ExitStack() as opened:
        runner = _runner(config, metrics)
        predictor = Predictor(registry, runner, metrics, config.max_rows)
        threads = config.threads or (_BATCHED_REQUESTS if config.enable_batching else max(4, 2 * (os.cpu_count() or 1)))
        health = HealthService(registry.availability)
        grpc_server = grpc_port.create(
            predictor,
            threads=threads,
            max_request_bytes=config.max_request_bytes,
            health=health,
            interceptors=() if admit is None else (TokenInterceptor(admit),),
        )
        opened.callback(grpc_server.stop, None)
        port = grpc_port.listen(grpc_server, config.host, config.port, None if tls is None else tls.grpc)
        rest_server = _open_rest(config, predictor, threads, admit, tls)
        # Nothing below fails, so nothing is closed again.
        opened.pop_all()
    registry.start(models)
    health.start()
    grpc_server.start()
    for settings in models:
        log.info("%s: watching %s every %g s", settings.name, settings.base, config.poll_interval_s)
    watcher = None
    if config.model_config_file is not None and config.model_config_poll_interval_s > 0:
        watcher = ConfigFileWatcher(Path(config.model_config_file), config.model_config_poll_interval_s, registry)
        watcher.start()
    return RunningServer(f"{config.host}:{port}", port, registry, predictor, grpc_server, health, rest_server, watcher)


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
      ready_file: written as JSON {"address", "port", "rest_address", "pid", "model_name", "processor_seconds"} when
        the port is open; the last is the processor time that the start took.
      parent: process whose end ends the server too.

    Raises:
      InputError: as for `start`.
    """
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    # What TensorFlow's import left stays for good; without it, collecting a withdrawn model's memory is brief.
    gc.freeze()
    _keep_tables_apart()
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
            announce(f"ready: {_told(server.manager)} at {server.address}")
            if server.rest_address is not None:
                log.info("REST and metrics at %s", server.rest_address)
            announced = True
    log.info("stopping; requests in flight get %g s", config.shutdown_grace_s)
    server.stop(config.shutdown_grace_s)
    log.info("stopped")


def _keep_tables_apart() -> None:
    """Has malloc give each table a mapping of its own, which goes back to the system as a whole when it is freed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _TABLE_BYTES)


def _runner(config: ServingConfig, metrics: Metrics) -> Runner:
    if config.enable_batching:
        parameters = config.batching_parameters_file
        return BatchingRunner(read_options(None if parameters is None else Path(parameters)), metrics)
    if config.batching_parameters_file is not None:
        raise InputError("--batching-parameters-file is given with --no-enable-batching; give one of them, or neither.")
    return DirectRunner(metrics)


def _open_rest(
    config: ServingConfig,
    predictor: Predictor,
    threads: int,
    admit: Callable[[str], bool] | None,
    tls: Tls | None,
) -> RestServer | None:
    port = config.chosen_rest_port()
    if port is None:
        return None
    options = RestOptions(
        threads=threads,
        max_request_bytes=config.max_request_bytes,
        timeout_s=config.rest_timeout_s,
        grace_s=config.shutdown_grace_s,
        admit=admit,
        tls=None if tls is None else tls.http,
    )
    return RestServer(predictor, config.host, port, options)


def _models(config: ServingConfig) -> tuple[ModelSettings, ...]:
    if config.model_config_file is not None:
        return model_config.read(Path(config.model_config_file))
    policy = versions.Latest(config.served_versions())
    models = tuple(
        ModelSettings(name, versions.base_folder(folder), policy) for name, folder in config.model_folders().items()
    )
    delta = config.delta_folder()
    if delta is None:
        return models
    name, folder = delta
    return (*models, ModelSettings(name, Path(folder).expanduser().resolve(), optional=True))


def _told(registry: ModelRegistry[LoadedModel]) -> str:
    names = sorted(registry.availability())
    return f"model {names[0]!r} answers" if len(names) == 1 else f"models {', '.join(map(repr, names))} answer"


def _write_ready_file(path: Path, server: RunningServer, model_name: str) -> None:
    ready = {
        "address": server.address,
        "port": server.port,
        "rest_address": server.rest_address,
        "pid": os.getpid(),
        "model_name": model_name,
        "processor_seconds": time.process_time(),
    }
    write_whole(str(path), json.dumps(ready).encode())
