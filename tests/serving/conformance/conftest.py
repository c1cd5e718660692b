"""The server under test: `souk serve` as a process of its own, or whatever answers at --target.

docs/serving.md says how to point these tests at TensorFlow Serving.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from tests.serving.conformance import models
from tests.serving.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
START_S = 90.0
STOP_S = 30.0


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--target", help="host:port of gRPC to test (default: a `souk serve` of its own)")
    group.addoption("--rest-target", help="host:port of REST to test")
    group.addoption("--served-path", help="folder of the models as the server at --target sees it, for reload tests")
    group.addoption("--pid", type=int, help="process of the server at --target; SIGTERM must end it after the tests")


@dataclass(frozen=True)
class Target:
    """Where the server answers, and where it sees its models; None where that was not said."""

    grpc: str
    rest: str | None
    base_path: str | None


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The server under test, both versions available."""
    # Without these files on the command line the options are unknown, and this is a test run like any other.
    given = request.config.getoption("--target", default=None)
    if given is not None:
        rest = request.config.getoption("--rest-target")
        yield ready(Target(given, rest, request.config.getoption("--served-path")))
        if (pid := request.config.getoption("--pid")) is not None:
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the end of the server", STOP_S)
        return
    folder = tmp_path_factory.mktemp("conformance")
    config, told = models.write(folder, str(folder)), folder / "ready.json"
    options = ["--model-config-file", config, "--port", "0", "--rest-port", "0", "--ready-file", told]
    command = [sys.executable, "-m", "pipeline.cli", "serve", *map(str, options)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    try:
        wait_for(lambda: told.exists() or process.poll() is not None, "the ports", START_S)
        assert process.poll() is None, (folder / "log").read_text()
        ports = json.loads(told.read_text())
        yield ready(Target(ports["address"], ports["rest_address"], str(folder)))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_S)
    text = (folder / "log").read_text()
    assert process.returncode == 0
    assert "Traceback" not in text, text


def ready(target: Target) -> Target:
    """`target`, once both versions are available there."""
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": models.NAME})
    deadline = time.monotonic() + START_S
    with grpc.insecure_channel(target.grpc) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        while True:
            try:
                response = stub.GetModelStatus(request, timeout=10, wait_for_ready=True)
                found = {entry.version for entry in response.model_version_status if entry.state == entry.AVAILABLE}
            except grpc.RpcError as error:
                found = {error.details()}
            if found == set(models.LABELS.values()):
                return target
            assert time.monotonic() < deadline, f"{target.grpc} serves {found}, not what models.config says"
            time.sleep(0.1)


@pytest.fixture(scope="session")
def channel(target: Target) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(target.grpc) as open_channel:
        yield open_channel


@pytest.fixture(scope="session")
def prediction(channel: grpc.Channel) -> prediction_service_pb2_grpc.PredictionServiceStub:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="session")
def model_service(channel: grpc.Channel) -> model_service_pb2_grpc.ModelServiceStub:
    return model_service_pb2_grpc.ModelServiceStub(channel)
