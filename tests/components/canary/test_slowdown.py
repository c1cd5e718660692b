import time

import pytest

from components.canary import slowdown


@pytest.mark.parametrize(
    ("wall_s", "processor_s", "ratio"),
    [(10.0, 2.0, 5.0), (2.57, 1.0, 2.6), (2.0, 2.0, 1.0), (2.09, 2.0, 1.0), (2.0, 3.0, 1.0), (2.0, 0.0, 1.0)],
)
def test_slowdown_is_time_over_processor_time(wall_s, processor_s, ratio):
    assert slowdown.ratio(wall_s, processor_s) == ratio


def test_time_given_to_others_counts_as_slowdown(monkeypatch):
    """The processor is given away in the midst of the computation, for much longer than that takes."""
    thread_time, given_away = time.thread_time, []

    def interrupted() -> float:
        if len(given_away) < 2:
            given_away.append(time.sleep(0.25))
        return thread_time()

    monkeypatch.setattr(slowdown.time, "thread_time", interrupted)
    assert slowdown.measure() > 5


def test_a_single_pause_does_not_stretch_a_limit():
    assert slowdown.typical([1.0] * 8 + [300.0]) == 1.0
    assert slowdown.typical([3.0] * 8 + [1.0]) == 3.0
