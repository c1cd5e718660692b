"""Queries that mean several things, as the training log tells it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

# A query is ambiguous if at least this share of its clicks falls into each of two or more leaf categories. With fewer
# clicks than these a single one would decide. Both were chosen by looking at queries, before any model was measured.
SECOND_MEANING: Final = 0.1
FEWEST_CLICKS: Final = 20


def ambiguous_queries(clicks: Mapping[str, Mapping[str, int]]) -> frozenset[str]:
    """The queries whose searchers went into different leaf categories.

    Args:
      clicks: by query and leaf category, clicks, carts and orders of the train split.
    """
    return frozenset(
        query
        for query, categories in clicks.items()
        if (total := sum(categories.values())) >= FEWEST_CLICKS
        and sum(count >= SECOND_MEANING * total for count in categories.values()) >= 2
    )


def clicks_by_category(pairs: Iterable[tuple[str, str]]) -> dict[str, Counter[str]]:
    """Counts of (query, leaf category), one pair per click."""
    clicks: dict[str, Counter[str]] = defaultdict(Counter)
    for query, category in pairs:
        clicks[query][category] += 1
    return dict(clicks)
