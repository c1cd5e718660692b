"""Other servers than the default one, by programs that do as a test says; one test has a real `souk serve`."""

import http.server
import shlex
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from components.canary.config import CanaryConfig
from components.canary.external_server import missing_at, serve_candidate_with
from components.canary.probe import probe
from components.canary.server_process import LoadError, ServerProcess, StartError
from schema.settings import InputError
from tests.components.canary import slow_program

REST = "{port} {model_name} {model_dir}"


def telling(state: str) -> str:
    """The command of a program that tells this state of whatever it serves."""
    return shlex.join([sys.executable, slow_program.__file__, "{model_dir}/ready", state, "{port}", "{model_name}"])


def shell(script: str) -> str:
    return f"sh -c {shlex.quote(script)} {REST}"


def serving(command: str, *folders: Path, **settings: float) -> AbstractContextManager[ServerProcess]:
    config = CanaryConfig.parse({"server_command": command, "process_timeout_s": 30, **settings})
    return serve_candidate_with(command, folders, folders[0] / "log", config)


def test_each_shard_has_a_server_of_its_own(tmp_path):
    with serving(telling("AVAILABLE"), tmp_path, tmp_path) as server:
        assert server.exit_code is None
        assert len(set(server.addresses)) == len(server.processes) == 2
        assert [process.args[-1] for process in server.processes] == ["canary-shard-0-of-2", "canary-shard-1-of-2"]
        assert (server.startup_seconds, server.slowdown >= 1.0) == (None, True)
    assert all(process.returncode is not None for process in server.processes)
    assert server.exit_code is not None


def test_a_candidate_that_the_server_calls_broken_is_refused(tmp_path):
    with pytest.raises(LoadError, match="cannot load the candidate"), serving(telling("END"), tmp_path):
        pass


def test_a_program_that_is_not_there_is_named(tmp_path):
    message = "the program 'no-such-server' of canary.server_command cannot be started: No such file.* Install it"
    with pytest.raises(InputError, match=message), serving(f"no-such-server {REST}", tmp_path):
        pass


def test_a_program_that_ends_at_once_is_shown_with_its_output(tmp_path):
    message = (
        r"`sh -c .*ended with code 3 before the candidate was ready.*neither blessed nor refused.*last: unknown flag"
    )
    with pytest.raises(StartError, match=message), serving(shell("echo unknown flag; exit 3"), tmp_path):
        pass


def test_a_server_that_never_answers_is_shown_with_its_output(tmp_path):
    limits = {"process_timeout_s": 0.2, "load_timeout_s": 0.01}
    message = r"was not ready within 0\.2 s .*at last: nothing answers gRPC at 127.* last: reading"
    with pytest.raises(StartError, match=message), serving(shell("echo reading; exec sleep 60"), tmp_path, **limits):
        pass


def test_an_address_is_ready_when_it_answers_200(tmp_path):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/ready" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        assert missing_at(f"{place}/ready") == ""
        assert "404" in missing_at(f"{place}/other")
        server.shutdown()
    assert "does not answer 200" in missing_at(f"{place}/ready")


def test_souk_serve_by_command_line_blesses_a_good_candidate(examples_uri, candidate):
    command = (
        f"{sys.executable} -m pipeline.cli serve --model-dir {{model_dir}} --name {{model_name}} --port {{port}} "
        "--rest-port {rest_port}"
    )
    config = CanaryConfig(
        server_command=command,
        server_ready="http://127.0.0.1:{rest_port}/v1/models/{model_name}/metadata",
        requests=8,
        batch_size=4,
        p99_limit_ms=None,
    )
    result = probe(candidate("none"), examples_uri, config)
    assert (result.failures, result.server, result.startup_seconds) == ((), command, None)
    assert (result.places, result.latency.requests, len(result.edge_latency_ms)) == (10, 8, 12)
    assert result.load_seconds > 0
