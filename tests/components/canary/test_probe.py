"""Candidates in a serving program of their own."""

import os
import signal
import subprocess
import sys

import pytest

from components.canary import server_process, slowdown
from components.canary.config import CanaryConfig
from components.canary.interview import Interview
from components.canary.probe import deadline_s, indexed_items, probe
from components.canary.server_process import ServerProcess, StartError

CONFIG = CanaryConfig(requests=8, batch_size=4, p99_limit_ms=None)


@pytest.fixture
def started(monkeypatch) -> list[subprocess.Popen]:
    """The processes that a test starts."""
    processes: list[subprocess.Popen] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: processes.append(popen(*a, **k)) or processes[-1])
    return processes


def test_a_good_candidate_is_blessed_and_its_server_shuts_down(examples_uri, candidate, started):
    result = probe(candidate("none"), examples_uri, CONFIG)
    assert result.failures == ()
    assert result.blessed
    assert (result.places, result.latency.requests) == (10, 8)
    assert 0 < result.startup_seconds < result.load_seconds
    assert (result.attempts, result.allowed_p99_ms) == (1, None)
    assert result.slowdown >= 1
    assert 0 < result.latency.p50 <= result.latency.p99 <= result.latency.max
    assert len(result.edge_latency_ms) == 12
    assert result.server_log == ""
    assert [process.returncode for process in started] == [0]


def test_a_candidate_that_cannot_be_loaded_is_not_blessed(examples_uri, tmp_path, started):
    (tmp_path / "saved_model.pb").write_bytes(b"\x12\xff\xff")
    result = probe(tmp_path, examples_uri, CONFIG)
    assert result.failures[0].startswith("the serving program cannot load the candidate: DecodeError")
    assert (result.load_seconds, result.latency) == (None, None)
    assert len(started) == 1
    assert "version 1 cannot be served" in result.server_log


def test_a_candidate_that_takes_the_server_down_is_not_blessed(examples_uri, candidate, monkeypatch, started):
    """A model that crashes its process is one that is killed once it has been asked."""
    ask_signatures = Interview.ask_signatures

    def ask_and_crash(self, client):
        ask_signatures(self, client)
        started[0].send_signal(signal.SIGSEGV)
        started[0].wait()

    monkeypatch.setattr(Interview, "ask_signatures", ask_and_crash)
    result = probe(candidate("none"), examples_uri, CONFIG)
    assert result.failures == (f"the serving program ended with code {-signal.SIGSEGV} while it was asked",)


def test_a_candidate_that_takes_too_long_to_load_is_not_blessed(examples_uri, candidate, started):
    result = probe(candidate("none"), examples_uri, CONFIG.model_copy(update={"load_timeout_s": 1e-9}))
    (failure,) = result.failures
    assert failure.startswith("the serving program did not load the candidate in 2 attempts; allowed ")
    assert "1e-09 s" in failure
    assert (result.startup_seconds, result.load_seconds) == (None, None)
    assert [process.returncode for process in started] == [0, 0]


def test_a_program_that_starts_too_late_refuses_no_candidate(examples_uri, candidate, started):
    with pytest.raises(StartError, match=r"did not open its ports within 0\.001 s.*is not refused.*process_timeout_s"):
        probe(candidate("none"), examples_uri, CONFIG.model_copy(update={"process_timeout_s": 0.001}))
    assert [process.poll() is not None for process in started] == [True]


def test_a_program_that_ends_at_once_refuses_no_candidate(examples_uri, candidate, monkeypatch):
    monkeypatch.setattr(server_process, "_command", lambda *_: [sys.executable, "-c", "raise SystemExit('no library')"])
    with pytest.raises(StartError, match=r"ended with code 1 before .* is not refused; .*: no library"):
        probe(candidate("none"), examples_uri, CONFIG)


@pytest.mark.parametrize("missing", ["eval", "catalog"])
def test_without_requests_or_catalog_nothing_is_blessed(examples_uri, candidate, tmp_path, missing):
    for split in {"eval", "catalog"} - {missing}:
        os.symlink(f"{examples_uri}/Split-{split}", tmp_path / f"Split-{split}")
    result = probe(candidate("none"), str(tmp_path), CONFIG)
    assert result.failures == (f"the {missing} split of {tmp_path} is empty: nothing to ask with",)


@pytest.mark.parametrize(
    ("card", "count"),
    [
        ('{"indexed_items": 90}', 90),
        ('{"indexed_items": 0}', None),
        ("{}", None),
        ("[]", None),
        ("{", None),
        (None, None),
    ],
)
def test_the_size_of_the_index_is_read_from_the_servables_card(tmp_path, card, count):
    if card is not None:
        (tmp_path / "assets.extra").mkdir()
        (tmp_path / "assets.extra" / "souk.json").write_text(card)
    assert indexed_items(tmp_path) == count


def test_other_work_on_the_machine_gives_requests_more_time(monkeypatch):
    config = CanaryConfig(request_timeout_s=2.0)
    for before, now, allowed in ((1.0, 1.0, 2.0), (3.0, 1.5, 6.0), (1.0, 4.0, 8.0)):
        monkeypatch.setattr(slowdown, "measure", lambda now=now: now)
        assert deadline_s(config, ServerProcess(None, "", 1.0, 2.0, slowdown=before)) == allowed
