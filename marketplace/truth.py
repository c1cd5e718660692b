"""What decides the clicks of a simulated shop, made again from its `shop.json`: for measuring, never for models."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from marketplace.catalog import NONE
from marketplace.choice import Chooser
from marketplace.config import MarketplaceSettings
from marketplace.meanings import Meanings
from marketplace.searchers import Searches
from marketplace.simulation import REQUESTS_OF_A_DAY, build_needs, build_queries, searches_on, searches_per_day
from marketplace.taste import Requests, branches, liking, relevance
from schema.settings import InputError


@dataclass(frozen=True)
class Truth:
    """The shop, its searchers and what they want, as the simulation knew them."""

    settings: MarketplaceSettings
    chooser: Chooser

    @classmethod
    def read(cls, shop_file: Path) -> Self:
        """The truth of the shop that `simulate` described in `shop_file`.

        Raises:
          InputError: the file describes no shop that this version can simulate, or its given catalog is gone.
        """
        try:
            values = json.loads(shop_file.read_text("utf-8"))["settings"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{shop_file} describes no simulated shop: {' '.join(str(error).split())}") from None
        return cls.of(MarketplaceSettings.parse(values, str(shop_file)))

    @classmethod
    def of(cls, settings: MarketplaceSettings) -> Self:
        """The truth of a shop of these settings."""
        catalog, intents, shelves, searchers = build_needs(settings)
        return cls(settings, Chooser(catalog, intents, searchers, shelves, branches(catalog), settings.behavior))

    def searches(self, request_ids: Sequence[str]) -> Searches:
        """The searches of the given requests, in their order; the row is enough to know who wants what, and when.

        Raises:
          InputError: a request is none of this shop.
        """
        numbers = np.array([_number(request_id) for request_id in request_ids], np.int64)
        days, rows = np.divmod(numbers, REQUESTS_OF_A_DAY)
        expected = searches_per_day(self.settings)
        found: list[Searches] = []
        for day in np.unique(days):
            if not 0 <= day < len(expected):
                raise InputError(f"request {request_ids[int(np.argmax(days == day))]} is of no day of the simulation")
            whole, _ = searches_on(self.settings, self.chooser.searchers, self.chooser.intents, int(day), expected[day])
            wanted = rows[days == day]
            if wanted.max() >= len(whole.user):
                raise InputError(f"request r{day * REQUESTS_OF_A_DAY + wanted.max()} was not simulated")
            found.append(_rows(whole, wanted))
        order = np.argsort(np.argsort(days, kind="stable"), kind="stable")
        joined = {name: np.concatenate([getattr(part, name) for part in found]) for name in vars(found[0])}
        return _rows(Searches(**joined), order)

    def meanings(self, queries: Sequence[str]) -> Meanings:
        """What each of `queries` can mean."""
        chooser = self.chooser
        pool = build_queries(self.settings, chooser.catalog, chooser.intents)
        return Meanings.of(queries, self.settings, pool, chooser.intents, chooser.searchers)

    def relevance(self, intent: np.ndarray, items: np.ndarray) -> np.ndarray:
        """How well items meet needs, in (0, 1] [needs, items]; `items` is [needs, items] or, for all, [1, items]."""
        return relevance(self.chooser.catalog, self.chooser.intents, self.chooser.branch, intent, items)

    def liking(self, requests: Requests, items: np.ndarray) -> np.ndarray:
        """How much the users like items, whatever they search for, in logits [requests, items]."""
        chooser = self.chooser
        return liking(chooser.catalog, chooser.searchers, chooser.settings, requests, items)


def lasting(requests: Requests) -> Requests:
    """The same searches by the same users without what they look for in this session alone."""
    nothing = np.full_like(requests.focus_brand, NONE)
    return replace(requests, focus_brand=nothing, focus_facet=nothing, price_shift=np.zeros_like(requests.price_shift))


def _number(request_id: str) -> int:
    if not request_id.startswith("r") or not request_id[1:].isdecimal():
        raise InputError(f"request {request_id!r} is of no simulated log")
    return int(request_id[1:])


def _rows(searches: Searches, rows: np.ndarray) -> Searches:
    return Searches(**{name: values[rows] for name, values in vars(searches).items()})
