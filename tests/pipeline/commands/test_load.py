import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from serving.config import ServingConfig
from serving.server.server import start
from tests.serving import tiny_retriever

TOKEN = "s3cret"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("load")


@pytest.fixture(scope="module")
def target(folder):
    tiny_retriever.push(folder / "models", 1)
    (folder / "tokens").write_text(f"{TOKEN}\n")
    settings = {"model_dir": str(folder / "models"), "port": 0, "auth_token_file": str(folder / "tokens")}
    server = start(ServingConfig(**settings))
    assert server.manager.wait_until_available(60)
    yield server.address
    server.stop(grace=1)


@pytest.fixture(scope="module")
def queries(folder):
    (folder / "queries.txt").write_text("red shoes\n\n  black lamp \n")
    return folder / "queries.txt"


def load(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["load", *map(str, arguments)])


def test_every_request_is_counted_for_programs(target, queries, folder):
    result = load(
        queries, "--target", target, "--token-file", folder / "tokens", "--rate", 40, "--seconds", 1, "--json"
    )
    assert (result.exit_code, result.stderr) == (0, "")
    (step,) = json.loads(result.stdout)["steps"]
    assert step["codes"] == {"OK": step["due"]}
    assert step["due"] > 10
    assert step["latency_ms"]["p50"] > 0


def test_what_failed_and_why_is_in_the_table(target, queries):
    result = load(queries, "--target", target, "--rate", 20, "--seconds", 0.5)
    assert result.exit_code == 0
    assert "UNAUTHENTICATED" in result.stdout


def test_a_rate_that_is_too_high_is_found(target, queries, folder):
    arguments = ["--target", target, "--token-file", folder / "tokens", "--find", "--rate", 20, "--seconds", 0.5]
    # No answer comes within a microsecond.
    result = load(queries, *arguments, "--p99-ms", 0.001)
    assert result.exit_code == 0
    assert "20/s: p99 of" in result.stderr
    assert "The server follows 0 requests a second." in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rate", "0"], "greater than 0"),
        (["--p99-ms", "10"], "Give --find too"),
        (["--target", "localhost:1"], "souk serve"),
        (["--token-file", "nowhere"], "nowhere cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said(queries, arguments, expected):
    result = load(queries, *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr


def test_a_file_without_queries_is_refused(tmp_path):
    (tmp_path / "none.txt").write_text("\n \n")
    assert "There is no query to send" in load(tmp_path / "none.txt").stderr
    assert "cannot be read" in load(tmp_path / "absent.txt").stderr


def test_no_tensorflow_is_imported(target, queries, folder):
    program = (
        "import sys; from pipeline.cli import main; main(standalone_mode=False); print('tensorflow' in sys.modules)"
    )
    arguments = ["load", queries, "--target", target, "--token-file", folder / "tokens", "--seconds", 0.2]
    ended = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == "False"
