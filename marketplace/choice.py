"""What a searcher does: looks down the page, clicks, browses on, fills the cart, orders."""

from dataclasses import dataclass

import numpy as np

from marketplace.catalog import NONE, Catalog
from marketplace.config import BehaviorSettings
from marketplace.intents import Intents
from marketplace.searchers import Searchers
from marketplace.shelves import Shelves
from marketplace.taste import Requests, gumbel, liking, relevance

DISAPPOINTING = 0.5
BROWSING_HELP = 1.0
LIKED_BEFORE = 1.5


@dataclass(frozen=True)
class Clicks:
    """Clicks of some requests; row = click.

    Attributes:
      request: row of the request [clicks].
      item: clicked item [clicks].
      position: place on the page from 1, or 0 for a click off the page [clicks].
      carted: whether the item went into the cart [clicks].
      ordered: whether it was ordered [clicks].
    """

    request: np.ndarray
    item: np.ndarray
    position: np.ndarray
    carted: np.ndarray
    ordered: np.ndarray


@dataclass(frozen=True)
class Chooser:
    """All that decides what people do with what they see."""

    catalog: Catalog
    intents: Intents
    searchers: Searchers
    shelves: Shelves
    branch: np.ndarray
    settings: BehaviorSettings

    def utility(self, requests: Requests, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Utility in logits and relevance in (0, 1], both [requests, items]; items must not be NONE."""
        met = relevance(self.catalog, self.intents, self.branch, requests.intent, items)
        liked = liking(self.catalog, self.searchers, self.settings, requests, items)
        return liked + self.settings.relevance_weight * np.log(met), met

    def looked_at(self, pages: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Which slots were looked at: from the top down to a random depth [requests, slots]."""
        depth = rng.geometric(1.0 - self.settings.look_further, len(pages))
        return (np.arange(pages.shape[1]) < depth[:, None]) & (pages != NONE)

    def act(
        self,
        requests: Requests,
        pages: np.ndarray,
        seen: np.ndarray,
        remembered: np.ndarray,
        day: int,
        rng: np.random.Generator,
    ) -> Clicks:
        """Clicks, carts and orders that follow from the seen part of the pages and from what is remembered.

        Args:
          requests: the searches.
          pages: items by slot, NONE after the last [requests, slots].
          seen: which slots were looked at [requests, slots].
          remembered: items that the user clicked on earlier days, NONE where fewer [requests, any].
          day: day of the log, for what is on sale.
          rng: source of chance.
        """
        settings = self.settings
        utility, met = self.utility(requests, np.maximum(pages, 0))
        clicked = seen & (rng.random(pages.shape) < _chance(utility + settings.click_bias))
        slip = rng.random(len(pages)) < settings.noise_click_share
        slipped = np.where(seen, rng.random(pages.shape), -1.0).argmax(axis=1)
        rows = np.flatnonzero(slip & seen.any(axis=1))
        clicked[rows, slipped[rows]] = True
        request, slot = np.nonzero(clicked)
        item = pages[request, slot]
        more = [(request, item, slot + 1, utility[request, slot])]
        pleased = clicked.any(axis=1) | (np.where(seen, met, 0.0).max(axis=1) >= DISAPPOINTING)
        chance = np.where(pleased, settings.browse_otherwise, settings.browse_when_disappointed)
        more.append(self._browse(requests, np.flatnonzero(rng.random(len(pages)) < chance), day, rng))
        looks_on = rng.random(len(request)) < settings.similar_after_click
        more.append(self._similar(requests, request[looks_on], item[looks_on], day, rng))
        more.append(self._come_back(requests, remembered, day, rng))
        request, item, position, value = (np.concatenate(column) for column in zip(*more, strict=True))
        request, item, position, value = _once_each(request, item, position, value)
        carted = rng.random(len(request)) < _chance(settings.cart_bias + 0.8 * value)
        ordered = carted & (rng.random(len(request)) < settings.order_after_cart)
        return Clicks(request, item, position, carted, ordered)

    def _browse(
        self, requests: Requests, rows: np.ndarray, day: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Walk the category tree to the wanted leaf, filter by a wanted brand, take the best of what is seen."""
        width = self.settings.browse_width
        wanted = requests.take(rows)
        leaf = self.intents.leaf[wanted.intent]
        items = self.shelves.popular_of_leaf(leaf, width, rng)
        filtered = self.shelves.of_brand(leaf, self.intents.brand[wanted.intent], width, rng)
        return self._best(requests, rows, np.where(filtered == NONE, items, filtered), day, BROWSING_HELP, rng)

    def _similar(
        self, requests: Requests, rows: np.ndarray, item: np.ndarray, day: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Take the best of the items shown as similar to a clicked one: its leaf, half of them its brand."""
        width = self.settings.similar_width
        leaf = self.catalog.leaf[item]
        items = self.shelves.of_leaf(leaf, width, rng)
        of_brand = self.shelves.of_brand(leaf, self.catalog.brand[item], width // 2, rng)
        items[:, : width // 2] = np.where(of_brand == NONE, items[:, : width // 2], of_brand)
        items = np.where(items == item[:, None], NONE, items)
        return self._best(requests, rows, items, day, 0.0, rng)

    def _come_back(
        self, requests: Requests, remembered: np.ndarray, day: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Take again, out of the "recently viewed" row, something remembered that meets the need."""
        met = relevance(self.catalog, self.intents, self.branch, requests.intent, np.maximum(remembered, 0))
        fits = (remembered != NONE) & (met >= DISAPPOINTING)
        rows = np.flatnonzero(fits.any(axis=1) & (rng.random(len(fits)) < self.settings.come_back))
        items = np.where(fits[rows], remembered[rows], NONE)
        return self._best(requests, rows, items, day, LIKED_BEFORE, rng)

    def _best(
        self,
        requests: Requests,
        rows: np.ndarray,
        items: np.ndarray,
        day: int,
        help_by: float,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        utility, _ = self.utility(requests.take(rows), np.maximum(items, 0))
        on_sale = (items != NONE) & (self.catalog.available_day[items] <= day)
        felt = np.where(on_sale, utility + self.settings.choice_noise * gumbel(utility.shape, rng), -np.inf)
        here = np.arange(len(rows))
        best = felt.argmax(axis=1)
        value = utility[here, best]
        taken = on_sale.any(axis=1) & (rng.random(len(rows)) < _chance(value + self.settings.click_bias + help_by))
        return rows[taken], items[here, best][taken], np.zeros(int(taken.sum()), np.int64), value[taken]


def _once_each(
    request: np.ndarray, item: np.ndarray, position: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Drop the second click of one item in one request; the one on the page comes first."""
    key = request.astype(np.int64) * (int(item.max(initial=0)) + 1) + item
    _, first = np.unique(key, return_index=True)
    first.sort()
    return request[first], item[first], position[first], value[first]


def _chance(logit: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logit))
