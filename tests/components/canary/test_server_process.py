"""Starting and loading, by programs that take as long as a test says; the real program is `test_probe`'s."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from components.canary import server_process
from components.canary.config import CanaryConfig
from components.canary.server_process import LoadError, ServerProcess, serve_candidate
from tests.components.canary import slow_program


def serving(folder: Path) -> AbstractContextManager[ServerProcess]:
    return serve_candidate([folder], folder / "log", CanaryConfig(load_timeout_s=0.5))


@pytest.fixture
def states(monkeypatch):
    """Makes one program after another tell these states of the candidate; the list is what was not started."""

    def use(*states: str) -> list[str]:
        left = list(states)
        monkeypatch.setattr(
            server_process,
            "_command",
            lambda folder, shards, ready: [sys.executable, slow_program.__file__, str(ready), left.pop(0)],
        )
        return left

    return use


def test_a_load_that_takes_too_long_once_is_tried_again(states, tmp_path):
    left = states("LOADING", "AVAILABLE")
    with serving(tmp_path) as server:
        assert server.exit_code is None
        assert server.startup_seconds <= server.load_seconds
        assert server.slowdown >= 1.0
    assert left == []
    assert server.exit_code is not None


def test_a_load_that_takes_too_long_twice_is_refused(states, tmp_path):
    left = states("LOADING", "LOADING", "AVAILABLE")
    with (
        pytest.raises(LoadError, match="in 2 attempts; allowed"),
        serving(tmp_path),
    ):
        pass
    assert left == ["AVAILABLE"]


def test_a_broken_candidate_is_refused_without_another_try(states, tmp_path):
    left = states("END", "AVAILABLE")
    with pytest.raises(LoadError, match="cannot load"), serving(tmp_path):
        pass
    assert left == ["AVAILABLE"]


def test_what_the_block_raises_is_no_reason_to_try_again(states, tmp_path):
    left = states("AVAILABLE", "AVAILABLE")
    with pytest.raises(LoadError, match="of the block"), serving(tmp_path):
        raise LoadError("of the block")
    assert left == ["AVAILABLE"]
