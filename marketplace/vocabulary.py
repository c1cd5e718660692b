"""The words of a generated shop, read from `english.yaml` or `chinese.yaml` beside this module."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class LeafWords:
    """One leaf category as the shop and its searchers name it."""

    path: tuple[str, ...]
    nouns: tuple[str, ...]
    synonyms: tuple[str, ...]
    ambiguous: tuple[str, ...]
    median_price: float
    attribute_groups: tuple[str, ...]
    audience: str | None


@dataclass(frozen=True)
class Audience:
    """Whom an item is made for: the name in the category path, in titles and in queries."""

    name: str
    title: str
    query: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """All words of one language's shop; `joiner` stands between the words of a title or a query."""

    language: str
    joiner: str
    leaves: tuple[LeafWords, ...]
    attributes: dict[str, dict[str, tuple[str, ...]]]
    color_group: str
    taste_groups: frozenset[str]
    audiences: dict[str, Audience]
    price_words: dict[str, tuple[str, ...]]
    filler: tuple[str, ...]
    first_syllables: tuple[str, ...]
    last_syllables: tuple[str, ...]
    named_brands: dict[str, tuple[str, ...]]

    @cached_property
    def facet_synonyms(self) -> dict[str, tuple[str, ...]]:
        """What searchers may type for each attribute value."""
        return {value: texts for values in self.attributes.values() for value, texts in values.items()}


@cache
def load_vocabulary(language: str) -> Vocabulary:
    """The vocabulary of `language` (`english` or `chinese`)."""
    words: dict[str, Any] = yaml.safe_load(files("marketplace").joinpath(f"{language}.yaml").read_text("utf-8"))
    audiences = {
        key: Audience(value["name"], value["title"], tuple(value["query"])) for key, value in words["audiences"].items()
    }
    ambiguous: dict[str, list[str]] = {}
    for word, leaves in words["ambiguous"].items():
        for leaf in leaves:
            ambiguous.setdefault(leaf, []).append(word)
    return Vocabulary(
        language=language,
        joiner=words["joiner"],
        leaves=tuple(_leaves(words["categories"], audiences, ambiguous)),
        attributes={
            group: {str(value): tuple(synonyms) for value, synonyms in values.items()}
            for group, values in words["attributes"].items()
        },
        color_group=next(iter(words["attributes"])),
        taste_groups=frozenset(words["taste_groups"]),
        audiences=audiences,
        price_words={level: tuple(texts) for level, texts in words["price_words"].items()},
        filler=tuple(words["filler"]),
        first_syllables=tuple(words["syllables"]["first"]),
        last_syllables=tuple(words["syllables"]["last"]),
        named_brands={name: tuple(middles) for name, middles in words["named_brands"].items()},
    )


def narrowed(vocabulary: Vocabulary, leaves: int) -> Vocabulary:
    """The vocabulary of a shop of about `leaves` leaf categories; 0 keeps all.

    Leaves that share an ambiguous word stay, the others are taken evenly from the tree; the leaves of one thing for
    women, men and kids stay together.
    """
    if not leaves or leaves >= len(vocabulary.leaves):
        return vocabulary
    things: dict[str, list[LeafWords]] = {}
    for words in vocabulary.leaves:
        things.setdefault(words.path[-1], []).append(words)
    sharing = Counter(word for same in things.values() for word in same[0].ambiguous)
    kept = [name for name, same in things.items() if any(sharing[word] > 1 for word in same[0].ambiguous)]
    others = [name for name in things if name not in kept]
    room = leaves - sum(len(things[name]) for name in kept)
    step = max(1.0, sum(len(things[name]) for name in others) / max(room, 1))
    place = 0.0
    while room > 0 and int(place) < len(others):
        name = others[int(place)]
        kept.append(name)
        room -= len(things[name])
        place += step
    chosen = set(kept)
    return replace(vocabulary, leaves=tuple(words for words in vocabulary.leaves if words.path[-1] in chosen))


def _leaves(
    categories: dict[str, dict[str, list[dict[str, Any]]]],
    audiences: dict[str, Audience],
    ambiguous: dict[str, list[str]],
) -> list[LeafWords]:
    leaves = []
    for top, middles in categories.items():
        for middle, entries in middles.items():
            for entry in entries:
                for audience in entry.get("audiences", [None]):
                    branch = (top, middle) if audience is None else (top, audiences[audience].name, middle)
                    leaves.append(
                        LeafWords(
                            path=(*branch, entry["leaf"]),
                            nouns=tuple(entry["nouns"]),
                            synonyms=tuple(entry["synonyms"]),
                            ambiguous=tuple(ambiguous.get(entry["leaf"], ())),
                            median_price=float(entry["price"]),
                            attribute_groups=tuple(entry["with"]),
                            audience=audience,
                        )
                    )
    return leaves
