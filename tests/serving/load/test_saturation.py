import pytest

from schema.settings import InputError
from serving.load.report import OK, Report
from serving.load.saturation import find_saturated_rate


def server(capacity: float, latency: float = 0.01):
    """Measures a queue that serves `capacity` requests a second, in its plain arithmetic."""

    def measure(rate: float) -> Report:
        report = Report(seconds=2.0)
        for number in range(round(rate * 2)):
            at = number / rate
            report.enter(at, OK, max(at, number / capacity) - at + latency)
        return report

    return measure


def test_the_rate_is_found_within_what_the_steps_allow():
    found = find_saturated_rate(server(100), start=10, factor=2, refinements=4)
    # 95 % of the offered rate is the limit, so that a little more than the capacity is held.
    assert 95 <= found.rate <= 106
    assert found.throughput == pytest.approx(100, rel=0.02)
    assert found.found
    assert [step.rate for step in found.steps[:5]] == [10, 20, 40, 80, 160]
    assert "answered in time" in found.steps[4].trouble


def test_a_bound_on_p99_ends_the_search_sooner():
    unbound = find_saturated_rate(server(100), start=90, factor=1.02, refinements=0)
    bound = find_saturated_rate(server(100), start=90, factor=1.02, refinements=0, p99_s=0.05)
    assert bound.rate < unbound.rate
    assert "p99 of" in next(step.trouble for step in bound.steps if step.trouble)


def test_a_first_rate_that_is_too_high_is_lowered():
    found = find_saturated_rate(server(30), start=200, factor=2)
    assert 25 <= found.rate <= 33


def test_a_server_that_holds_no_rate_has_rate_nought():
    found = find_saturated_rate(server(1000, latency=9), start=50, factor=3, p99_s=1)
    assert (found.rate, found.found) == (0, True)
    assert min(step.rate for step in found.steps) < 1


def test_the_highest_rate_ends_the_search():
    told = []
    found = find_saturated_rate(server(1e6), start=10, factor=3, most=50, told=told.append)
    assert (found.rate, found.found) == (50, False)
    assert tuple(told) == found.steps


@pytest.mark.parametrize("wrong", [{"start": 0}, {"start": 10, "factor": 1}, {"start": 10, "most": 5}])
def test_rates_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=r"got"):
        find_saturated_rate(server(1), **wrong)
