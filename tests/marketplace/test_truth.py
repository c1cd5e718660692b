import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketplace.catalog import NONE
from marketplace.simulation import SimulationSummary, World, build_world
from marketplace.taste import Requests
from marketplace.truth import Truth, lasting
from schema.features import EventType
from schema.settings import InputError


@pytest.fixture(scope="module")
def truth(tiny_shop: tuple[Path, SimulationSummary]) -> Truth:
    return Truth.read(tiny_shop[0] / "shop.json")


@pytest.fixture(scope="module")
def searches(tiny_events: pl.DataFrame) -> pl.DataFrame:
    """All searches of the tiny log, in no order."""
    return tiny_events.filter(pl.col("event_type") == EventType.SEARCH).sample(fraction=1.0, shuffle=True, seed=0)


def test_searches_are_made_again_as_the_log_has_them(truth: Truth, searches: pl.DataFrame) -> None:
    found = truth.searches(searches["request_id"].to_list())
    users = truth.chooser.searchers.rows["user_id"].to_list()
    assert [users[user] for user in found.user] == searches["user_id"].to_list()
    assert len(set(searches["time"].dt.epoch("ms").to_numpy() - found.time)) == 1
    assert len(set(found.intent)) > 300


def test_the_truth_is_that_of_the_simulated_world(truth: Truth) -> None:
    world = build_world(truth.settings)
    assert truth.chooser.catalog.rows.equals(world.catalog.rows)
    for name in ("quality", "brand_style", "facets"):
        assert np.array_equal(getattr(truth.chooser.catalog, name), getattr(world.catalog, name)), name
    assert np.array_equal(truth.chooser.intents.weight, world.intents.weight)
    assert np.array_equal(truth.chooser.searchers.style, world.searchers.style)


def test_a_query_means_what_its_users_have_in_mind(truth: Truth, searches: pl.DataFrame) -> None:
    queries = searches["query"].to_list()
    asked = truth.searches(searches["request_id"].to_list())
    meanings = truth.meanings(queries)
    own, expected, several = [], [], 0
    for query, user, intent in zip(queries, asked.user, asked.intent, strict=True):
        needs, likely = meanings.likely(query, user)
        assert likely.sum() == pytest.approx(1)
        own.append(likely[needs == intent].sum())
        expected.append((likely**2).sum())
        several += len(needs) > 1
    assert min(own) > 0
    assert several > 100
    # Of chances that are right, the mean of the one that came true is the mean of their squares' sum.
    assert np.mean(own) == pytest.approx(np.mean(expected), abs=0.02)
    assert meanings.likely("no such query", 0)[1].size == 0


def test_items_shared_by_all_requests_are_scored_as_repeated_ones(world: World) -> None:
    rng = np.random.default_rng(3)
    user = rng.integers(0, 600, 20)
    requests = Requests(
        user=user,
        intent=rng.integers(0, world.intents.count, 20),
        focus_brand=world.searchers.brands[user, 0],
        focus_facet=np.full(20, NONE),
        price_shift=rng.normal(size=20).astype(np.float32),
    )
    items = rng.integers(0, world.catalog.items, (1, 50))
    for asked in (requests, lasting(requests)):
        shared = world.chooser.utility(asked, items)
        repeated = world.chooser.utility(asked, np.repeat(items, 20, axis=0))
        assert all(np.array_equal(*pair) for pair in zip(shared, repeated, strict=True))
    assert not np.array_equal(world.chooser.utility(requests, items)[0], shared[0])


@pytest.mark.parametrize(
    ("request_id", "message"),
    [("q1", "is of no simulated log"), ("r450000000", "is of no day"), ("r9999999", "was not simulated")],
)
def test_a_request_of_another_log_is_refused(truth: Truth, request_id: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        truth.searches(["r0", request_id])


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"settings": {"seeds": 3}})])
def test_a_file_that_describes_no_shop_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "shop.json").write_text(text)
    with pytest.raises(InputError, match=r"shop\.json"):
        Truth.read(tmp_path / "shop.json")
