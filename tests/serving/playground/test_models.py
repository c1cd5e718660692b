import socket
from contextlib import closing

import grpc
import pytest

from schema.settings import InputError
from serving.playground.models import Models, ServedModel, parse_model
from souk_client.client import Client, ServingError
from tests.serving import tiny_retriever
from tests.serving.waiting import wait_for


def _free_target():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_a_model_is_named_with_its_server():
    assert parse_model("dpsr@localhost:8500") == ServedModel("dpsr", "localhost:8500")
    assert parse_model("dpsr@localhost:8500").key == "dpsr@localhost:8500"
    for wrong in ("dpsr", "@localhost:8500", "dpsr@", ""):
        with pytest.raises(InputError, match="name@host:port"):
            parse_model(wrong)


def test_a_model_is_described_with_its_versions_and_abilities(server):
    with closing(Models([ServedModel("souk", server.address)], 20)) as models:
        assert models.describe() == [
            {
                "key": f"souk@{server.address}",
                "name": "souk",
                "target": server.address,
                "versions": [{"version": "3", "state": "AVAILABLE", "error": ""}],
                "has_relevance_control": True,
            }
        ]


def test_a_model_that_cannot_be_asked_is_told_with_the_reason(server):
    dead, nameless = ServedModel("souk", _free_target()), ServedModel("bazaar", server.address)
    with closing(Models([dead, nameless], 5)) as models:
        first, second = models.describe()
    assert "No server answers" in first["error"]
    assert "bazaar" in second["error"]
    assert first["versions"] == second["versions"] == []


def test_connections_are_kept_and_only_for_versions_that_exist(server):
    key = f"souk@{server.address}"
    with closing(Models([ServedModel("souk", server.address)], 20)) as models:
        assert models.client(key, 3) is models.client(key, 3)
        assert models.client(key, None) is not models.client(key, 3)
        with pytest.raises(ServingError) as caught:
            models.client(key, 99)
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


def test_another_server_than_those_of_the_start_cannot_be_asked(server):
    with closing(Models([ServedModel("souk", server.address)], 20)) as models:
        for key in ("souk@evil.example:1", "bazaar@" + server.address, ""):
            with pytest.raises(InputError, match="was not started with the model"):
                models.client(key, None)


def test_versions_that_come_and_go_are_told_of(tmp_path, start_server):
    tiny_retriever.push(tmp_path, 1)
    tiny_retriever.push(tmp_path, 2)
    running = start_server(tmp_path, versions=2)
    with Client(running.address) as client:
        wait_for(lambda: {one.state for one in client.status()} == {"AVAILABLE"}, "both versions")
    with closing(Models([ServedModel("souk", running.address)], 20)) as models:
        assert [one["version"] for one in models.describe()[0]["versions"]] == ["2", "1"]
        assert models.client(f"souk@{running.address}", 1).answer("red").model_version == 1
