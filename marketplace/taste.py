"""How much a searcher wants an item, in logits."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from marketplace.catalog import NONE, Catalog
from marketplace.config import BehaviorSettings
from marketplace.intents import Intents
from marketplace.searchers import Searchers, Searches

SAME_LEAF, BROAD_SIBLING, SIBLING, ELSEWHERE = 1.0, 0.6, 0.25, 0.04
MISSED_BRAND, MISSED_FACET = 0.2, 0.4


@dataclass(frozen=True)
class Requests:
    """Some searches with all that decides what is wanted; row = search."""

    user: np.ndarray
    intent: np.ndarray
    focus_brand: np.ndarray
    focus_facet: np.ndarray
    price_shift: np.ndarray

    @classmethod
    def of(cls, searches: Searches, rows: slice | np.ndarray) -> Self:
        """The given rows of a day's searches."""
        return cls(
            searches.user[rows],
            searches.intent[rows],
            searches.focus_brand[rows],
            searches.focus_facet[rows],
            searches.price_shift[rows],
        )

    def take(self, rows: np.ndarray) -> "Requests":
        """Some of these requests."""
        return Requests(
            self.user[rows],
            self.intent[rows],
            self.focus_brand[rows],
            self.focus_facet[rows],
            self.price_shift[rows],
        )


def gumbel(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Standard Gumbel noise as float32: the best of noisy utilities is a draw from their softmax."""
    return -np.log(np.maximum(rng.standard_exponential(shape, np.float32), np.float32(1e-30)))


def branches(catalog: Catalog) -> np.ndarray:
    """Number of the category above each leaf [leaves]."""
    above: dict[tuple[str, ...], int] = {}
    return np.array([above.setdefault(path[:-1], len(above)) for path in catalog.paths], np.int32)


def relevance(
    catalog: Catalog, intents: Intents, branch: np.ndarray, intent: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """How well items meet needs, in (0, 1]; whoever searches [requests, items].

    `items` is [requests, items], or [1, items] where all requests are asked about the same ones.
    """
    wanted = intents.leaf[intent][:, None]
    leaf = catalog.leaf[items]
    beside = branch[leaf] == branch[wanted]
    near = np.where(intents.broad[intent][:, None], BROAD_SIBLING, SIBLING)
    met = np.where(leaf == wanted, SAME_LEAF, np.where(beside, near, ELSEWHERE))
    brand = intents.brand[intent][:, None]
    met = np.where((brand != NONE) & (catalog.brand[items] != brand), met * MISSED_BRAND, met)
    own = catalog.facets.T[:, items]
    for column in range(intents.facets.shape[1]):
        facet = intents.facets[intent, column]
        asked = np.flatnonzero(facet != NONE)
        if not len(asked):
            continue
        held = _holds(own if len(items) == 1 else own[:, asked], facet[asked])
        met[asked] = np.where(held, met[asked], met[asked] * MISSED_FACET)
    wish = intents.price_wish[intent][:, None]
    level = catalog.price_level[items]
    distance = np.where(np.isnan(wish) | np.isnan(level), 0.0, level - wish)
    return met * np.exp(-0.5 * distance**2)


def liking(
    catalog: Catalog,
    searchers: Searchers,
    settings: BehaviorSettings,
    requests: Requests,
    items: np.ndarray,
) -> np.ndarray:
    """How much the users like items, whatever they search for [requests, items]; `items` as for `relevance`."""
    user = requests.user
    brand = catalog.brand[items]
    style = np.einsum("rd,rnd->rn", searchers.style[user], catalog.brand_style[brand])
    value = settings.style_weight * style
    value += settings.loyalty_weight * _any_equal(brand, searchers.brands[user])
    value += settings.session_weight * (brand == requests.focus_brand[:, None])
    value *= brand != NONE
    facets = catalog.taste_facets[:, items]
    for taste in searchers.tastes[user].T:
        value += settings.taste_weight * _holds(facets, taste)
    value += settings.session_weight * _holds(facets, requests.focus_facet)
    level = catalog.price_level[items]
    distance = level - (searchers.price_taste[user] + requests.price_shift)[:, None]
    value -= settings.price_weight * np.where(np.isnan(level), 1.0, np.minimum(distance**2, 6.0))
    value += settings.region_weight * (catalog.shop_region[items] == searchers.region[user][:, None])
    value += settings.quality_weight * catalog.quality[items]
    return value


def _any_equal(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Whether each of `values` [requests or 1, items] is among its row's `wanted` [requests, choices]."""
    found = np.zeros((len(wanted), values.shape[1]), bool)
    for choice in wanted.T:
        found |= values == choice[:, None]
    return found


def _holds(facets: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Whether `facets` [facets, requests or 1, items] hold the one facet wanted in each request [requests, items]."""
    found = np.zeros((len(wanted), facets.shape[2]), bool)
    for held in facets:
        found |= held == wanted[:, None]
    return found & (wanted != NONE)[:, None]
