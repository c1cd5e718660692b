"""What people want: Zipf-distributed needs, each satisfied by at least one item."""

from dataclasses import dataclass

import numpy as np

from marketplace.catalog import NONE, Catalog
from marketplace.config import QuerySettings

WANTED_FACETS = 3
PRICE_WISH = 1.2

# How needs are made of an item's properties: name, share, wants the brand, facets wanted (a series or the first
# words of a title count as facets), price wish. "branch" asks for the category above the leaf.
KINDS = (
    ("leaf", 0.24),
    ("branch", 0.06),
    ("brand", 0.16),
    ("facet", 0.20),
    ("two_facets", 0.07),
    ("brand_facet", 0.09),
    ("price", 0.05),
    ("series", 0.13),
)
# Needs for many things at once; they have `QuerySettings.detailed_share` of all, the kinds above have the rest.
DETAILED_KINDS = (("three_facets", 0.3), ("brand_three_facets", 0.7))


@dataclass(frozen=True)
class Intents:
    """Needs as arrays; row = intent, sorted by leaf.

    Attributes:
      leaf: wanted leaf [intents].
      broad: whether any leaf beside it will do as well [intents].
      brand: wanted brand or NONE [intents].
      facets: wanted facets, padded by NONE [intents, WANTED_FACETS].
      price_wish: wanted price level, NaN for any [intents].
      weight: share of all needs, a Zipf law over the intents [intents].
      leaf_start: first intent of each leaf [leaves + 1].
      cumulative: sum of the weights before each intent, and of all [intents + 1].
    """

    leaf: np.ndarray
    broad: np.ndarray
    brand: np.ndarray
    facets: np.ndarray
    price_wish: np.ndarray
    weight: np.ndarray
    leaf_start: np.ndarray
    cumulative: np.ndarray

    @property
    def count(self) -> int:
        """Number of intents."""
        return len(self.leaf)

    def leaf_weight(self) -> np.ndarray:
        """Share of all needs per leaf [leaves]."""
        return self.cumulative[self.leaf_start[1:]] - self.cumulative[self.leaf_start[:-1]]

    def draw_within(self, leaf: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One intent of each given leaf, by weight [draws]; every leaf must have intents."""
        low = self.cumulative[self.leaf_start[leaf]]
        high = self.cumulative[self.leaf_start[leaf + 1]]
        place = np.searchsorted(self.cumulative, low + rng.random(len(leaf)) * (high - low), side="right") - 1
        return np.clip(place, self.leaf_start[leaf], self.leaf_start[leaf + 1] - 1)


def derive_intents(catalog: Catalog, settings: QuerySettings, rng: np.random.Generator) -> Intents:
    """Up to `settings.intents` needs drawn from the catalog's items, the commonest first in the Zipf law."""
    drawn = max(4 * settings.intents, 2_000)
    appeal = np.exp(0.5 * catalog.popularity)
    item = rng.choice(catalog.items, drawn, p=appeal / appeal.sum())
    shares = np.array([share for _, share in (*KINDS, *DETAILED_KINDS)])
    shares[: len(KINDS)] *= 1.0 - settings.detailed_share
    shares[len(KINDS) :] *= settings.detailed_share
    kind = rng.choice(len(shares), drawn, p=shares / shares.sum())
    keys = _keys(catalog, item, kind, rng)
    named = np.flatnonzero([len(path) > 0 for path in catalog.paths])
    every_leaf = np.zeros((len(named), keys.shape[1]), keys.dtype)
    every_leaf[:, 0] = named
    every_leaf[:, 2 : 3 + WANTED_FACETS] = NONE
    # A need for nothing in particular of no category at all is no need.
    keys = keys[np.isin(keys[:, 0], named) | (keys[:, 2 : 3 + WANTED_FACETS] != NONE).any(axis=1)]
    unique, counts = np.unique(np.concatenate([every_leaf, keys]), axis=0, return_counts=True)
    order = np.lexsort((rng.random(len(unique)), -counts))
    must = (unique[:, 1:] == [0, NONE, *[NONE] * WANTED_FACETS, 0]).all(axis=1)
    order = np.concatenate([order[must[order]], order[~must[order]]])[: max(settings.intents, int(must.sum()))]
    order = order[np.argsort(-counts[order], kind="stable")]
    weight = (1.0 + np.arange(len(order))) ** -settings.zipf_exponent
    rows = unique[order]
    by_leaf = np.argsort(rows[:, 0], kind="stable")
    rows, weight = rows[by_leaf], (weight / weight.sum())[by_leaf]
    return Intents(
        leaf=rows[:, 0].astype(np.int32),
        broad=rows[:, 1] == 1,
        brand=rows[:, 2].astype(np.int32),
        facets=rows[:, 3 : 3 + WANTED_FACETS].astype(np.int32),
        price_wish=np.where(rows[:, -1] == 0, np.nan, PRICE_WISH * rows[:, -1]).astype(np.float32),
        weight=weight,
        leaf_start=np.searchsorted(rows[:, 0], np.arange(len(catalog.paths) + 1)),
        cumulative=np.concatenate([[0.0], np.cumsum(weight)]),
    )


def _keys(catalog: Catalog, item: np.ndarray, kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Intent keys (leaf, broad, brand, facets..., sign of the price wish) [draws, 4 + WANTED_FACETS]."""
    name = np.array([label for label, _ in (*KINDS, *DETAILED_KINDS)])[kind]
    facets = np.full((len(item), WANTED_FACETS), NONE, np.int64)
    three = np.isin(name, [label for label, _ in DETAILED_KINDS])
    wanted = np.select([np.isin(name, ["facet", "brand_facet"]), name == "two_facets", three], [1, 2, 3], 0)
    own = catalog.facets[item]
    chosen = _choose_facets(catalog, own, wanted, name == "series", rng)
    facets[:, : chosen.shape[1]] = chosen
    brand = np.where(np.isin(name, ["brand", "brand_facet", "brand_three_facets", "series"]), catalog.brand[item], NONE)
    level = catalog.price_level[item]
    price = np.where(((name == "price") | three) & (np.abs(level) > 0.5), np.sign(np.nan_to_num(level)), 0)
    return np.column_stack([catalog.leaf[item], name == "branch", brand, facets, price]).astype(np.int64)


def _choose_facets(
    catalog: Catalog, own: np.ndarray, wanted: np.ndarray, series: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Facets that each draw wants, of its item's own [draws, WANTED_FACETS].

    Of a generated item the first column is its series, the others are attribute values in no order. Of a given
    item they are the words of its title in order, and neighbors are chosen, so that needs read like titles.
    """
    draws, columns = own.shape
    chosen = np.full((draws, WANTED_FACETS), NONE, np.int64)
    if catalog.leaf_words:
        chosen[series, 0] = own[series, 0]
        priority = rng.random((draws, columns)) + 2.0 * (own == NONE)
        priority[:, 0] = 9.0
        order = np.argsort(priority, axis=1)
        for column in range(WANTED_FACETS):
            want = ~series & (wanted > column)
            chosen[want, column] = own[want, order[want, column]]
        return -np.sort(-chosen, axis=1)
    length = np.where(series, rng.integers(1, 4, draws), wanted)
    present = (own != NONE).sum(axis=1)
    start = (rng.random(draws) ** 1.3 * np.maximum(present - length + 1, 1)).astype(int)
    for column in range(WANTED_FACETS):
        want = (length > column) & (start + column < present)
        chosen[want, column] = own[want, (start + column)[want]]
    return chosen
