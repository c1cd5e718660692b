"""BM25F in plain Python, as its equations are written."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from components.index_builder.lexical.config import LexicalConfig

Units = Sequence[str]


@dataclass(frozen=True)
class PlainField:
    weight: float
    b: float
    texts: Sequence[Units]


def terms(units: Units, joined_weight: float) -> Counter:
    """What each word, and each two neighbors written as one, counts."""
    found: Counter = Counter(units)
    for first, second in pairwise(units):
        found[first + second] += joined_weight
    return found


def impacts(fields: Sequence[PlainField], config: LexicalConfig) -> list[dict[str, float]]:
    """By item, the saturated frequency of each of its terms."""
    items = len(fields[0].texts)
    found = []
    for item in range(items):
        frequency: Counter = Counter()
        for field in fields:
            lengths = [len(text) for text in field.texts if text]
            average = sum(lengths) / max(1, len(lengths))
            for term, count in terms(field.texts[item], config.joined_weight).items():
                frequency[term] += field.weight * count / (1 - field.b + field.b * len(field.texts[item]) / average)
        found.append({term: tf / (config.k1 + tf) for term, tf in frequency.items() if tf})
    return found


def scores(fields: Sequence[PlainField], query: Units, config: LexicalConfig, depth: int = 10**9) -> list[float]:
    """What each item scores for a query of which no word is looked up by its likeness."""
    by_item = impacts(fields, config)
    total, best = [0.0] * len(by_item), 0.0
    for term, weight in terms(query, config.joined_weight).items():
        # As exact as they are kept, so that items which tie there tie here.
        posted = [(-round(of[term] * 65_535), item) for item, of in enumerate(by_item) if term in of]
        if not posted or not weight:
            continue
        idf = math.log1p((len(by_item) - len(posted) + 0.5) / (len(posted) + 0.5))
        posted.sort()
        best += weight * idf * -posted[0][0]
        for negative, item in posted[:depth]:
            total[item] += weight * idf * -negative
    return [score / best if best else 0.0 for score in total]
