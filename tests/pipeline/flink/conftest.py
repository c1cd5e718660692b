from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.beam import BeamConfig
from tests.clean_environment import Image
from tests.conftest import TinyShop
from tests.pipeline.flink.job_server import MissingError, class_path, job_server

# As a cluster would be set up. Transform's graph is wide, and each of its edges takes network buffers.
_CONF = """
restart-strategy:
  type: {strategy}
  fixed-delay:
    attempts: {retries}
    delay: 1 s
taskmanager:
  memory:
    network:
      min: 256mb
      max: 256mb
"""


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

    def beam(
        self, workers: int, processes: int = 1, program: str = "", retries: int = 0, **variables: str
    ) -> BeamConfig:
        """The section `beam` that runs jobs here.

        Args:
          workers: Flink's parallelism.
          processes: that each job gets.
          program: a Python file to run in the place of `python -m pipeline.beam_worker`.
          retries: how often a job is started again of which a worker was lost, once a second.
          variables: further ones of the workers' environment.
        """
        number = len(list(self.folder.iterdir()))
        conf = self.folder / f"conf-{number}"
        conf.mkdir()
        (conf / "config.yaml").write_text(_CONF.format(strategy="fixed-delay" if retries else "none", retries=retries))
        command = self.folder / f"worker-{number}"
        command.write_text(f'#!/bin/sh\nexec {self.image.python} {program or "-m pipeline.beam_worker"} "$@"\n')
        command.chmod(0o755)
        worker = {"type": "process", "command": str(command), "variables": self.image.environment | variables}
        return BeamConfig.parse(
            {
                "runner": "flink",
                "job_endpoint": self.endpoint,
                "workers": workers,
                # So short that a lost one is replaced before the retries are over.
                "worker": worker | {"processes": processes, "renewed_after_s": 4 if retries else 300},
                "options": [f"--flink_conf_dir={conf}"],
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
