import numpy as np
import pytest

from marketplace.catalog import NONE
from marketplace.page import ResultCache, build_pages, understood_leaf
from marketplace.searchers import searches_of_day
from marketplace.simulation import World
from marketplace.taste import Requests

DAY = 12


@pytest.fixture(scope="module")
def pages(world: World) -> tuple[Requests, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    found = searches_of_day(world.settings.searchers, world.searchers, world.intents, DAY, 2_000, 0.3, rng)
    requests = Requests.of(found, slice(None))
    queries = world.pool.draw(requests.intent, 0.1, rng)
    return requests, queries, build(world, requests, queries, rng)


def build(world: World, requests: Requests, queries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return build_pages(
        world.settings, world.catalog, world.searchers, world.shelves, world.cache, requests, queries, DAY, rng
    )


def test_no_page_shows_an_item_twice_or_before_it_is_on_sale(world: World, pages) -> None:
    for page in pages[2]:
        shown = page[page != NONE]
        assert len(set(shown.tolist())) == len(shown) > 0
        assert (page[: len(shown)] != NONE).all()
        assert (world.catalog.available_day[shown] <= DAY).all()


def test_pages_blend_the_engine_with_other_slots(world: World, pages) -> None:
    _, queries, shown = pages
    matches, _ = world.cache.top(queries)
    organic = np.array([np.isin(page[page != NONE], found).mean() for page, found in zip(shown, matches, strict=True)])
    many = matches[:, 100] != NONE
    few = (matches[:, 0] != NONE) & (matches[:, 8] == NONE)
    assert organic[many].mean() > 0.65
    assert organic[few].mean() < 0.9
    assert (shown[matches[:, 0] == NONE][:, 0] != NONE).all()


def test_some_pages_show_new_arrivals_no_engine_ranks_first(world: World, pages) -> None:
    day = world.catalog.available_day[np.maximum(pages[2], 0)]
    new = (pages[2] != NONE) & (day > DAY - 7) & (day > 0)
    share_of_catalog = ((world.catalog.available_day > DAY - 7) & (world.catalog.available_day <= DAY)).mean()
    assert new.sum() / (pages[2] != NONE).sum() > 1.5 * share_of_catalog


def test_the_same_query_of_two_users_gives_pages_to_their_taste(world: World) -> None:
    intents, searchers = world.intents, world.searchers
    leaf = int(np.bincount(world.catalog.leaf).argmax())
    plain = np.flatnonzero(
        (intents.leaf == leaf) & (intents.brand == NONE) & (intents.facets == NONE).all(axis=1) & ~intents.broad
    )[0]
    users = np.arange(400)
    none = np.full(400, NONE)
    requests = Requests(users, np.full(400, plain), none, none, np.zeros(400, np.float32))
    queries = world.pool.draw(requests.intent[:1], 0.0, np.random.default_rng(0)).repeat(400)
    shown = build(world, requests, queries, np.random.default_rng(1))
    brand = np.where(shown != NONE, world.catalog.brand[shown], NONE - 1)

    def share(loyal: np.ndarray) -> float:
        return (brand[:, :, None] == loyal[:, None, :]).any(axis=2).mean()

    assert share(searchers.brands[users]) > 1.2 * share(searchers.brands[np.roll(users, 37)])


def test_the_understood_leaf_is_the_commonest_of_the_ten_best(world: World) -> None:
    leaf = world.catalog.leaf
    largest = np.bincount(leaf).argmax()
    first, other = np.flatnonzero(leaf == largest)[:3], np.flatnonzero(leaf != largest)[:2]
    row = np.full(30, NONE)
    row[:5] = [other[0], *first, other[1]]
    row[12:] = other[0]
    found = understood_leaf(world.catalog, np.stack([row, np.full(30, NONE)]))
    assert found.tolist() == [largest, NONE]


def test_a_full_cache_answers_the_same_within_its_capacity(world: World) -> None:
    queries = np.arange(0, 4_000, 7)
    wide, narrow = (ResultCache(world.cache.engine, world.pool, 100, capacity) for capacity in (10**9, 500))
    for _ in range(2):
        for found, expected in zip(narrow.top(queries), wide.top(queries), strict=True):
            assert np.array_equal(found, expected)
    assert 0 < sum(len(items) for items, _ in narrow._kept.values()) <= 500
    assert len(wide._kept) == len(queries)
