import json
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from souk_client.client import Client
from tests.serving import tiny_retriever


def test_an_option_overrules_what_the_configuration_serves(tmp_path):
    """As a process, because a server needs the main thread for its signals."""
    pushed, ready = tmp_path / "run/serving/shop", tmp_path / "ready.json"
    pushed.mkdir(parents=True)
    tiny_retriever.push(pushed, 7)
    config = tmp_path / "souk.yaml"
    config.write_text(
        "root: run\ningest: {data: {events: e.jsonl, catalog: c.csv}}\nserving: {model_name: shop, port: 1}\n"
    )
    command = [sys.executable, "-m", "pipeline.cli", "serve", "--config", config, "--port", "0", "--ready-file", ready]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().startswith("ready: model 'shop' answers at 127.0.0.1:")
        with Client(json.loads(ready.read_text())["address"], model_name="shop") as client:
            assert client.answer("red").model_version == 7
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, "Traceback" in log) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No model folder is given"),
        (["--model-dir", "/no/such/folder"], "There is no model folder /no/such/folder"),
        (["--model-dir", "/tmp", "--poll-interval", "0"], "`poll_interval_s`"),
        (["--config", "/no/such/file"], "/no/such/file does not exist"),
    ],
)
def test_bad_input_gets_one_message_and_code_2(arguments, message):
    result = CliRunner().invoke(main, ["serve", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
