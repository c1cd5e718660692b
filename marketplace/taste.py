"""How much a searcher wants an item, in logits."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from marketplace.catalog import NONE, Catalogue
from marketplace.config import BehaviourSettings
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


def branches(catalogue: Catalogue) -> np.ndarray:
    """Number of the category above each leaf [leaves]."""
    above: dict[tuple[str, ...], int] = {}
    return np.array([above.setdefault(path[:-1], len(above)) for path in catalogue.paths], np.int32)


def relevance(
    catalogue: Catalogue, intents: Intents, branch: np.ndarray, intent: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """How well items meet needs, in (0, 1]; whoever searches [requests, items]."""
    wanted = intents.leaf[intent][:, None]
    leaf = catalogue.leaf[items]
    beside = branch[leaf] == branch[wanted]
    near = np.where(intents.broad[intent][:, None], BROAD_SIBLING, SIBLING)
    met = np.where(leaf == wanted, SAME_LEAF, np.where(beside, near, ELSEWHERE))
    brand = intents.brand[intent][:, None]
    met = np.where((brand != NONE) & (catalogue.brand[items] != brand), met * MISSED_BRAND, met)
    own = catalogue.facets[items]
    for column in range(intents.facets.shape[1]):
        facet = intents.facets[intent, column]
        asked = np.flatnonzero(facet != NONE)
        if not len(asked):
            continue
        missed = (own[asked] != facet[asked, None, None]).all(axis=2)
        met[asked] = np.where(missed, met[asked] * MISSED_FACET, met[asked])
    wish = intents.price_wish[intent][:, None]
    level = catalogue.price_level[items]
    distance = np.where(np.isnan(wish) | np.isnan(level), 0.0, level - wish)
    return met * np.exp(-0.5 * distance**2)


def liking(
    catalogue: Catalogue,
    searchers: Searchers,
    settings: BehaviourSettings,
    requests: Requests,
    items: np.ndarray,
) -> np.ndarray:
    """How much the users like items, whatever they search for [requests, items]."""
    user = requests.user
    brand = catalogue.brand[items]
    known = brand != NONE
    style = np.einsum("rd,rnd->rn", searchers.style[user], catalogue.brand_style[brand])
    value = settings.style_weight * np.where(known, style, 0.0)
    loyal = (brand[:, :, None] == searchers.brands[user][:, None, :]).any(axis=2) & known
    value += settings.loyalty_weight * loyal
    facets = catalogue.facets[items]
    for column in range(searchers.tastes.shape[1]):
        taste = searchers.tastes[user, column][:, None, None]
        value += settings.taste_weight * ((facets == taste) & (taste != NONE)).any(axis=2)
    focus = requests.focus_brand[:, None]
    value += settings.session_weight * ((focus != NONE) & (brand == focus))
    focus = requests.focus_facet[:, None, None]
    value += settings.session_weight * ((facets == focus) & (focus != NONE)).any(axis=2)
    level = catalogue.price_level[items]
    distance = level - (searchers.price_taste[user] + requests.price_shift)[:, None]
    value -= settings.price_weight * np.where(np.isnan(level), 1.0, np.minimum(distance**2, 6.0))
    value += settings.region_weight * (catalogue.shop_region[items] == searchers.region[user][:, None])
    value += settings.quality_weight * catalogue.quality[items]
    return value
