import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.load.histogram import RELATIVE_ERROR, LatencyHistogram

PERCENTS = (0, 1, 50, 90, 99, 99.9, 100)


def assert_as_numpy(values: np.ndarray, histogram: LatencyHistogram) -> None:
    for percent in PERCENTS:
        # The rank that 99.9 % falls on, just below or just above, is a matter of rounding.
        around = np.clip([percent - 1e-6, percent + 1e-6], 0, 100)
        low, high = np.percentile(values, around, method="inverted_cdf")
        error = 1.001 * RELATIVE_ERROR
        assert (
            min(low * (1 - error), low - 1e-6) <= histogram.percentile(percent) <= max(high * (1 + error), high + 1e-6)
        )


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=300))
def test_percentiles_are_within_the_stated_error_of_numpys(values):
    histogram = LatencyHistogram(values)
    assert_as_numpy(np.array(values), histogram)
    assert (histogram.count, histogram.max) == (len(values), max(values))
    assert math.isclose(histogram.mean, float(np.mean(values)), rel_tol=1e-9, abs_tol=1e-12)


def test_percentiles_of_long_tails_are_within_the_stated_error():
    values = np.random.default_rng(3).lognormal(mean=-5, sigma=2, size=20_000)
    assert_as_numpy(values, LatencyHistogram(values))


def test_merged_histograms_are_one_of_all_values():
    first, second = LatencyHistogram([0.001, 0.5]), LatencyHistogram([0.02] * 7)
    first.merge(second)
    both = LatencyHistogram([0.001, 0.5, *[0.02] * 7])
    assert [first.percentile(percent) for percent in PERCENTS] == [both.percentile(percent) for percent in PERCENTS]
    assert (first.count, first.max, first.mean) == (both.count, both.max, pytest.approx(both.mean))


def test_the_range_of_values_bounds_memory_not_their_number():
    histogram = LatencyHistogram(np.random.default_rng(1).uniform(1e-6, 100, 50_000))
    assert len(histogram._buckets) < 2000


def test_nothing_has_no_percentile():
    assert math.isnan(LatencyHistogram().percentile(99))
    assert math.isnan(LatencyHistogram().mean)


@pytest.mark.parametrize("percent", [-1, 100.1])
def test_a_percentile_that_is_none_is_refused(percent):
    with pytest.raises(ValueError, match="within 0 and 100"):
        LatencyHistogram([1]).percentile(percent)
