"""How needs over a given catalog are put into words: its category names, brands, title and color words.

Besides the catalog's own words there are only two fixed patterns, "... for women" (men, girls, boys, baby, kids,
where the category path says so) and the four words of `PRICE_WORDS`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from marketplace.catalog import NONE, Catalog
from marketplace.engine import stem, words_of
from marketplace.intents import Intents
from marketplace.wording import AMBIGUOUS, PLAIN, SYNONYM, Wording

_PARTS = re.compile(r"\s*(?:&|,|/|\band\b|、)\s*")
_AUDIENCES = ("women", "men", "girls", "boys", "baby", "kids")
RARE = 30
SAID_BY_TITLES = 0.2
PRICE_WORDS = {-1: ("cheap", "affordable"), 1: ("premium", "luxury")}


@dataclass(frozen=True)
class GivenWords:
    """What the titles of a given catalog call things.

    Attributes:
      nouns: names of each leaf with the kind of their wording, best first.
      holders: number of items that hold a facet.
      chinese: whether words are written without spaces.
    """

    nouns: tuple[tuple[tuple[str, str], ...], ...]
    holders: Counter[int]
    chinese: bool

    @classmethod
    def of(cls, catalog: Catalog) -> Self:
        """The words of a given catalog."""
        members: dict[int, list[set[str]]] = defaultdict(list)
        forms: dict[str, Counter[str]] = defaultdict(Counter)
        for leaf, title in zip(catalog.leaf, catalog.rows["title"], strict=True):
            words = words_of(title)
            members[int(leaf)].append({stem(word) for word in words})
            for word in words:
                forms[stem(word)][word] += 1
        holders = Counter(int(facet) for facet in catalog.facets[catalog.facets != NONE])
        everywhere = Counter(stem_ for sets in members.values() for held in sets for stem_ in held)
        nouns = tuple(
            tuple(_nouns(path, members[leaf], forms, everywhere, catalog.items))
            for leaf, path in enumerate(catalog.paths)
        )
        chinese = any(name and name[0] >= "\u3400" for name in catalog.facet_names)
        return cls(nouns, holders, chinese)

    def join(self, parts: Sequence[str]) -> str:
        """A query of the given words."""
        text = " ".join(part for part in parts if part)
        return re.sub(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])", "", text) if self.chinese else text


def wordings_of_given(intent: int, intents: Intents, catalog: Catalog, words: GivenWords) -> list[Wording]:
    """Ways to type the need."""
    nouns = words.nouns[intents.leaf[intent]]
    path = catalog.paths[intents.leaf[intent]]
    wanted = [int(facet) for facet in intents.facets[intent] if facet != NONE]
    facets = [catalog.facet_names[facet] for facet in wanted]
    brand = "" if intents.brand[intent] == NONE else catalog.brand_names[intents.brand[intent]].lower()
    facets = [word for word in facets if word not in brand.split()]
    wish = intents.price_wish[intent]
    price = "" if wish != wish else PRICE_WORDS[-1 if wish < 0 else 1][0]
    if intents.broad[intent] and len(path) > 1:
        above = [part.lower() for part in _PARTS.split(path[-2]) if part]
        return [Wording(words.join([price, part]), 1.0, AMBIGUOUS) for part in above]
    found = []
    for place, (noun, kind) in enumerate(nouns):
        rest = [word for word in facets if stem(word) not in {stem(part) for part in words_of(noun)}]
        weight = (0.6 if len(facets) > 1 else 1.0) / (1 + place)
        found.append(Wording(words.join([price, brand, *rest, noun]), weight, kind))
        if rest and not brand:
            found.append(Wording(words.join([price, noun, *rest]), 0.2 * weight, kind))
    if len(facets) > 1 or (facets and brand):
        found.append(Wording(words.join([price, brand, *facets]), 1.0, PLAIN))
        found.append(Wording(words.join([*facets, brand]), 0.2, PLAIN))
    elif facets and words.holders[wanted[0]] <= RARE:
        found.append(Wording(facets[0], 0.4, PLAIN))
    if len(facets) > 1:
        found.append(Wording(words.join(facets), 0.5, PLAIN))
    if brand and not facets:
        found.append(Wording(brand, 1.0, AMBIGUOUS))
    return found or [Wording(words.join([price, brand, *facets]), 1.0, PLAIN)]


def _nouns(
    path: tuple[str, ...],
    titles: list[set[str]],
    forms: dict[str, Counter[str]],
    everywhere: Counter[str],
    items: int,
) -> list[tuple[str, str]]:
    """Names of a leaf: the word that marks its titles, its own name by parts, each as titles spell it."""
    held = Counter(stem_ for title in titles for stem_ in title)
    marking = [
        (held[stem_] / len(titles) * (held[stem_] / everywhere[stem_]) ** 0.5, stem_)
        for stem_ in held
        if held[stem_] >= max(2, 0.4 * len(titles))
        and everywhere[stem_] < 0.1 * items
        and stem_.isalpha()
        and len(stem_) > 1
    ]
    found: list[tuple[str, str]] = []
    if path:
        audience = next((word for name in path for word in words_of(name) if word in _AUDIENCES), None)
        for part in _PARTS.split(path[-1].lower()):
            for phrase in _spellings(part, forms):
                stems = {stem(word) for word in words_of(phrase)}
                said = sum(stems <= title for title in titles) >= SAID_BY_TITLES * len(titles)
                kind = PLAIN if said else SYNONYM
                found.append((phrase, kind))
                if audience and audience not in phrase:
                    found.append((f"{phrase} for {audience}", kind))
    if marking:
        _, best = max(marking)
        found.insert(1, (forms[best].most_common(1)[0][0], PLAIN))
    if path and not found:
        found.append((path[-1].lower(), PLAIN))
    return list(dict(found).items())


def _spellings(phrase: str, forms: dict[str, Counter[str]]) -> list[str]:
    """`phrase`, and with its last word in the form that titles prefer."""
    words = phrase.split()
    if not words:
        return []
    preferred = forms.get(stem(words[-1]))
    other = [preferred.most_common(1)[0][0]] if preferred else []
    return list(dict.fromkeys(" ".join([*words[:-1], last]) for last in (words[-1], *other)))
