import numpy as np
import pytest

from marketplace.catalog import NONE, generate_catalog, launch_days, price_levels
from marketplace.config import CatalogSettings
from marketplace.simulation import World
from marketplace.vocabulary import load_vocabulary


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_no_title_holds_a_synonym_of_its_own_thing(language: str) -> None:
    vocabulary = load_vocabulary(language)
    settings = CatalogSettings(items=3_000, language=language)  # type: ignore[arg-type]
    catalog = generate_catalog(settings, vocabulary, 10, np.random.default_rng(0))
    synonyms = 0
    for title, leaf, facets in zip(catalog.rows["title"], catalog.leaf, catalog.facets, strict=True):
        padded = f" {title.lower().replace(',', ' ')} " if vocabulary.joiner else title
        values = [catalog.facet_names[facet] for facet in facets if facet != NONE]
        texts = list(vocabulary.leaves[leaf].synonyms)
        texts += [text for value in values for text in vocabulary.facet_synonyms.get(value, ())]
        synonyms += len(texts)
        for text in texts:
            assert (f" {text} " if vocabulary.joiner else text) not in padded
    assert synonyms > 9_000


def test_every_leaf_has_items_in_a_zipf_law_of_sizes() -> None:
    vocabulary = load_vocabulary("english")
    catalog = generate_catalog(CatalogSettings(items=8_000), vocabulary, 10, np.random.default_rng(1))
    sizes = np.sort(np.bincount(catalog.leaf, minlength=len(vocabulary.leaves)))[::-1]
    assert sizes.min() > 0
    assert sizes[0] > 8 * sizes[len(sizes) // 4]


def test_titles_name_brand_noun_and_audience(world: World) -> None:
    catalog = world.catalog
    for item in range(0, catalog.items, 97):
        title = catalog.rows["title"][item].lower()
        words = catalog.leaf_words[catalog.leaf[item]]
        assert catalog.brand_names[catalog.brand[item]].lower() in title
        assert any(noun in title for noun in words.nouns)
        assert words.audience is None or words.audience in title
        assert catalog.rows["category"][item].to_list() == list(words.path)


def test_chinese_titles_have_no_spaces() -> None:
    settings = CatalogSettings(items=500, language="chinese")
    catalog = generate_catalog(settings, load_vocabulary("chinese"), 10, np.random.default_rng(0))
    assert not any(" " in title for title in catalog.rows["title"])


def test_launches_are_spread_evenly_over_all_days_but_the_first() -> None:
    days = launch_days(1_000, 0.2, 11, np.random.default_rng(0))
    assert np.bincount(days).tolist() == [800] + [20] * 10


def test_price_level_is_the_deviation_from_the_leaf() -> None:
    prices = np.array([10.0, 20.0, 40.0, np.nan, 7.0])
    levels = price_levels(prices, np.array([0, 0, 0, 0, 1]), 2)
    spread = np.std(np.log([10, 20, 40]))
    assert levels[:3] == pytest.approx([-np.log(2) / spread, 0, np.log(2) / spread], abs=1e-5)
    assert np.isnan(levels[3])
    assert levels[4] == 0


def test_new_items_have_no_popularity_yet(world: World) -> None:
    catalog = world.catalog
    new = catalog.available_day > 0
    assert (catalog.popularity[new] == catalog.popularity.min()).all()
