"""Running servers on tiny real models."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.config import ServingConfig
from serving.server.server import RunningServer, start
from tests.serving import tiny_retriever

StartServer = Callable[..., RunningServer]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts servers in this process, and stops them when the test ends."""
    servers = []

    def begin(base: Path | None, **settings: object) -> RunningServer:
        values = {"model_dir": base and str(base), "port": 0, "poll_interval_s": 0.05, **settings}
        servers.append(start(ServingConfig.parse(values)))
        return servers[-1]

    yield begin
    for server in servers:
        server.stop(grace=1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of version 3 of the tiny retriever, shared by the tests that only ask."""
    base = tmp_path_factory.mktemp("models")
    tiny_retriever.push(base, 3)
    running = start(ServingConfig(model_dir=str(base), port=0, poll_interval_s=60))
    assert running.manager.wait_until_available(60)
    yield running
    running.stop(grace=1)
