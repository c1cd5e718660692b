"""`souk serve` and `souk query` of a model in shards."""

import json
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands.query import configured
from serving.config import ServingConfig
from serving.server.server import start
from souk_client.client import Client
from souk_client.protocol import shard_models
from tests.serving import tiny_retriever

SHARDS = 3


def push(folder, version: int) -> None:
    for shard, name in enumerate(shard_models("souk", SHARDS)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        tiny_retriever.push(folder / name, version, shard=(shard, SHARDS))


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """A server of the catalog in one piece, one with all shards, and one for each."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "souk").mkdir()
    tiny_retriever.push(folder / "souk", 1)
    push(folder, 1)
    common = {"port": 0, "rest_port": -1, "poll_interval_s": 60}
    configs = [
        ServingConfig(model_dir=str(folder / "souk"), **common),
        ServingConfig(model_dir=str(folder / "souk"), shards=SHARDS, **common),
        *(ServingConfig(model_dir=str(folder / n), model_name=n, **common) for n in shard_models("souk", SHARDS)),
    ]
    running = [start(config) for config in configs]
    assert all(server.manager.wait_until_available(60) for server in running)
    yield running
    for server in running:
        server.stop(grace=1)


@pytest.fixture
def addresses(servers):
    return [server.address for server in servers]


def ask(*arguments: object, expect: int = 0):
    result = CliRunner().invoke(main, ["query", *map(str, arguments)])
    assert result.exit_code == expect, result.output
    return result


def ids(result) -> list[str]:
    return [hit["item_id"] for hit in json.loads(result.stdout)["hits"]]


def test_shards_on_one_server_or_several_answer_as_one_catalog(addresses):
    whole, everything, *each = addresses
    expected = ids(ask("blue kettle", "--target", whole, "--k", 3, "--json"))
    one = ask("blue kettle", "--target", everything, "--shards", SHARDS, "--k", 3, "--json")
    several = ask("blue kettle", *(part for target in each for part in ("--target", target)), "--k", 3, "--json")
    assert ids(one) == ids(several) == expected
    assert json.loads(several.stdout)["missing_shards"] == []


def test_a_shard_that_is_away_is_an_error_or_a_note(addresses):
    _, _, first, _, third = addresses
    targets = ("--target", first, "--target", "127.0.0.1:1", "--target", third)
    assert "shard 1 of 3: No server answers at 127.0.0.1:1" in ask("red", *targets, expect=2).stderr
    partial = ask("red", *targets, "--allow-partial", "--json")
    assert json.loads(partial.stdout)["missing_shards"] == [1]
    assert partial.stderr == "note: shard 1 of 3 gave no answer, so better items may be missing\n"


def test_targets_that_are_not_as_many_as_the_shards_are_refused(addresses):
    refused = ask("red", "--target", addresses[2], "--target", addresses[3], "--shards", SHARDS, expect=2)
    assert "There are 3 shards and 2 servers to ask" in refused.stderr


def test_a_fan_out_imports_neither_tensorflow_nor_tfx(addresses):
    targets = [part for target in addresses[2:] for part in ("--target", target)]
    code = f"""
import sys
from click.testing import CliRunner
from pipeline.cli import main
result = CliRunner().invoke(main, ["query", "red", *{targets!r}])
assert result.exit_code == 0, result.output
print([name for name in ("tensorflow", "tfx", "tensorflow_serving", "apache_beam", "scann") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_configuration_of_shards_serves_and_asks_them_all(tmp_path):
    push(tmp_path / "run" / "serving", 7)
    config, ready = tmp_path / "souk.yaml", tmp_path / "ready.json"
    config.write_text("root: run\ningest: {data: {events: e.jsonl, catalog: c.csv}}\nindex: {shards: 3}\n")
    assert configured(str(config)).shards == SHARDS
    command = [sys.executable, "-m", "pipeline.cli", "serve", "--config", config, "--port", "0", "--ready-file", ready]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        told = process.stdout.readline()
        assert told.startswith("ready: models 'souk-shard-0-of-3', 'souk-shard-1-of-3', 'souk-shard-2-of-3' answer at")
        target = json.loads(ready.read_text())["address"]
        answer = json.loads(
            ask("blue kettle", "--config", config, "--target", target, "--catalog", catalog(tmp_path), "--json").stdout
        )
        assert answer["model_version"] == 7
        assert answer["hits"][0]["title"] == "blue kettle"
        with Client(target, model_name="souk-shard-1-of-3") as client:
            own = {f"v7-{number}" for number in tiny_retriever.numbers_in(7, (1, SHARDS))}
            assert {hit.item_id for hit in client.search("red")} <= own
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0


def catalog(folder):
    rows = [
        {"item_id": item_id, "title": title}
        for item_id, title in zip(tiny_retriever.item_ids(7), tiny_retriever.TITLES, strict=True)
    ]
    (folder / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "c.jsonl"


def test_a_shard_that_was_not_pushed_is_named(tmp_path):
    (tmp_path / "souk-shard-0-of-2").mkdir()
    arguments = ["serve", "--model-dir", str(tmp_path / "souk"), "--shards", "2"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert f"There is no model folder {tmp_path}/souk-shard-1-of-2" in " ".join(result.stderr.split())
