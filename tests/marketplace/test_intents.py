import numpy as np
import pytest

from marketplace.simulation import World
from marketplace.taste import relevance


def test_every_need_is_met_by_some_item(world: World) -> None:
    intents, catalog = world.intents, world.catalog
    everything = np.arange(catalog.items)[None, :]
    for intent in range(0, intents.count, 61):
        wish = intents.price_wish[intent]
        met = relevance(catalog, intents, world.chooser.branch, np.array([intent]), everything)
        assert met.max() > (0.99 if np.isnan(wish) else 0.2), intent


def test_needs_follow_a_zipf_law_with_a_long_tail(world: World) -> None:
    weight = np.sort(world.intents.weight)[::-1]
    rank = np.arange(1, len(weight) + 1)
    slope = np.polyfit(np.log(rank), np.log(weight), 1)[0]
    assert slope == pytest.approx(-world.settings.queries.zipf_exponent, abs=1e-6)
    assert weight.sum() == pytest.approx(1)
    assert weight[len(weight) // 2 :].sum() > 0.05


def test_typed_queries_have_a_head_and_a_tail(world: World) -> None:
    rng = np.random.default_rng(0)
    intent = rng.choice(world.intents.count, 20_000, p=world.intents.weight)
    queries = world.pool.draw(intent, world.settings.queries.misspelling_share, rng)
    counts = np.sort(np.unique(queries, return_counts=True)[1])[::-1]
    head = counts[: len(counts) // 100].sum() / counts.sum()
    once = (counts == 1).sum() / len(counts)
    rank = np.arange(1, len(counts) + 1)
    slope = np.polyfit(np.log(rank[5:500]), np.log(counts[5:500]), 1)[0]
    assert head > 0.15
    assert once > 0.4
    assert -1.3 < slope < -0.5


def test_draws_within_a_leaf_stay_in_it_and_follow_the_weights(world: World) -> None:
    intents = world.intents
    leaf = int(np.argmax(np.diff(intents.leaf_start)))
    drawn = intents.draw_within(np.full(30_000, leaf), np.random.default_rng(0))
    assert (intents.leaf[drawn] == leaf).all()
    own = np.flatnonzero(intents.leaf == leaf)
    expected = intents.weight[own] / intents.weight[own].sum()
    measured = np.bincount(drawn - own[0], minlength=len(own)) / len(drawn)
    assert np.abs(measured - expected).max() < 0.015


def test_every_leaf_can_be_asked_for(world: World) -> None:
    assert (np.diff(world.intents.leaf_start) > 0).all()
