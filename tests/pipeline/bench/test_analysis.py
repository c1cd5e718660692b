import numpy as np
import pytest

from evaluation.bootstrap import QueryBootstrap
from pipeline.bench import analysis
from pipeline.bench.analysis import SystemValues
from pipeline.bench.variants import Target

KEY = ("recall@100", "all")
QUERIES = [f"q{n // 3}" for n in range(600)]


@pytest.fixture(scope="module")
def bootstrap():
    return QueryBootstrap(QUERIES, 400, 0.95, 1)


def system(mean, seeds=(17, 18, 19), seed=0):
    rng = np.random.default_rng(seed)
    return SystemValues(seeds, {KEY: np.clip(mean + rng.normal(0, 0.1, (len(seeds), len(QUERIES))), 0, 1)})


VALUES = {"good": system(0.6), "fair": system(0.5, seed=1), "untrained": system(0.4, seeds=(None,), seed=2)}


def test_a_comparison_is_paired_over_requests_and_shown_by_seed(bootstrap):
    found = analysis.compare("good", "fair", KEY, VALUES, bootstrap)
    mine, theirs = VALUES["good"].by_key[KEY], VALUES["fair"].by_key[KEY]
    assert found.difference.value == pytest.approx(mine.mean() - theirs.mean())
    assert found.relative.value == pytest.approx(mine.mean() / theirs.mean() - 1)
    assert found.relative.low < found.relative.value < found.relative.high
    assert found.by_seed == pytest.approx(mine.mean(axis=1) - theirs.mean(axis=1))


def test_what_is_not_trained_is_compared_with_every_training(bootstrap):
    found = analysis.compare("good", "untrained", KEY, VALUES, bootstrap)
    assert found.by_seed == pytest.approx(
        VALUES["good"].by_key[KEY].mean(axis=1) - VALUES["untrained"].by_key[KEY].mean()
    )
    assert analysis.compare("good", "absent", KEY, VALUES, bootstrap) is None


def test_trainings_are_compared_by_the_seeds_in_common(bootstrap):
    late = SystemValues((18, 20), {KEY: VALUES["fair"].by_key[KEY][1:]})
    values = VALUES | {"late": late, "other": SystemValues((21,), {KEY: VALUES["fair"].by_key[KEY][:1]})}
    found = analysis.compare("good", "late", KEY, values, bootstrap)
    gap = VALUES["good"].by_key[KEY][1].mean() - late.by_key[KEY][0].mean()
    assert (found.difference.value, found.by_seed) == (pytest.approx(gap), pytest.approx((gap,)))
    assert analysis.compare("good", "other", KEY, values, bootstrap) is None


@pytest.mark.parametrize(
    ("by", "state"),
    [(0.0, "reached"), (0.195, "reached, not certain"), (0.205, "missed, not certain"), (0.5, "missed")],
)
def test_a_target_is_certain_if_its_interval_is_on_one_side(bootstrap, by, state):
    # Exactly 20 % better in the mean, by much more or not at all on single queries.
    fair = np.full((1, len(QUERIES)), 0.5)
    better = np.where(np.arange(len(QUERIES)) // 3 % 5 == 0, 1.0, 0.5)[None]
    target = Target(about="t", system=("better",), over=("fair",), by=by)
    values = {"better": SystemValues((1,), {KEY: better}), "fair": SystemValues((1,), {KEY: fair})}
    assert analysis.judge(target, values, bootstrap).state == state


def test_the_best_system_is_taken_and_none_if_one_is_missing(bootstrap):
    target = Target(about="t", system=("fair", "good"), over=("untrained",))
    assert analysis.judge(target, VALUES, bootstrap).comparison.system == "good"
    target = Target(about="t", system=("good",), over=("fair", "absent"))
    assert analysis.judge(target, VALUES, bootstrap).state == "not measured"
