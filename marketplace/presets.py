"""Ready-made sizes of a shop, by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from marketplace.config import CatalogSettings, MarketplaceSettings, QuerySettings, SearcherSettings
from schema.settings import InputError

PRESETS: dict[str, MarketplaceSettings] = {
    "tiny": MarketplaceSettings(
        searches=3_200,
        catalog=CatalogSettings(items=600, items_per_brand=25),
        searchers=SearcherSettings(users=150),
        queries=QuerySettings(intents=600),
    ),
    # Few leaves, so that a plain query matches several times the hundred items that recall is measured at.
    "demo": MarketplaceSettings(catalog=CatalogSettings(leaves=60)),
    # The demo with queries of five words and more on average, which a bag of words alone reads less well.
    "long-queries": MarketplaceSettings(
        catalog=CatalogSettings(leaves=60),
        queries=QuerySettings(detailed_share=1.0, zipf_exponent=0.4),
    ),
    "large": MarketplaceSettings(
        searches=1_500_000,
        catalog=CatalogSettings(items=100_000, items_per_brand=160),
        searchers=SearcherSettings(users=60_000),
        queries=QuerySettings(intents=80_000),
    ),
    "chinese": MarketplaceSettings(
        searches=12_000,
        catalog=CatalogSettings(language="chinese", items=3_000, items_per_brand=30),
        searchers=SearcherSettings(users=600),
        queries=QuerySettings(intents=3_000),
    ),
    "esci": MarketplaceSettings(
        searches=70_000,
        searchers=SearcherSettings(users=2_000),
        queries=QuerySettings(intents=16_000),
    ),
}


def preset(name: str) -> MarketplaceSettings:
    """The settings of a preset.

    Raises:
      InputError: there is no preset of that name.
    """
    if name not in PRESETS:
        raise InputError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def with_overrides(settings: MarketplaceSettings, overrides: Sequence[str]) -> MarketplaceSettings:
    """`settings` with `key=value` pairs put in; a key of a group is written `page.slots`, a value as YAML.

    Raises:
      InputError: a pair without `=`, an unknown key, or a value that does not fit.
    """
    values: dict[str, Any] = settings.model_dump(mode="json")
    for pair in overrides:
        key, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"--set {pair} has no value; write it as key=value, for example page.slots=10")
        *groups, name = key.strip().split(".")
        group = values
        for part in groups:
            group = group.setdefault(part, {})
            if not isinstance(group, dict):
                raise InputError(f"--set {pair}: {part!r} is a single value, not a group of settings")
        try:
            group[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"--set {pair}: {text!r} is not a value that can be read; quote it") from None
    return MarketplaceSettings.parse(values, "--set")


def choose_settings(
    name: str | None, catalog: str | Path | None, seed: int, overrides: Sequence[str] = ()
) -> MarketplaceSettings:
    """Settings as a user asks for them: a preset, maybe a given catalog, a seed and single settings.

    Raises:
      InputError: an unknown preset or setting, or the preset for given catalogs without one.
    """
    chosen = preset(name or ("esci" if catalog else "demo"))
    if name == "esci" and not catalog:
        raise InputError("the preset esci is for a given catalog; say which with --catalog FILE")
    given = {"path": str(catalog)} if catalog else {}
    shop = chosen.catalog.model_copy(update=given)
    return with_overrides(chosen.model_copy(update={"seed": seed, "catalog": shop}), overrides)
