import numpy as np
import pytest

from marketplace.config import MarketplaceSettings
from marketplace.engine import words_of
from marketplace.presets import PRESETS, choose_settings, preset, with_overrides
from marketplace.simulation import build_needs, build_queries
from schema.settings import InputError


def test_presets_are_of_the_promised_sizes() -> None:
    assert set(PRESETS) == {"tiny", "demo", "long-queries", "large", "chinese", "esci"}
    assert preset("demo").catalog.items == 24_000
    assert preset("chinese").catalog.language == "chinese"
    # Seven events per search, as the demo has.
    assert preset("large").searches * 7 > 10_000_000


def test_long_queries_have_five_words_on_average() -> None:
    settings = with_overrides(preset("long-queries"), ["catalog.items=1500", "queries.intents=1500"])
    catalog, intents, *_ = build_needs(settings)
    pool = build_queries(settings, catalog, intents)
    rng = np.random.default_rng(0)
    numbers = pool.draw(rng.choice(intents.count, 2_000, p=intents.weight), 0.0, rng)
    assert np.mean([len(words_of(pool.text(number))) for number in numbers]) >= 5


def test_overrides_reach_into_groups_and_are_read_as_yaml() -> None:
    settings = with_overrides(preset("tiny"), ["page.slots=5", "start=2026-01-31", "catalog.language=chinese"])
    assert settings.page.slots == 5
    assert settings.start.isoformat() == "2026-01-31"
    assert settings.catalog.language == "chinese"
    assert settings.searches == preset("tiny").searches
    assert with_overrides(preset("tiny"), []) == preset("tiny")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("page.slots", "has no value"),
        ("page.slot=3", "did you mean `slots`"),
        ("page.slots=many", "page.slots"),
        ("days=1", "greater than or equal to 2"),
        ("days.first=1", "single value"),
        ("page.slots=[", "not a value"),
        ("log.late_share=0.9", "log.late_share"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(pair: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_overrides(preset("tiny"), [pair])


def test_esci_is_the_preset_of_a_given_catalog_by_default() -> None:
    assert choose_settings(None, "items.csv", 3).searches == preset("esci").searches
    assert choose_settings("tiny", "items.csv", 3).catalog.path == "items.csv"
    assert choose_settings(None, None, 3) == preset("demo").model_copy(update={"seed": 3})
    with pytest.raises(InputError, match="--catalog"):
        choose_settings("esci", None, 0)
    with pytest.raises(InputError, match="choose one of tiny, demo"):
        preset("huge")


def test_settings_survive_json() -> None:
    assert MarketplaceSettings.from_json(preset("large").to_json()) == preset("large")
