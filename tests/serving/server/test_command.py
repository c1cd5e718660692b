"""The serving program as a process: what it prints, how it ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from souk_client.client import Client
from tests.serving import tiny_retriever
from tests.serving.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]


@contextlib.contextmanager
def program(*arguments: object) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "serving.server", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_program_tells_its_address_and_stops_in_order(tmp_path):
    base, ready = tmp_path / "models", tmp_path / "ready.json"
    base.mkdir()
    tiny_retriever.push(base, 5)
    with program("--model-dir", base, "--name", "shop", "--port", 0, "--ready-file", ready) as process:
        line = process.stdout.readline()
        told = json.loads(ready.read_text())
        assert line == f"ready: model 'shop' answers at {told['address']}\n"
        assert told == {
            "address": f"127.0.0.1:{told['port']}",
            "port": told["port"],
            "rest_address": told["rest_address"],
            "pid": process.pid,
            "model_name": "shop",
            "processor_seconds": told["processor_seconds"],
        }
        assert told["processor_seconds"] > 0
        with Client(told["address"], model_name="shop") as client:
            assert client.answer("red shoes").model_version == 5
        process.send_signal(signal.SIGTERM)
        rest, log = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")
    for step in ("version 5: loading", "warmed up with 1 recorded", "version 5: available after", "stopped"):
        assert step in log
    assert "Traceback" not in log


def test_the_program_ends_when_its_starter_is_gone(tmp_path):
    ready = tmp_path / "ready.json"
    starter = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-m", "serving.server", "--model-dir", {str(tmp_path)!r}, "--port", "0",
                  "--ready-file", {str(ready)!r}, "--parent-pid", str(os.getpid())], stderr=subprocess.DEVNULL)
sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE, cwd=ROOT)
    wait_for(ready.exists, "the port")
    server = json.loads(ready.read_text())["pid"]
    assert alive(server)
    process.kill()
    process.communicate()
    wait_for(lambda: not alive(server), "the end of the server")


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and is not yet collected does not."""
    with contextlib.suppress(OSError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-dir", "/no/such/folder"], "Error: There is no model folder /no/such/folder."),
        (["--model-dir", "/tmp", "--port", "70000"], "Error: the command line does not describe a valid"),
    ],
)
def test_bad_input_ends_with_one_message_and_code_2(arguments, message):
    with program(*arguments) as process:
        _, log = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message in log
    assert "Traceback" not in log
