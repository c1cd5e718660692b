import numpy as np
import pytest

from marketplace.catalog import NONE
from marketplace.choice import Clicks
from marketplace.page import build_pages
from marketplace.searchers import searches_of_day
from marketplace.simulation import World
from marketplace.taste import Requests

DAY = 20


def acted(
    world: World, requests: Requests, queries: np.ndarray, seed: int, remembered: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, Clicks]:
    rng = np.random.default_rng(seed)
    pages = build_pages(
        world.settings, world.catalog, world.searchers, world.shelves, world.cache, requests, queries, DAY, rng
    )
    seen = world.chooser.looked_at(pages, rng)
    if remembered is None:
        remembered = np.full((len(pages), 1), NONE)
    return pages, seen, world.chooser.act(requests, pages, seen, remembered, DAY, rng)


@pytest.fixture(scope="module")
def day(world: World) -> tuple[Requests, np.ndarray, np.ndarray, Clicks]:
    rng = np.random.default_rng(3)
    found = searches_of_day(world.settings.searchers, world.searchers, world.intents, DAY, 6_000, 0.35, rng)
    requests = Requests.of(found, slice(None))
    queries = world.pool.draw(requests.intent, 0.1, rng)
    return requests, *acted(world, requests, queries, 4)


def test_people_look_from_the_top_and_stop_with_the_set_chance(world: World) -> None:
    seen = world.chooser.looked_at(np.zeros((40_000, 12), int), np.random.default_rng(0))
    assert (np.diff(seen.astype(int), axis=1) <= 0).all()
    assert seen[:, 0].all()
    further = world.settings.behavior.look_further
    assert seen.mean(axis=0) == pytest.approx(further ** np.arange(12), abs=0.01)


def test_clicks_are_on_seen_slots_or_off_the_page(day) -> None:
    _, pages, seen, clicks = day
    on = clicks.position > 0
    slot = clicks.position[on] - 1
    assert seen[clicks.request[on], slot].all()
    assert (pages[clicks.request[on], slot] == clicks.item[on]).all()
    pairs = set(zip(clicks.request.tolist(), clicks.item.tolist(), strict=True))
    assert len(pairs) == len(clicks.item)


def test_upper_slots_get_more_clicks(day) -> None:
    counts = np.bincount(day[3].position, minlength=13)[1:]
    assert counts[0] > counts[3] > counts[6] > counts[11] > 0


def test_nothing_is_clicked_before_it_is_on_sale(world: World, day) -> None:
    assert (world.catalog.available_day[day[3].item] <= DAY).all()


def test_relevant_and_liked_items_are_preferred(world: World, day) -> None:
    requests, pages, seen, clicks = day
    utility, met = world.chooser.utility(requests, np.maximum(pages, 0))
    on = clicks.position > 0
    chosen = (clicks.request[on], clicks.position[on] - 1)
    assert utility[chosen].mean() > utility[seen].mean() + 0.8
    assert met[chosen].mean() > met[seen].mean() + 0.1


def test_orders_are_carted_and_rates_are_sensible(day) -> None:
    requests, _, _, clicks = day
    assert (clicks.carted | ~clicks.ordered).all()
    assert 0.45 < len(np.unique(clicks.request)) / len(requests.user) < 0.75
    assert 0.1 < clicks.carted.mean() < 0.4
    assert clicks.ordered.sum() / clicks.carted.sum() == pytest.approx(0.4, abs=0.05)


def test_the_disappointed_browse_on_to_what_they_wanted(world: World, day) -> None:
    _, pages, seen, clicks = day
    requests = day[0]
    _, met = world.chooser.utility(requests, np.maximum(pages, 0))
    disappointed = np.where(seen, met, 0).max(axis=1) < 0.5
    off = np.zeros(len(pages), bool)
    off[clicks.request[clicks.position == 0]] = True
    on = np.zeros(len(pages), bool)
    on[clicks.request[clicks.position > 0]] = True
    assert (off & disappointed & ~on).sum() / (disappointed & ~on).sum() > 0.2
    outside = clicks.position == 0
    wanted = world.intents.leaf[requests.intent[clicks.request[outside]]]
    assert (world.catalog.leaf[clicks.item[outside]] == wanted).mean() > 0.8


def test_an_ambiguous_word_gets_the_leaf_that_its_user_means(world: World) -> None:
    """Who types "apple" clicks fruit or phones, as his favorite leaves have it: the query alone cannot tell."""
    pool, intents, paths = world.pool, world.intents, world.catalog.paths
    wordings = np.flatnonzero(pool.wording_text == pool.texts.index("apple"))
    meant = np.searchsorted(pool.intent_start, wordings, side="right") - 1
    fruit = [intent for intent in meant if paths[intents.leaf[intent]][0] == "Grocery"]
    phones = [intent for intent in meant if paths[intents.leaf[intent]][0] == "Electronics"]
    user = np.arange(600) % len(world.searchers.region)
    wants_fruit = np.arange(600) % 2 == 0
    rng = np.random.default_rng(0)
    intent = np.where(wants_fruit, rng.choice(fruit, 600), rng.choice(phones, 600))
    none = np.full(600, NONE)
    requests = Requests(user, intent, none, none, np.zeros(600, np.float32))
    query = pool.texts.index("apple") * (pool.spellings + 1)
    _, _, clicks = acted(world, requests, np.full(600, query), 5)
    top = np.array([paths[leaf][0] for leaf in world.catalog.leaf[clicks.item]])
    by_fruit = wants_fruit[clicks.request]
    assert by_fruit.sum() > 50
    assert (~by_fruit).sum() > 50
    assert (top[by_fruit] == "Grocery").mean() > 0.6
    assert (top[~by_fruit] == "Grocery").mean() < 0.2


def test_the_same_need_of_two_users_gets_their_own_brands(world: World) -> None:
    intents, searchers = world.intents, world.searchers
    leaf = int(np.bincount(world.catalog.leaf).argmax())
    plain = np.flatnonzero(
        (intents.leaf == leaf) & (intents.brand == NONE) & (intents.facets == NONE).all(axis=1) & ~intents.broad
    )[0]
    user = np.arange(3_000) % len(searchers.region)
    none = np.full(3_000, NONE)
    requests = Requests(user, np.full(3_000, plain), none, none, np.zeros(3_000, np.float32))
    query = world.pool.draw(requests.intent[:1], 0.0, np.random.default_rng(0)).repeat(3_000)
    _, _, clicks = acted(world, requests, query, 6)
    brand = world.catalog.brand[clicks.item]
    clicker = user[clicks.request]
    own = (searchers.brands[clicker] == brand[:, None]).any(axis=1).mean()
    others = (searchers.brands[np.roll(clicker, 101)] == brand[:, None]).any(axis=1).mean()
    assert own > 2 * others


def test_people_come_back_to_what_they_clicked_and_still_want(world: World, day) -> None:
    requests = day[0]
    rng = np.random.default_rng(1)
    remembered = world.shelves.of_leaf(world.intents.leaf[requests.intent], 3, rng)
    remembered[::2] = NONE
    query = world.pool.draw(requests.intent, 0.0, rng)
    _, _, clicks = acted(world, requests, query, 7, remembered)
    again = (clicks.item[:, None] == remembered[clicks.request]).any(axis=1) & (clicks.position == 0)
    assert again.sum() > 50
    assert (clicks.request[again] % 2 == 1).all()
