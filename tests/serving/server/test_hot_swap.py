"""Versions come and go, two of them broken, under steady traffic: nobody may notice, and memory must come back."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tensorflow as tf

from schema import features
from serving.load.background import BackgroundLoad
from serving.load.config import LoadConfig
from serving.load.requests import examples_of
from souk_client.client import Client
from souk_client.examples import search_example
from souk_client.protos.prediction_service_pb2 import PredictResponse
from tests.serving import tiny_retriever
from tests.serving.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
QUERIES = ["red shoes", "black lamp", "phone case", "跑步鞋"]
# Seven loads must leave less than half of one model behind.
MODEL_MB, BOUND_MB = 128, 64


class HeavyRetriever(tiny_retriever.TinyRetriever):
    """As heavy as a model of some size, so that one that stays in memory is seen."""

    def __init__(self) -> None:
        super().__init__(version=1, k=10, flaw="none")
        self.weight = tf.Variable(tf.ones([MODEL_MB * 2**18]))


@pytest.fixture(scope="module")
def heavy(tmp_path_factory) -> Path:
    path, model = tmp_path_factory.mktemp("heavy") / "1", HeavyRetriever()
    tf.saved_model.save(model, str(path), signatures={features.SIGNATURE_DEFAULT: model.serving_default})
    tiny_retriever.write_warm_up(path, features.INPUT_EXAMPLES, search_example("red shoes"))
    return path


@dataclass(frozen=True)
class Shelf:
    """Makes versions out of one SavedModel and puts them into a model folder at once, by a rename."""

    model: Path
    base: Path

    @contextlib.contextmanager
    def pushed(self, version: int) -> Iterator[Path]:
        """A version that is not in its place yet, to be spoilt."""
        made = self.base / f"making-{version}"
        shutil.copytree(self.model, made, copy_function=os.link)
        graph = (made / "saved_model.pb").read_bytes()
        # The ids are constants of the graph; one digit gives way to another.
        replace(made / "saved_model.pb", graph.replace(b"v1-", f"v{version}-".encode()))
        yield made
        made.rename(self.base / str(version))

    def push(self, version: int) -> None:
        with self.pushed(version):
            pass

    def withdraw(self, version: int) -> None:
        (self.base / str(version)).rename(self.base / f"withdrawn-{version}")
        shutil.rmtree(self.base / f"withdrawn-{version}")


def replace(path: Path, content: bytes) -> None:
    # Written in place it would change the other versions too, which are links to the same file.
    path.unlink()
    path.write_bytes(content)


def of_one_version(answer: PredictResponse) -> str | None:
    found = {item.split(b"-")[0].decode() for item in answer.outputs[features.OUTPUT_ITEM_IDS].string_val}
    expected = {f"v{answer.model_spec.version.value}"}
    return None if found == expected else f"version {expected} answered with items of {found}"


def resident_mb(process: subprocess.Popen) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.parametrize("batching", [False, True], ids=["alone", "batched"])
def test_swaps_under_load_fail_no_request_and_leak_no_memory(batching, heavy, tmp_path):
    shelf, ready = Shelf(heavy, tmp_path / "models"), tmp_path / "ready.json"
    shelf.base.mkdir()
    shelf.push(1)
    command = [sys.executable, "-m", "serving.server", "--model-dir", shelf.base, "--port", "0", "--rest-port", "-1"]
    command += ["--poll-interval", "0.05", "--ready-file", ready, *([] if batching else ["--no-enable-batching"])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        assert process.stdout.readline().startswith("ready:")
        address = json.loads(ready.read_text())["address"]
        config = LoadConfig(rate=50, timeout_s=30)
        with (
            Client(address) as client,
            BackgroundLoad(address, examples_of(QUERIES), config, inspect=of_one_version, first="1") as load,
        ):

            def states() -> dict[int, str]:
                return {status.version: status.state for status in client.status()}

            def errors() -> dict[int, str]:
                return {status.version: status.error for status in client.status() if status.error}

            wait_for(lambda: client.answer(QUERIES[0]).model_version == 1, "version 1")
            before = resident_mb(process)
            for version in (2, 3, 4, 5):
                load.begin(str(version))
                shelf.push(version)
                wait_for(
                    lambda version=version: (states().get(version), states()[version - 1]) == ("AVAILABLE", "END"),
                    f"version {version} instead of {version - 1}",
                )
                shelf.withdraw(version - 1)
            load.begin("broken")
            with shelf.pushed(6) as made:
                graph = (made / "saved_model.pb").read_bytes()
                replace(made / "saved_model.pb", graph[: len(graph) // 2])
            with shelf.pushed(7) as made:
                (made / "assets.extra" / "tf_serving_warmup_requests").unlink()
                tiny_retriever.write_warm_up(made, "no such input", b"")
            wait_for(lambda: errors().keys() == {6, 7}, "the errors of versions 6 and 7")
            assert "DecodeError" in errors()[6]
            assert "Sent extra: {no such input}" in errors()[7]
            assert states() == {1: "END", 2: "END", 3: "END", 4: "END", 5: "AVAILABLE", 6: "END", 7: "END"}
            load.begin("past the broken ones")
            shelf.push(8)
            wait_for(lambda: (states().get(8), states()[5]) == ("AVAILABLE", "END"), "version 8 instead of 5")
            load.begin("back again")
            shelf.withdraw(8)
            wait_for(lambda: (states()[5], states()[8]) == ("AVAILABLE", "END"), "version 5 instead of 8")
            wait_for(lambda: client.answer(QUERIES[0]).model_version == 5, "an answer of version 5")
        # Nobody asks any more: what a thread keeps from its last request must be gone too.
        wait_for(
            lambda: resident_mb(process) < before + BOUND_MB,
            f"memory to be back at {before:.0f} MB; it is {resident_mb(process):.0f} MB",
        )
    finally:
        process.kill()
        process.communicate()
    for report in load.reports:
        assert report.failed == 0, f"{report.name}: {report.codes} {report.problems}"
    answered = set().union(*(report.versions for report in load.reports))
    assert answered == {1, 2, 3, 4, 5, 8}
