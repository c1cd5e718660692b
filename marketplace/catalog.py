"""What the shop sells: the catalog as arrays, and the generated one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from marketplace.config import CatalogSettings
from marketplace.vocabulary import LeafWords, Vocabulary

NONE = -1
FACETS = 8
TASTE_FACETS = 4


@dataclass(frozen=True)
class Catalog:
    """The catalog as the simulation needs it; row = item.

    A facet is anything else that an item can be asked for by: an attribute value, a series name, or, for a given
    catalog, a word of the title.

    Attributes:
      rows: what is written to `catalog.jsonl.gz`, without `available_from` [items].
      leaf: leaf category [items].
      brand: brand, NONE for none [items].
      shop_region: region of the item's shop [items].
      price_level: log price against its leaf's mean, in standard deviations; NaN without a price [items].
      facets: facets, padded by NONE [items, facets].
      popularity: prior that the engine knows, mean 0 and deviation 1 [items].
      quality: hidden from the engine, mean 0 and deviation 1 [items].
      available_day: first day on sale, 0 for the first day of the log or before [items].
      paths: category path from the root, per leaf.
      brand_names: per brand.
      brand_style: hidden style of a brand [brands, style dimensions].
      facet_names: per facet.
      facet_is_taste: facets that one may like for good, as a color [facets].
      leaf_words: how generated leaves are named; empty for a given catalog.
      audience: audience key per leaf, None where it has none.
    """

    rows: pl.DataFrame
    leaf: np.ndarray
    brand: np.ndarray
    shop_region: np.ndarray
    price_level: np.ndarray
    facets: np.ndarray
    popularity: np.ndarray
    quality: np.ndarray
    available_day: np.ndarray
    paths: tuple[tuple[str, ...], ...]
    brand_names: tuple[str, ...]
    brand_style: np.ndarray
    facet_names: tuple[str, ...]
    facet_is_taste: np.ndarray
    leaf_words: tuple[LeafWords, ...]
    audience: tuple[str | None, ...]

    @property
    def items(self) -> int:
        """Number of items."""
        return len(self.leaf)

    @cached_property
    def taste_facets(self) -> np.ndarray:
        """The facets of `facets` that one may like for good, padded by NONE [at most TASTE_FACETS, items]."""
        liked = (self.facets != NONE) & self.facet_is_taste[self.facets]
        first = np.argsort(~liked, axis=1, kind="stable")[:, :TASTE_FACETS]
        kept = np.where(np.take_along_axis(liked, first, axis=1), np.take_along_axis(self.facets, first, axis=1), NONE)
        return np.ascontiguousarray(kept.T)


def launch_days(items: int, share: float, days: int, rng: np.random.Generator) -> np.ndarray:
    """First day on sale per item [items]: `share` of them spread evenly over all days but the first."""
    available = np.zeros(items, np.int32)
    chosen = rng.permutation(items)[: round(items * share)]
    available[chosen] = 1 + np.arange(len(chosen)) % (days - 1)
    return available


def standardized(values: np.ndarray) -> np.ndarray:
    """`values` with mean 0 and deviation 1, as float32."""
    return ((values - values.mean()) / max(values.std(), 1e-9)).astype(np.float32)


def price_levels(prices: np.ndarray, leaf: np.ndarray, leaves: int) -> np.ndarray:
    """Log price against the leaf's mean, in standard deviations, within [-2.5, 2.5]; NaN stays NaN [items]."""
    known = ~np.isnan(prices)
    logs = np.log(np.maximum(prices, 0.01))
    count = np.maximum(np.bincount(leaf[known], minlength=leaves), 1)
    mean = np.bincount(leaf[known], logs[known], leaves) / count
    spread = np.sqrt(np.bincount(leaf[known], (logs[known] - mean[leaf[known]]) ** 2, leaves) / count)
    return np.clip((logs - mean[leaf]) / np.maximum(spread[leaf], 0.2), -2.5, 2.5).astype(np.float32)


@dataclass(frozen=True)
class _Brands:
    names: list[str]
    middles: list[set[str]]
    style: np.ndarray
    price: np.ndarray
    popularity: np.ndarray


def generate_catalog(settings: CatalogSettings, vocabulary: Vocabulary, days: int, rng: np.random.Generator) -> Catalog:
    """A catalog of `settings.items` items in the words of `vocabulary`."""
    leaves = vocabulary.leaves
    items = settings.items
    sizes = (1 + rng.permutation(len(leaves))) ** -settings.leaf_size_exponent
    leaf = np.sort(rng.choice(len(leaves), items, p=sizes / sizes.sum())).astype(np.int32)
    leaf[: min(items, len(leaves))] = np.arange(min(items, len(leaves)))
    brands = _brands(settings, vocabulary, rng)
    brand = _brands_of_items(leaf, leaves, brands, rng)
    quality = standardized(rng.normal(size=items) + 0.5 * brands.popularity[brand])
    popularity = standardized(brands.popularity[brand] + 0.6 * quality + rng.normal(size=items))
    available = launch_days(items, settings.new_items_share, days, rng)
    popularity[available > 0] = popularity.min()
    median = np.array([words.median_price for words in leaves])[leaf]
    prices = np.round(median * np.exp(0.45 * brands.price[brand] + 0.3 * rng.normal(size=items)), 2)
    facets, facet_names, facet_group = _facets(leaf, leaves, brand, vocabulary, rng)
    titles = _titles(leaf, leaves, brand, brands, facets, facet_names, facet_group, vocabulary, rng)
    shops = max(2, items // 150)
    shop = (brand * 7 + rng.integers(0, 4, items)) % shops
    colors = _values_of_group(facets, facet_names, facet_group, vocabulary.color_group)
    rows = pl.DataFrame(
        {
            "item_id": [f"i{number:06d}" for number in rng.permutation(items)],
            "title": titles,
            "brand": [brands.names[number] for number in brand],
            "category": [list(leaves[number].path) for number in leaf],
            "shop": [f"shop-{number:03d}" for number in shop],
            "price": prices,
            "color": [values[0] if values else None for values in colors],
            "attributes": [[facet_names[facet] for facet in row if facet != NONE] for row in facets],
            "rating": np.round(np.clip(4.0 + 0.4 * quality.astype(float), 1, 5), 1),
            "popularity": np.round(popularity.astype(float), 4),
        },
        schema_overrides={"color": pl.String, "attributes": pl.List(pl.String)},
    )
    return Catalog(
        rows=rows,
        leaf=leaf,
        brand=brand,
        shop_region=(shop % 8).astype(np.int32),
        price_level=price_levels(prices, leaf, len(leaves)),
        facets=facets,
        popularity=popularity,
        quality=quality,
        available_day=available,
        paths=tuple(words.path for words in leaves),
        brand_names=tuple(brands.names),
        brand_style=brands.style,
        facet_names=tuple(facet_names),
        facet_is_taste=np.array([group in vocabulary.taste_groups for group in facet_group]),
        leaf_words=leaves,
        audience=tuple(words.audience for words in leaves),
    )


def _brands(settings: CatalogSettings, vocabulary: Vocabulary, rng: np.random.Generator) -> _Brands:
    middles = sorted({words.path[-2] for words in vocabulary.leaves})
    made = [first + last for first in vocabulary.first_syllables for last in vocabulary.last_syllables if first != last]
    wanted = min(len(made), max(len(middles), settings.items // settings.items_per_brand))
    names = list(vocabulary.named_brands)
    sells = [set(places) for places in vocabulary.named_brands.values()]
    for number, index in enumerate(rng.permutation(len(made))[:wanted]):
        names.append(made[index].capitalize())
        extra = rng.permutation(len(middles))[: rng.integers(0, 3)]
        sells.append({middles[number % len(middles)], *(middles[place] for place in extra)})
    style = rng.normal(size=(len(names), settings.style_dimensions)).astype(np.float32)
    return _Brands(
        names=names,
        middles=sells,
        style=style / np.linalg.norm(style, axis=1, keepdims=True),
        price=rng.normal(size=len(names)),
        popularity=rng.normal(size=len(names)) + np.where(np.arange(len(names)) < len(vocabulary.named_brands), 1, 0),
    )


def _brands_of_items(
    leaf: np.ndarray, leaves: tuple[LeafWords, ...], brands: _Brands, rng: np.random.Generator
) -> np.ndarray:
    brand = np.zeros(len(leaf), np.int32)
    for number, words in enumerate(leaves):
        here = np.flatnonzero(leaf == number)
        sellers = np.array([index for index, middles in enumerate(brands.middles) if words.path[-2] in middles])
        weights = np.exp(0.8 * brands.popularity[sellers])
        brand[here] = rng.choice(sellers, len(here), p=weights / weights.sum())
    return brand


def _facets(
    leaf: np.ndarray,
    leaves: tuple[LeafWords, ...],
    brand: np.ndarray,
    vocabulary: Vocabulary,
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[str], list[str]]:
    """Facets [items, FACETS] (column 0 the series), their names and their groups."""
    names: list[str] = []
    groups: list[str] = []
    members: dict[str, np.ndarray] = {}
    for group, values in vocabulary.attributes.items():
        members[group] = np.arange(len(names), len(names) + len(values))
        names.extend(values)
        groups.extend([group] * len(values))
    facets = np.full((len(leaf), FACETS), NONE, np.int32)
    for number, words in enumerate(leaves):
        here = np.flatnonzero(leaf == number)
        for column, group in enumerate(words.attribute_groups, start=1):
            weights = (1.0 + np.arange(len(members[group]))) ** -0.6
            drawn = rng.choice(members[group], len(here), p=weights / weights.sum())
            facets[here, column] = np.where(rng.random(len(here)) < 0.85, drawn, NONE)
    series: dict[tuple[int, int, int], int] = {}
    taken = {name.lower() for name in names}
    for item, draw in enumerate(rng.integers(0, 4, len(leaf))):
        key = (int(brand[item]), int(leaf[item]), int(draw))
        if key not in series:
            series[key] = len(names)
            names.append(_series_name(vocabulary, taken, rng))
            groups.append("series")
        facets[item, 0] = series[key]
    return facets, names, groups


def _series_name(vocabulary: Vocabulary, taken: set[str], rng: np.random.Generator) -> str:
    while True:
        first, last = rng.integers(0, len(vocabulary.first_syllables), 2)
        letter, number = "acekmrstxz"[rng.integers(0, 10)], rng.integers(1, 100)
        name = (
            f"{vocabulary.first_syllables[last]}{vocabulary.first_syllables[first]}{vocabulary.joiner}{letter}{number}"
        )
        if name not in taken:
            taken.add(name)
            return name


def _titles(
    leaf: np.ndarray,
    leaves: tuple[LeafWords, ...],
    brand: np.ndarray,
    brands: _Brands,
    facets: np.ndarray,
    facet_names: list[str],
    facet_group: list[str],
    vocabulary: Vocabulary,
    rng: np.random.Generator,
) -> list[str]:
    titles = []
    choices = rng.random((len(leaf), 4))
    for item, (noun_draw, order_draw, filler_draw, drop_draw) in enumerate(choices):
        words = leaves[leaf[item]]
        noun = words.nouns[0 if noun_draw < 0.65 else -1]
        values = [facet_names[facet] for facet in facets[item, 1:] if facet != NONE]
        if drop_draw < 0.15 and values:
            values.pop()
        ahead = values[: 1 if order_draw < 0.5 else 0]
        behind = values[len(ahead) :]
        audience = [] if words.audience is None else [vocabulary.audiences[words.audience].title]
        filler = [vocabulary.filler[int(filler_draw * 2 * len(vocabulary.filler))]] if filler_draw < 0.5 else []
        parts = [brands.names[brand[item]], facet_names[facets[item, 0]], *audience, *ahead, noun, *behind, *filler]
        titles.append(_styled(parts, vocabulary))
    return titles


def _styled(parts: list[str], vocabulary: Vocabulary) -> str:
    text = vocabulary.joiner.join(parts)
    if vocabulary.language != "english":
        return text
    return " ".join(word[0].upper() + word[1:] for word in text.split(" "))


def _values_of_group(facets: np.ndarray, facet_names: list[str], facet_group: list[str], group: str) -> list[list[str]]:
    return [[facet_names[facet] for facet in row if facet != NONE and facet_group[facet] == group] for row in facets]
