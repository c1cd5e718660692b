from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.beam import BeamConfig
from tests.clean_environment import Image
from tests.conftest import TinyShop
from tests.pipeline.flink.job_server import MissingError, class_path, job_server


@dataclass(frozen=True)
class Flink:
    """A running Flink, whose workers are processes of an environment that has Souk's package and the lock alone.

    Attributes:
      endpoint: of Beam's job server.
      image: that environment.
      folder: for the programs that start workers.
    """

    endpoint: str
    image: Image
    folder: Path

    def beam(self, processes: int, program: str = "", **variables: str) -> BeamConfig:
        """The section `beam` that runs jobs here.

        Args:
          processes: that each job gets.
          program: a Python file to run in the place of `python -m pipeline.beam_worker`.
          variables: further ones of the workers' environment.
        """
        command = self.folder / f"worker-{len(list(self.folder.iterdir()))}"
        command.write_text(f'#!/bin/sh\nexec {self.image.python} {program or "-m pipeline.beam_worker"} "$@"\n')
        command.chmod(0o755)
        worker = {"type": "process", "command": str(command), "variables": self.image.environment | variables}
        return BeamConfig.parse(
            {
                "runner": "flink",
                "job_endpoint": self.endpoint,
                "workers": 2,
                "worker": worker | {"processes": processes},
            }
        )


@pytest.fixture(scope="session")
def flink(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, tiny_shop: TinyShop
) -> Iterator[Flink]:
    """One job server for all tests of the session, which go to the process of those of `tiny_shop`."""
    try:
        packages = class_path()
    except MissingError as error:
        pytest.skip(f"needs a Flink to run on: {error}")
    image = request.getfixturevalue("clean_environment")
    folder = tmp_path_factory.mktemp("flink")
    workers = folder / "workers"
    workers.mkdir()
    with job_server(folder, packages, image.environment) as endpoint:
        yield Flink(endpoint, image, workers)
