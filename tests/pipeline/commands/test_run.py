import os
import signal
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands import run
from pipeline.exit_codes import ExitCode
from pipeline.runs import metadata

CASES = Path(__file__).parents[3] / ".." / "shared" / "cases"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_told_to_stop_stops_or_is_ended(monkeypatch, number):
    ends = []
    monkeypatch.setattr(threading, "Timer", lambda *given, **more: ends.append((given, more)) or threading.Thread())
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), run._interruptible():
        signal.raise_signal(number)
    [((seconds, end), more)] = ends
    assert (seconds, end, more["args"]) == (run._GRACE_S, os._exit, (ExitCode.INTERRUPTED,))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_log_without_a_click_is_refused_after_ingestion(tmp_path):
    config = CASES / "no_clicks_found_late" / "shop.yaml"
    if not config.is_file():
        pytest.skip("the case is not at ../shared/cases/no_clicks_found_late")
    result = CliRunner().invoke(main, ["run", "--config", str(config), "--set", f"root={tmp_path}"])
    assert result.exit_code == ExitCode.BAD_DATA
    assert "Error: No search of the splits `train` and `eval` led to a click, a cart or an order" in result.stderr
    (newest,) = metadata.read_runs(str(tmp_path / "metadata.sqlite"), "x")
    assert [(step.name, step.state) for step in newest.steps] == [("SoukExampleGen", "failed")]
