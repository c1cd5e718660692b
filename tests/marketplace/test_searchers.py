import numpy as np
import pytest

from marketplace.catalog import NONE
from marketplace.searchers import DAY_MS, PURCHASING_POWER, Searches, searches_of_day
from marketplace.simulation import World


def searches(world: World, day: int, expected: float = 4_000) -> Searches:
    rng = np.random.default_rng(day)
    return searches_of_day(world.settings.searchers, world.searchers, world.intents, day, expected, 0.35, rng)


def test_purchasing_power_shows_in_the_price_taste(world: World) -> None:
    power = world.searchers.rows["purchasing_power"].to_list()
    means = [
        np.mean([taste for told, taste in zip(power, world.searchers.price_taste, strict=True) if told == name])
        for name in PURCHASING_POWER
    ]
    assert means == sorted(means)
    assert means[-1] - means[0] > 1


def test_gender_shows_in_the_favorite_leaves(world: World) -> None:
    gender = np.array(world.searchers.rows["gender"].fill_null("").to_list())
    audience = np.array([name or "" for name in world.catalog.audience])[world.searchers.leaves]
    women_of_women = (audience[gender == "female"] == "women").mean()
    women_of_men = (audience[gender == "male"] == "women").mean()
    assert women_of_women > 3 * women_of_men


def test_some_profile_values_are_missing(world: World) -> None:
    rows = world.searchers.rows.drop("user_id")
    missing = np.mean([rows[column].null_count() / len(rows) for column in rows.columns])
    assert missing == pytest.approx(world.settings.searchers.missing_profile_share, abs=0.02)


def test_loyal_brands_suit_the_style_and_tastes_may_be_liked(world: World) -> None:
    searchers, catalog = world.searchers, world.catalog
    chosen = np.einsum("ud,ubd->ub", searchers.style, catalog.brand_style[searchers.brands]).mean()
    anyone = (searchers.style @ catalog.brand_style.T).mean()
    assert chosen > anyone + 0.5
    tastes = searchers.tastes[searchers.tastes != NONE]
    assert catalog.facet_is_taste[tastes].all()


def test_a_days_searches_are_ordered_and_as_many_as_expected(world: World) -> None:
    found = searches(world, 3)
    assert len(found.user) == pytest.approx(4_000, rel=0.1)
    assert (np.diff(found.time) >= 0).all()
    assert found.time[0] >= 3 * DAY_MS
    # A session that starts before midnight may go on after it.
    assert (found.time < 4 * DAY_MS).mean() > 0.98


def test_nobody_searches_before_the_first_day(world: World) -> None:
    for day in (0, 20, 44):
        assert (world.searchers.first_day[searches(world, day).user] <= day).all()
    assert (world.searchers.first_day > 0).mean() == pytest.approx(0.2, abs=0.06)


def test_most_sessions_are_about_a_favorite_leaf(world: World) -> None:
    found = searches(world, 5)
    leaf = world.intents.leaf[found.intent]
    favorite = (world.searchers.leaves[found.user] == leaf[:, None]).any(axis=1)
    assert favorite.mean() > 0.6


def test_a_session_mostly_rewords_one_need(world: World) -> None:
    found = searches(world, 6)
    same_user = found.user[:, None] == found.user[None, :]
    close = np.abs(found.time[:, None] - found.time[None, :]) < 10 * 60_000
    pairs = np.argwhere(np.triu(same_user & close, 1))
    same = (found.intent[pairs[:, 0]] == found.intent[pairs[:, 1]]).mean()
    assert len(pairs) > 1_000
    assert 0.25 < same < 0.8
