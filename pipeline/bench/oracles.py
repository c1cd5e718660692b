"""What a simulated shop's own truth would find, and how much of what systems find is good by it.

An oracle ranks the whole catalog by what the simulation knows; models have the log and the catalog, whose ratings show
an item's quality. Clicks also depend on what the shop happened to show and on what the user did before, which oracles
leave out: they say how much the searchers' wishes explain, and are no bound that nothing can pass.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.eval_set import EvalCatalog, EvalRequests
from evaluation.example_columns import first_texts, parse_columns
from evaluation.metrics import NOT_AN_ITEM, FloatArray, IntArray
from marketplace.meanings import Meanings
from marketplace.taste import Requests
from marketplace.truth import Truth, lasting
from pipeline.bench.variants import ORACLE_QUERY, ORACLE_RELEVANCE, ORACLE_TASTE, ORACLE_UTILITY
from schema import features
from schema.settings import InputError

# The simulator's own bound: a page without such an item disappoints, and such an item is worth coming back to.
GOOD: Final = 0.5
_BLOCK: Final = 64


@dataclass(frozen=True)
class Oracles:
    """The truth about the requests of an evaluation day.

    Attributes:
      truth: of the shop.
      requests: the evaluation requests as the simulation made them; queries: what was typed.
      meanings: what that can mean.
      items: the simulation's row of each item of the catalog [items].
    """

    truth: Truth
    requests: Requests
    queries: tuple[str, ...]
    meanings: Meanings
    items: IntArray

    @classmethod
    def read(cls, shop_file: Path, catalog: EvalCatalog, requests: EvalRequests) -> "Oracles":
        """The truth about `requests` out of the `shop.json` beside their log.

        Raises:
          InputError: catalog and log are not what this version simulates by that file.
        """
        truth = Truth.read(shop_file)
        named = (features.REQUEST_ID, features.USER_ID, features.TIMESTAMP_MS)
        columns = parse_columns(list(requests.examples), named)
        searches = truth.searches(first_texts(columns[features.REQUEST_ID]))
        start = truth.settings.start
        midnight = int(datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp() * 1000)
        known = truth.chooser.catalog.rows
        row_of = {item_id: row for row, item_id in enumerate(known["item_id"].to_list())}
        items = np.array([row_of.get(item_id, NOT_AN_ITEM) for item_id in catalog.item_ids])
        titles, users = known["title"].to_list(), truth.chooser.searchers.rows["user_id"].to_list()
        same = (
            [titles[row] for row in items] == list(catalog.titles)
            and [users[user] for user in searches.user] == first_texts(columns[features.USER_ID])
            and np.array_equal(searches.time + midnight, columns[features.TIMESTAMP_MS].values)
        )
        if not same or (items == NOT_AN_ITEM).any():
            raise InputError(
                f"{shop_file} does not simulate this catalog and log: another version of Souk wrote them, or they were "
                "changed; simulate the shop anew"
            )
        return cls(truth, Requests.of(searches, slice(None)), requests.queries, truth.meanings(requests.queries), items)

    def good_share(self, rows: IntArray) -> FloatArray:
        """Share of what was retrieved that meets the need which the searcher had in mind, [requests]; NaN of nothing.

        MGDSPR's P_good (arXiv 2106.09297, section 4) with the simulation's relevance of GOOD and more for "good".

        Args:
          rows: [requests, k] catalog rows; what is none, such as an item that has left the shop, does not count.
        """
        found = self._known(rows)
        met = self.truth.relevance(self.requests.intent, self.items[np.where(found, rows, 0)])
        counts = found.sum(axis=1)
        share = np.full(len(rows), np.nan)
        return np.divide((found & (met >= GOOD)).sum(axis=1), counts, out=share, where=counts > 0)

    def rank(self, shown: IntArray, depth: int) -> dict[str, tuple[IntArray, FloatArray]]:
        """What each oracle finds [requests, depth], and its scores of the shown pages [requests, page].

        Items of equal score come in an order of chance.

        Args:
          shown: [requests, page] catalog rows; scores of what is none are of no meaning.
          depth: items to find.
        """
        pages = self.items[np.where(self._known(shown), shown, 0)]
        found: dict[str, list[IntArray]] = {}
        on_pages: dict[str, list[FloatArray]] = {}
        rng = np.random.default_rng(0)
        for start in range(0, len(shown), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(shown)))
            for name, scores in self._scores(rows, self.items[None]).items():
                found.setdefault(name, []).append(_best(scores, depth, rng))
            for name, scores in self._scores(rows, pages[rows]).items():
                on_pages.setdefault(name, []).append(scores)
        return {name: (np.concatenate(found[name]), np.concatenate(on_pages[name])) for name in found}

    def _known(self, rows: IntArray) -> NDArray[np.bool_]:
        return (rows >= 0) & (rows < len(self.items))

    def _scores(self, rows: IntArray, items: IntArray) -> dict[str, FloatArray]:
        """Scores by oracle [requests, items] of some requests; `items` as `Truth.relevance` takes them."""
        truth, requests = self.truth, self.requests.take(rows)
        weight = truth.settings.behavior.relevance_weight
        met = truth.relevance(requests.intent, items)
        liked = truth.liking(lasting(requests), items)
        expected = [self._expected(row, items[number % len(items)]) for number, row in enumerate(rows)]
        return {
            ORACLE_UTILITY: truth.liking(requests, items) + weight * np.log(met),
            ORACLE_TASTE: liked + weight * np.log(met),
            ORACLE_QUERY: liked + np.log(expected),
            ORACLE_RELEVANCE: met,
        }

    def _expected(self, row: int, items: IntArray) -> FloatArray:
        """Mean over what a request can mean of relevance to the power of its weight [items]: as one would bet on it."""
        intent, likely = self.meanings.likely(self.queries[row], int(self.requests.user[row]))
        if not len(intent):
            return np.ones(len(items))
        met: FloatArray = self.truth.relevance(intent, items[None])
        return likely @ met**self.truth.settings.behavior.relevance_weight


def _best(scores: FloatArray, depth: int, rng: np.random.Generator) -> IntArray:
    """Columns of the best `depth` scores of each row, best first; of equal ones any."""
    depth = min(depth, scores.shape[1])
    shuffled = rng.permutation(scores.shape[1])
    values = -scores[:, shuffled]
    some = np.argpartition(values, depth - 1, axis=1)[:, :depth]
    order = np.argsort(np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    return shuffled[np.take_along_axis(some, order, axis=1)]
