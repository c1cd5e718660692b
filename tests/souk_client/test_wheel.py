"""The client alone, as a service installs it."""

import json
import tomllib

import pytest

from tests import bare_environment
from tests.bare_environment import CLIENT_PROJECT, ROOT, Environment
from tests.serving import tiny_retriever

ASK = """
import json, sys
from souk_client import Behavior, Client, Filters, InputError, ServingError

with Client(sys.argv[1]) as souk:
    hits = souk.search("blue kettle", user_id="u1", behavior=Behavior(history_queries=["kettle"]), filters=Filters())
    print(json.dumps([hit.item_id for hit in hits]))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    folder = tmp_path_factory.mktemp("client")
    bare_environment.copy(bare_environment.tracked("souk_client"), folder)
    wheel = bare_environment.build_wheel(folder / "souk_client", folder / "dist")
    return bare_environment.install(wheel, folder / "environment")


def test_the_client_alone_asks_a_running_server(environment, server):
    ended = environment.run("python", "-c", ASK, server.address)
    assert ended.returncode == 0, ended.stderr
    assert f"v3-{tiny_retriever.TITLES.index('blue kettle')}" in json.loads(ended.stdout)


def test_the_client_brings_grpc_and_protobuf_alone(environment):
    # grpcio itself requires typing-extensions.
    assert environment.distributions() == {"souk-client", "grpcio", "protobuf", "typing-extensions"}


def test_the_client_wheel_has_every_module_of_the_package(environment):
    packages = next((environment.folder / "lib").glob("python*/site-packages"))
    names = bare_environment.tracked("souk_client") - CLIENT_PROJECT
    assert {name for name in names if not (packages / name).is_file()} == set()


def test_client_and_souk_agree_on_version_and_requirements():
    client, souk = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"] for folder in ("souk_client", "")
    )
    assert client["version"] == souk["version"]
    assert set(client["dependencies"]) <= set(souk["dependencies"])
