import math

import numpy as np
import pytest

from marketplace.catalog import NONE
from marketplace.simulation import World
from marketplace.taste import Requests, liking, relevance


def some_requests(world: World, count: int, seed: int) -> tuple[Requests, np.ndarray]:
    rng = np.random.default_rng(seed)
    user = rng.integers(0, len(world.searchers.region), count)
    requests = Requests(
        user=user,
        intent=rng.integers(0, world.intents.count, count),
        focus_brand=np.where(rng.random(count) < 0.5, world.searchers.brands[user, 0], NONE),
        focus_facet=np.where(rng.random(count) < 0.5, world.searchers.tastes[user, 0], NONE),
        price_shift=rng.normal(size=count).astype(np.float32),
    )
    # Half of the items from the wanted leaf, so that matches occur.
    wanted = world.shelves.of_leaf(world.intents.leaf[requests.intent], 6, rng)
    return requests, np.concatenate([wanted, rng.integers(0, world.catalog.items, (count, 6))], axis=1)


def plain_relevance(world: World, intent: int, item: int) -> float:
    catalog, intents = world.catalog, world.intents
    leaf, wanted = catalog.leaf[item], intents.leaf[intent]
    if leaf == wanted:
        met = 1.0
    elif catalog.paths[leaf][:-1] == catalog.paths[wanted][:-1]:
        met = 0.6 if intents.broad[intent] else 0.25
    else:
        met = 0.04
    if intents.brand[intent] not in (NONE, catalog.brand[item]):
        met *= 0.2
    for facet in intents.facets[intent]:
        if facet != NONE and facet not in catalog.facets[item]:
            met *= 0.4
    wish, level = intents.price_wish[intent], catalog.price_level[item]
    return met if math.isnan(wish) else met * math.exp(-0.5 * (level - wish) ** 2)


def plain_liking(world: World, requests: Requests, row: int, item: int) -> float:
    catalog, searchers, settings = world.catalog, world.searchers, world.settings.behavior
    user, brand = requests.user[row], catalog.brand[item]
    liked = settings.style_weight * float(searchers.style[user] @ catalog.brand_style[brand])
    liked += settings.loyalty_weight * (brand in searchers.brands[user])
    liked += settings.session_weight * (brand == requests.focus_brand[row])
    own = [facet for facet in catalog.facets[item] if facet != NONE and catalog.facet_is_taste[facet]][:4]
    liked += settings.taste_weight * sum(taste in own for taste in searchers.tastes[user] if taste != NONE)
    liked += settings.session_weight * (requests.focus_facet[row] in own)
    distance = catalog.price_level[item] - searchers.price_taste[user] - requests.price_shift[row]
    liked -= settings.price_weight * min(distance**2, 6.0)
    liked += settings.region_weight * (catalog.shop_region[item] == searchers.region[user])
    return liked + settings.quality_weight * float(catalog.quality[item])


def test_relevance_is_what_its_definition_says(world: World) -> None:
    requests, items = some_requests(world, 60, 1)
    found = relevance(world.catalog, world.intents, world.chooser.branch, requests.intent, items)
    expected = [
        [plain_relevance(world, intent, item) for item in row]
        for intent, row in zip(requests.intent, items, strict=True)
    ]
    assert found == pytest.approx(np.array(expected), rel=1e-4)


def test_liking_is_what_its_definition_says(world: World) -> None:
    requests, items = some_requests(world, 60, 2)
    found = liking(world.catalog, world.searchers, world.settings.behavior, requests, items)
    expected = [[plain_liking(world, requests, row, item) for item in items[row]] for row in range(60)]
    assert found == pytest.approx(np.array(expected), abs=1e-4)
