import itertools

import numpy as np

from serving.load.arrivals import poisson


def test_arrivals_are_a_poisson_process_of_the_rate():
    times = np.array(list(poisson(rate=200, seconds=100, seed=5)))
    gaps = np.diff(times)
    # Deviations of a Poisson count of 20,000 and of 20,000 exponential gaps are far below these bounds.
    assert abs(len(times) - 20_000) < 1000
    assert abs(gaps.mean() * 200 - 1) < 0.05
    assert abs(gaps.std() * 200 - 1) < 0.05
    assert abs(np.mean(gaps > 1 / 200) - np.exp(-1)) < 0.02
    assert times[0] > 0
    assert times[-1] < 100
    assert (gaps > 0).all()


def test_a_seed_fixes_the_times():
    first = list(poisson(50, 2, seed=1))
    assert first == list(poisson(50, 2, seed=1))
    assert first != list(poisson(50, 2, seed=2))


def test_a_longer_run_begins_as_the_shorter_one():
    short = list(poisson(50, 2, seed=1))
    assert list(itertools.islice(poisson(50, float("inf"), seed=1), len(short))) == short
