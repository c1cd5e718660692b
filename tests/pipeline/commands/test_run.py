import os
import signal
import threading

import pytest

from pipeline.commands import run
from pipeline.exit_codes import ExitCode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_stops_and_is_ended_where_it_does_not(monkeypatch, number):
    ends = []
    monkeypatch.setattr(threading, "Timer", lambda *given, **more: ends.append((given, more)) or threading.Thread())
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), run._interruptible():
        signal.raise_signal(number)
    [((seconds, end), more)] = ends
    assert (seconds, end, more["args"]) == (run._GRACE_S, os._exit, (ExitCode.INTERRUPTED,))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
