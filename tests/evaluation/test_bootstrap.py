import numpy as np
import pytest

from evaluation.bootstrap import QueryBootstrap

TRUE_MEAN = 0.6


def clustered_sample(rng, queries=60):
    """Requests whose success depends on their query: a Beta(3, 2) chance per query, mean 0.6."""
    sizes = rng.integers(1, 12, queries)
    chances = rng.beta(3, 2, queries)
    names = np.repeat([f"q{n}" for n in range(queries)], sizes)
    return names, (rng.random(sizes.sum()) < np.repeat(chances, sizes)).astype(float)


def covered(estimate):
    return estimate.low <= TRUE_MEAN <= estimate.high


def test_intervals_over_queries_not_requests_cover_as_stated():
    rng = np.random.default_rng(5)
    over_queries, over_requests = [], []
    for trial in range(200):
        names, values = clustered_sample(rng)
        over_queries.append(covered(QueryBootstrap(names, 200, 0.9, trial).mean(values)))
        alone = [str(place) for place in range(len(values))]
        over_requests.append(covered(QueryBootstrap(alone, 200, 0.9, trial).mean(values)))
    assert 0.84 <= np.mean(over_queries) <= 0.95
    assert np.mean(over_requests) < np.mean(over_queries) - 0.05


def test_over_distinct_queries_the_interval_is_the_normal_one():
    values = np.random.default_rng(1).random(2000)
    estimate = QueryBootstrap([str(n) for n in range(2000)], 2000, 0.95, 3).mean(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.high - estimate.value == pytest.approx(half, rel=0.1)
    assert estimate.value - estimate.low == pytest.approx(half, rel=0.1)


def test_pairing_makes_a_difference_surer_than_either_system():
    rng = np.random.default_rng(2)
    names, values = clustered_sample(rng, queries=200)
    worse = np.where(rng.random(len(values)) < 0.05, 0.0, values)
    bootstrap = QueryBootstrap(names, 500, 0.95, 1)
    lead, alone = bootstrap.difference(values, worse), bootstrap.mean(values)
    assert lead.low > 0
    assert lead.high - lead.low < 0.5 * (alone.high - alone.low)


def test_equal_systems_differ_by_exactly_zero():
    names, values = clustered_sample(np.random.default_rng(3))
    lead = QueryBootstrap(names, 100, 0.95, 1).difference(values, values.copy())
    assert (lead.value, lead.low, lead.high) == (0.0, 0.0, 0.0)


def test_only_the_same_seed_gives_the_same_interval():
    names, values = clustered_sample(np.random.default_rng(4))
    first, again, other = (QueryBootstrap(names, 200, 0.95, seed).mean(values) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_values_that_are_missing_or_masked_are_left_out():
    bootstrap = QueryBootstrap(["a", "b", "c", "d"], 200, 0.95, 0)
    values = np.array([1.0, np.nan, 0.5, 0.0])
    assert bootstrap.mean(values).value == pytest.approx(0.5)
    assert bootstrap.mean(values, np.array([True, True, True, False])).value == pytest.approx(0.75)
    assert bootstrap.mean(values, np.array([False, True, False, False])) is None
    assert QueryBootstrap([], 100).mean(np.zeros(0)) is None


def test_relative_differences_are_ratios_of_means_over_queries():
    rng = np.random.default_rng(0)
    queries = [f"q{n % 40}" for n in range(400)]
    theirs = rng.random(400)
    bootstrap = QueryBootstrap(queries, 300, 0.95, 2)
    same = bootstrap.relative(theirs * 1.3, theirs)
    assert (same.low, same.value, same.high) == pytest.approx((0.3, 0.3, 0.3))
    assert bootstrap.relative(theirs, np.zeros(400)) is None
