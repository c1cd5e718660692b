"""The image's health check, run against a real server."""

import shutil
import socket
import subprocess

import pytest

from tests.serving.deployment.files import DOCKER

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


def health(model: str, port: int) -> int:
    command = ["bash", DOCKER / "healthy.sh", model, str(port)]
    return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode


def test_a_server_whose_model_answers_is_healthy(server):
    assert health("souk", int(server.rest_address.rpartition(":")[2])) == 0


def test_a_model_that_does_not_answer_is_not_healthy(server):
    assert health("other", int(server.rest_address.rpartition(":")[2])) != 0


def test_a_model_without_a_version_yet_is_not_healthy(start_server, tmp_path):
    running = start_server(tmp_path)
    assert health("souk", int(running.rest_address.rpartition(":")[2])) != 0


def test_a_closed_port_and_a_silent_one_are_not_healthy():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert health("souk", silent.getsockname()[1]) != 0
        port = silent.getsockname()[1]
    assert health("souk", port) != 0
