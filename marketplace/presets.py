"""Ready-made sizes of a shop, by name."""

from marketplace.config import CatalogueSettings, MarketplaceSettings, QuerySettings, SearcherSettings
from schema.settings import InputError

PRESETS: dict[str, MarketplaceSettings] = {
    "tiny": MarketplaceSettings(
        searches=3_200,
        catalogue=CatalogueSettings(items=600, items_per_brand=25),
        searchers=SearcherSettings(users=150),
        queries=QuerySettings(intents=600),
    ),
    "demo": MarketplaceSettings(),
    "large": MarketplaceSettings(
        searches=1_500_000,
        catalogue=CatalogueSettings(items=100_000, items_per_brand=160),
        searchers=SearcherSettings(users=60_000),
        queries=QuerySettings(intents=80_000),
    ),
    "chinese": MarketplaceSettings(
        searches=12_000,
        catalogue=CatalogueSettings(language="chinese", items=3_000, items_per_brand=30),
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
