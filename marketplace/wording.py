"""How needs over a generated catalog are put into words."""

from dataclasses import dataclass
from itertools import islice, product

from marketplace.catalog import NONE, Catalog
from marketplace.intents import Intents
from marketplace.vocabulary import Vocabulary

PLAIN, SYNONYM, AMBIGUOUS = "plain", "synonym", "ambiguous"


@dataclass(frozen=True)
class Wording:
    """One way to type a need. `kind` is PLAIN, SYNONYM (no title says it so) or AMBIGUOUS (of several leaves)."""

    text: str
    weight: float
    kind: str


def wordings_of_generated(intent: int, intents: Intents, catalog: Catalog, vocabulary: Vocabulary) -> list[Wording]:
    """Ways to type the need."""
    synonyms = vocabulary.facet_synonyms
    words = catalog.leaf_words[intents.leaf[intent]]
    facets = [catalog.facet_names[facet] for facet in intents.facets[intent] if facet != NONE]
    brand = intents.brand[intent]
    brand_words = [] if brand == NONE else [catalog.brand_names[brand].lower()]
    wish = intents.price_wish[intent]
    price: tuple[str, ...] = ()
    if wish == wish:
        price = vocabulary.price_words["low" if wish < 0 else "high"]
    join = vocabulary.joiner.join
    if intents.broad[intent]:
        branch = words.path[-2].lower()
        found = [Wording(branch, 1.0, PLAIN)]
        return found + [
            Wording(join([query, branch]), 0.3, PLAIN) for query in _audience_words(vocabulary, words.audience)
        ]
    is_series = brand != NONE and len(facets) == 1 and facets[0] not in synonyms
    found = []
    if is_series:
        found.append(Wording(join([*brand_words, *facets]), 1.0, PLAIN))
        found.append(Wording(facets[0], 0.5, PLAIN))
    for noun, weight in ((words.nouns[0], 1.0), (words.nouns[-1], 0.4), (words.path[-1].lower(), 0.3)):
        ahead = [*islice(price, 1), *brand_words, *facets]
        found.append(Wording(join([*ahead, noun]), weight * (0.5 if words.audience else 1.0), PLAIN))
        for number, query in enumerate(_audience_words(vocabulary, words.audience)):
            suffix = query.startswith("for ")
            parts = [*ahead, noun, query] if suffix else [query, *ahead, noun]
            found.append(Wording(join(parts), weight * 0.25 / (number + 1), PLAIN))
    for text in price[1:]:
        found.append(Wording(join([text, *brand_words, *facets, words.nouns[0]]), 0.5, PLAIN))
    if facets and not is_series:
        found.append(Wording(join([words.nouns[0], *facets, *brand_words]), 0.2, PLAIN))
    if brand_words and not facets:
        found.append(Wording(brand_words[0], 1.5, AMBIGUOUS))
    if not brand_words and not facets and not price:
        found.extend(Wording(word, 1.2, AMBIGUOUS) for word in words.ambiguous)
    if not is_series:
        found.extend(_synonymous(words.nouns[0], words.synonyms, facets, synonyms, [*price[:1], *brand_words], join))
    return found


def _synonymous(noun, noun_synonyms, facets, synonyms, ahead, join) -> list[Wording]:  # type: ignore[no-untyped-def]
    facet_choices = [(facet, *synonyms.get(facet, ())) for facet in facets]
    found = []
    for chosen_noun, *chosen_facets in islice(product((noun, *noun_synonyms), *facet_choices), 1, 13):
        found.append(Wording(join([*ahead, *chosen_facets, chosen_noun]), 1.0, SYNONYM))
    return found


def _audience_words(vocabulary: Vocabulary, audience: str | None) -> tuple[str, ...]:
    return () if audience is None else vocabulary.audiences[audience].query
