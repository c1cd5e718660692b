"""What a searcher is shown: the lexical engine's results blended with slots from the category it understands."""

from dataclasses import dataclass, field

import numpy as np

from marketplace.catalog import NONE, Catalog
from marketplace.config import MarketplaceSettings
from marketplace.engine import LexicalEngine
from marketplace.queries import QueryPool
from marketplace.searchers import Searchers
from marketplace.shelves import Shelves
from marketplace.taste import Requests, gumbel, liking

NEW_FOR_DAYS = 7
RECOMMENDER_WIDTH = 12


@dataclass
class ResultCache:
    """The engine's matches per query, at most `capacity` matches in all, so that memory stays bounded."""

    engine: LexicalEngine
    pool: QueryPool
    depth: int
    capacity: int = 20_000_000
    _kept: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    _used: int = 0

    def top(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Matches and scores as `LexicalEngine.top` gives them, both [requests, depth]."""
        unique, inverse = np.unique(queries, return_inverse=True)
        unknown = [row for row, query in enumerate(unique) if int(query) not in self._kept]
        items = np.full((len(unique), self.depth), NONE, np.int32)
        scores = np.full((len(unique), self.depth), -np.inf, np.float32)
        for row, query in enumerate(unique):
            if int(query) in self._kept:
                known, values = self._kept[int(query)]
                items[row, : len(known)], scores[row, : len(known)] = known, values
        if unknown:
            found = self.engine.top([self.pool.text(unique[row]) for row in unknown], self.depth)
            items[unknown], scores[unknown] = found
            for row in unknown:
                width = int((items[row] != NONE).sum())
                if self._used + width <= self.capacity:
                    self._used += width
                    self._kept[int(unique[row])] = (items[row, :width].copy(), scores[row, :width].copy())
        return items[inverse], scores[inverse]


def understood_leaf(catalog: Catalog, items: np.ndarray) -> np.ndarray:
    """Leaf that the shop takes a query to mean: the commonest of its ten best matches, NONE without [requests]."""
    best = items[:, :10]
    leaf = np.where(best == NONE, NONE, catalog.leaf[best])
    votes = ((leaf[:, :, None] == leaf[:, None, :]) & (leaf != NONE)[:, :, None]).sum(axis=2)
    winner = votes.argmax(axis=1)
    rows = np.arange(len(items))
    return np.where(votes[rows, winner] > 0, leaf[rows, winner], NONE)


def build_pages(
    settings: MarketplaceSettings,
    catalog: Catalog,
    searchers: Searchers,
    shelves: Shelves,
    cache: ResultCache,
    requests: Requests,
    queries: np.ndarray,
    day: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Items by slot for each request, NONE after the last one [requests, slots]."""
    page = settings.page
    organic_slots = max(1, round(page.slots * page.organic_share))
    matches, scores = cache.top(queries)
    candidates, lexical = _engine_picks(settings, catalog, matches, scores, day, rng)
    guess = _guessed_liking(settings, catalog, searchers, requests, candidates, rng)
    ranking = lexical + page.ranking_weight * guess
    order = np.argsort(-ranking, axis=1, kind="stable")[:, :organic_slots]
    organic = np.take_along_axis(candidates, order, axis=1)
    organic = np.where(np.isfinite(np.take_along_axis(ranking, order, axis=1)), organic, NONE)
    leaf = understood_leaf(catalog, matches)
    usual = searchers.leaves[requests.user, rng.integers(0, searchers.leaves.shape[1], len(leaf))]
    leaf = np.where(leaf == NONE, usual, leaf)
    others = _other_slots(settings, catalog, searchers, shelves, requests, leaf, page.slots - organic_slots, day, rng)
    return _blend(organic, others, rng)


def _engine_picks(
    settings: MarketplaceSettings,
    catalog: Catalog,
    matches: np.ndarray,
    scores: np.ndarray,
    day: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The engine's best matches on sale under this request's noise, with their scores [requests, ranked]."""
    on_sale = (matches != NONE) & (catalog.available_day[matches] <= day)
    noisy = np.where(on_sale, scores + settings.engine.noise * gumbel(scores.shape, rng), -np.inf)
    ranked = settings.page.ranked
    if matches.shape[1] <= ranked:
        return matches, noisy
    picks, picked = matches[:, :ranked].copy(), noisy[:, :ranked].copy()
    deep = np.flatnonzero(matches[:, ranked] != NONE)
    best = np.argpartition(-noisy[deep], ranked - 1, axis=1)[:, :ranked]
    picks[deep] = np.take_along_axis(matches[deep], best, axis=1)
    picked[deep] = np.take_along_axis(noisy[deep], best, axis=1)
    return picks, picked


def _other_slots(
    settings: MarketplaceSettings,
    catalog: Catalog,
    searchers: Searchers,
    shelves: Shelves,
    requests: Requests,
    leaf: np.ndarray,
    width: int,
    day: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """New arrivals, recommendations and exploration out of `leaf`, NONE for an empty slot [requests, width]."""
    page = settings.page
    items = shelves.of_leaf(leaf, width, rng)
    kind = rng.random(items.shape)
    new = shelves.new_in_leaf(leaf, day, NEW_FOR_DAYS, width, rng)
    items = np.where((kind < page.new_arrival_share) & (new != NONE), new, items)
    recommended = (kind >= page.new_arrival_share) & (kind < page.new_arrival_share + page.recommended_share)
    for column in range(width):
        rows = np.flatnonzero(recommended[:, column])
        candidates = shelves.of_leaf(leaf[rows], RECOMMENDER_WIDTH, rng)
        guess = _guessed_liking(settings, catalog, searchers, requests.take(rows), candidates, rng)
        guess = np.where((candidates == NONE) | (catalog.available_day[candidates] > day), -np.inf, guess)
        items[rows, column] = candidates[np.arange(len(rows)), guess.argmax(axis=1)]
    return np.where((items != NONE) & (catalog.available_day[items] <= day), items, NONE)


def _guessed_liking(
    settings: MarketplaceSettings,
    catalog: Catalog,
    searchers: Searchers,
    requests: Requests,
    items: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """What the shop takes the users' liking to be: right on average, but noisy [requests, items]."""
    guess = liking(catalog, searchers, settings.behavior, requests, items)
    return guess + settings.page.taste_noise * gumbel(guess.shape, rng)


def _blend(organic: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One page of both, the organic results in their order, no item twice, no gap [requests, slots]."""
    ranks = (np.arange(organic.shape[1]) + 0.5) / organic.shape[1]
    keys = np.concatenate([np.broadcast_to(ranks, organic.shape), 0.1 + 0.9 * rng.random(others.shape)], axis=1)
    items = np.concatenate([organic, others], axis=1)
    order = np.argsort(keys, axis=1, kind="stable")
    items = np.take_along_axis(items, order, axis=1)
    same = items[:, :, None] == items[:, None, :]
    again = np.tril(same, -1).any(axis=2)
    items = np.where(again, NONE, items)
    gaps_last = np.argsort(items == NONE, axis=1, kind="stable")
    return np.take_along_axis(items, gaps_last, axis=1)
