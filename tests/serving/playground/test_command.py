import json
import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import souk_here
from tests.serving.playground.conftest import get, item_id

HEAVY = ("tensorflow", "tfx", "tensorflow_serving", "apache_beam", "scann")


def test_the_command_serves_the_page_until_it_is_stopped(server, shop):
    arguments = ["--target", server.address, "--catalog", str(shop.catalog), "--user-state", str(shop.user_state)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "playground", *arguments, "--port", "0", "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        ready = process.stdout.readline()
        assert ready.startswith("ready: http://127.0.0.1:")

        class Running:
            server_port = int(ready.rsplit(":", 1)[1].strip("/\n"))

        assert get(Running, "/api/models")["models"][0]["key"] == f"souk@{server.address}"
        assert get(Running, "/api/user?user=anna")["items"]["real_time_items"][0]["item_id"] == item_id("black lamp")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "stopped\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "souk"], "name@host:port"),
        (["--catalog", "nowhere.jsonl"], "no catalog file nowhere.jsonl"),
        (["--user-state", "nowhere.parquet"], "no user state file nowhere.parquet"),
        (["--timeout", "0"], "more than 0 seconds"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
    ],
)
def test_bad_input_ends_it_with_a_message(arguments, message):
    assert message in souk_here("playground", "--no-open", *arguments, expect=2).stderr


def test_it_needs_no_tensorflow():
    code = f"""
import json, sys
import pipeline.commands.playground, serving.playground.server
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
