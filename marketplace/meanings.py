"""What a query can mean, and how likely its user means it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from marketplace.config import MarketplaceSettings, SearcherSettings
from marketplace.intents import Intents
from marketplace.queries import QueryPool
from marketplace.searchers import Searchers


@dataclass(frozen=True)
class Meanings:
    """The needs behind each of some queries.

    Attributes:
      needs: intents that are typed so, and the chance that one of them is typed so, by query.
      intents: all needs.
      searchers: whose habits weigh them.
      settings: of the searchers.
    """

    needs: dict[str, tuple[np.ndarray, np.ndarray]]
    intents: Intents
    searchers: Searchers
    settings: SearcherSettings

    @classmethod
    def of(
        cls,
        queries: Sequence[str],
        settings: MarketplaceSettings,
        pool: QueryPool,
        intents: Intents,
        searchers: Searchers,
    ) -> Self:
        """The meanings of `queries`, right spellings and wrong ones; a query that nobody types has none."""
        wanted = set(queries)
        wrong = settings.queries.misspelling_share
        # By query: numbers of texts, and the chance of that spelling.
        texts: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, text in enumerate(pool.texts):
            if text in wanted:
                texts[text].append((number, 1.0 - wrong))
            for spelling in range(1, pool.spellings + 1):
                typed = pool.text(number * (pool.spellings + 1) + spelling)
                if typed in wanted:
                    texts[typed].append((number, wrong / pool.spellings))
        intent = np.repeat(np.arange(intents.count), np.diff(pool.intent_start))
        weight = np.diff(pool.cumulative)
        order = np.argsort(pool.wording_text, kind="stable")
        start = np.searchsorted(pool.wording_text[order], np.arange(len(pool.texts) + 1))
        needs = {}
        for query, found in texts.items():
            wordings = [order[start[number] : start[number + 1]] for number, _ in found]
            chances = [weight[rows] * chance for rows, (_, chance) in zip(wordings, found, strict=True)]
            needs[query] = intent[np.concatenate(wordings)], np.concatenate(chances)
        return cls(needs, intents, searchers, settings.searchers)

    def likely(self, query: str, user: int) -> tuple[np.ndarray, np.ndarray]:
        """The intents that `user` may have in mind with `query`, and how likely each is [meanings]."""
        intent, typed = self.needs.get(query, (np.zeros(0, np.int64), np.zeros(0)))
        chance = typed * self._wanted(intent, user)
        return intent, chance / max(chance.sum(), 1e-300)

    def _wanted(self, intent: np.ndarray, user: int) -> np.ndarray:
        """How often a user wants each intent, as `searches_of_day` draws them [intents]."""
        settings = self.settings
        later = 1.0 - 1.0 / settings.mean_searches_per_session
        stays = 1.0 - later * (1.0 - settings.same_intent_share - settings.same_leaf_share)
        usual = settings.favorite_leaf_share * stays
        favorites = self.searchers.leaves[user]
        nth = np.sqrt(np.arange(len(favorites) + 1) / len(favorites))
        leaf = self.intents.leaf[intent]
        dear = (leaf[:, None] == favorites) @ np.diff(nth)
        return self.intents.weight[intent] * (usual * dear / self.intents.leaf_weight()[leaf] + 1.0 - usual)
