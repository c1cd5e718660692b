"""What a searcher is shown: the lexical engine's results blended with slots from the category it understands."""

from dataclasses import dataclass, field

import numpy as np

from marketplace.catalog import NONE, Catalogue
from marketplace.config import MarketplaceSettings
from marketplace.engine import LexicalEngine
from marketplace.queries import QueryPool
from marketplace.searchers import Searchers
from marketplace.shelves import Shelves
from marketplace.taste import Requests, liking

NEW_FOR_DAYS = 7
RECOMMENDER_WIDTH = 12


@dataclass
class ResultCache:
    """The engine's matches per query, kept for at most `capacity` queries so that memory stays bounded."""

    engine: LexicalEngine
    pool: QueryPool
    depth: int
    capacity: int = 60_000
    _slot: dict[int, int] = field(default_factory=dict)
    _items: list[np.ndarray] = field(default_factory=list)
    _scores: list[np.ndarray] = field(default_factory=list)

    def top(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Matches and scores as `LexicalEngine.top` gives them, both [requests, depth]."""
        unique, inverse = np.unique(queries, return_inverse=True)
        items = np.empty((len(unique), self.depth), np.int32)
        scores = np.empty((len(unique), self.depth), np.float32)
        slots = [self._slot.get(int(query), NONE) for query in unique]
        unknown = [row for row, slot in enumerate(slots) if slot == NONE]
        for row, slot in enumerate(slots):
            if slot != NONE:
                items[row], scores[row] = self._items[slot], self._scores[slot]
        if unknown:
            found = self.engine.top([self.pool.text(unique[row]) for row in unknown], self.depth)
            items[unknown], scores[unknown] = found
            for row in unknown[: self.capacity - len(self._slot)]:
                self._slot[int(unique[row])] = len(self._items)
                self._items.append(items[row].copy())
                self._scores.append(scores[row].copy())
        return items[inverse], scores[inverse]


def understood_leaf(catalogue: Catalogue, items: np.ndarray) -> np.ndarray:
    """Leaf that the shop takes a query to mean: the commonest of its ten best matches, NONE without [requests]."""
    best = items[:, :10]
    leaf = np.where(best == NONE, NONE, catalogue.leaf[best])
    votes = ((leaf[:, :, None] == leaf[:, None, :]) & (leaf != NONE)[:, :, None]).sum(axis=2)
    winner = votes.argmax(axis=1)
    rows = np.arange(len(items))
    return np.where(votes[rows, winner] > 0, leaf[rows, winner], NONE)


def build_pages(
    settings: MarketplaceSettings,
    catalogue: Catalogue,
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
    noise = settings.engine.noise * rng.gumbel(size=scores.shape).astype(np.float32)
    on_sale = (matches != NONE) & (catalogue.available_day[matches] <= day)
    noisy = np.where(on_sale, scores + noise, -np.inf)
    ranked = min(page.ranked, noisy.shape[1])
    best = np.argpartition(-noisy, ranked - 1, axis=1)[:, :ranked]
    candidates = np.take_along_axis(matches, best, axis=1)
    ranking = np.take_along_axis(noisy, best, axis=1)
    ranking += page.ranking_weight * _guessed_liking(settings, catalogue, searchers, requests, candidates, rng)
    order = np.argsort(-ranking, axis=1, kind="stable")[:, :organic_slots]
    organic = np.take_along_axis(candidates, order, axis=1)
    organic = np.where(np.isfinite(np.take_along_axis(ranking, order, axis=1)), organic, NONE)
    leaf = understood_leaf(catalogue, matches)
    usual = searchers.leaves[requests.user, rng.integers(0, searchers.leaves.shape[1], len(leaf))]
    leaf = np.where(leaf == NONE, usual, leaf)
    others = _other_slots(settings, catalogue, searchers, shelves, requests, leaf, page.slots - organic_slots, day, rng)
    return _blend(organic, others, rng)


def _other_slots(
    settings: MarketplaceSettings,
    catalogue: Catalogue,
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
        guess = _guessed_liking(settings, catalogue, searchers, requests.take(rows), candidates, rng)
        guess = np.where((candidates == NONE) | (catalogue.available_day[candidates] > day), -np.inf, guess)
        items[rows, column] = candidates[np.arange(len(rows)), guess.argmax(axis=1)]
    return np.where((items != NONE) & (catalogue.available_day[items] <= day), items, NONE)


def _guessed_liking(
    settings: MarketplaceSettings,
    catalogue: Catalogue,
    searchers: Searchers,
    requests: Requests,
    items: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """What the shop takes the users' liking to be: right on average, but noisy [requests, items]."""
    guess = liking(catalogue, searchers, settings.behaviour, requests, items)
    return guess + settings.page.taste_noise * rng.gumbel(size=guess.shape)


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
