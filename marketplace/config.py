"""Settings of the simulated shop. Rates are shares of one, times in seconds, weights in logits.

Rates of clicks, carts, misspellings and browsing are round numbers of the size that shops report. The strength of
tastes, the size of the leaves and the noise of the pages were adjusted over a few rounds against three rankings that
need no training: the lexical engine, one that knows the need, and one that knows the need and the user's lasting
tastes; so that the three lie apart at 100 items. They were not set blind to models: the last round, which made
tastes stronger and the demo's leaves fewer and larger, came after models trained on an earlier version of the log
had gained nothing from a user's history. That personal models gain here is therefore by design, not a finding.
"""

from datetime import date
from typing import Literal

from pydantic import Field

from schema.settings import Settings


class CatalogSettings(Settings):
    """What the shop sells."""

    path: str = Field(default="", description="a given catalog file, as --catalog sets it; empty: generate one")
    ignored_columns: tuple[str, ...] = Field(default=("esci_query_ids",), description="columns not to be looked at")
    language: Literal["english", "chinese"] = "english"
    items: int = Field(default=24_000, ge=50, description="items of a generated catalog; a given one has its own")
    items_per_brand: int = Field(default=60, ge=1)
    leaves: int = Field(default=0, ge=0, description="leaf categories of a generated catalog; 0: all known")
    leaf_size_exponent: float = Field(default=0.7, ge=0, description="Zipf exponent of the sizes of leaf categories")
    new_items_share: float = Field(default=0.15, ge=0, le=0.9, description="items that go on sale during the log")
    style_dimensions: int = Field(default=6, ge=1, description="hidden dimensions of brand style and of liking it")


class SearcherSettings(Settings):
    """Who searches."""

    users: int = Field(default=3_000, ge=1)
    late_joiners_share: float = Field(default=0.2, ge=0, le=1, description="users whose first day is not the first day")
    favorite_leaves: int = Field(default=8, ge=1)
    favorite_leaf_share: float = Field(default=0.75, ge=0, le=1, description="sessions that start in a favorite leaf")
    loyal_brands: int = Field(default=6, ge=1)
    missing_profile_share: float = Field(default=0.05, ge=0, le=1)
    mean_searches_per_session: float = Field(default=2.2, ge=1)
    same_intent_share: float = Field(default=0.55, ge=0, le=1, description="later searches that reword the need")
    same_leaf_share: float = Field(default=0.3, ge=0, le=1, description="later searches for a need in the same leaf")


class QuerySettings(Settings):
    """What is searched for, and how it is typed."""

    intents: int = Field(default=20_000, ge=10)
    detailed_share: float = Field(default=0.0, ge=0, le=1, description="kinds of needs for three attributes at once")
    zipf_exponent: float = Field(default=0.9, ge=0)
    synonym_share: float = Field(default=0.25, ge=0, le=1, description="searches worded as no title is, if possible")
    misspelling_share: float = Field(default=0.1, ge=0, le=1)
    spellings: int = Field(default=3, ge=1, description="misspellings that exist of one query")


class EngineSettings(Settings):
    """The shop's lexical engine: BM25 with a popularity prior."""

    depth: int = Field(default=1_000, ge=10, description="matches that the engine hands to the ranking stage")
    popularity_weight: float = Field(default=0.08, ge=0, description="share of the best BM25 score per deviation")
    noise: float = Field(default=0.15, ge=0, description="per-request noise, in shares of the best BM25 score")


class PageSettings(Settings):
    """How a result page is ranked and blended."""

    slots: int = Field(default=12, ge=1)
    organic_share: float = Field(default=0.67, gt=0, le=1, description="slots of the lexical engine")
    ranked: int = Field(default=200, ge=1, description="best matches of the engine that are ranked for the user")
    ranking_weight: float = Field(default=0.4, ge=0, description="share of the best BM25 score per logit of taste")
    taste_noise: float = Field(default=1.0, ge=0, description="how badly the shop knows a user's taste, in logits")
    new_arrival_share: float = Field(default=0.25, ge=0, le=1, description="of the other slots: newest of the leaf")
    recommended_share: float = Field(default=0.4, ge=0, le=1, description="of the other slots: to the user's taste")


class BehaviorSettings(Settings):
    """What people do with a page. Utilities are in logits."""

    look_further: float = Field(default=0.82, ge=0, lt=1, description="chance to look at the next slot of the page")
    click_bias: float = -1.0
    relevance_weight: float = Field(default=1.0, ge=0, description="weight of log relevance")
    style_weight: float = 0.7
    loyalty_weight: float = 1.3
    taste_weight: float = 0.8
    price_weight: float = 0.45
    region_weight: float = 0.25
    quality_weight: float = 0.35
    session_weight: float = 0.9
    session_focus_share: float = Field(default=0.35, ge=0, le=1)
    choice_noise: float = Field(default=0.7, ge=0)
    noise_click_share: float = Field(default=0.02, ge=0, le=1, description="requests with a click that means nothing")
    browse_when_disappointed: float = Field(default=0.6, ge=0, le=1)
    browse_otherwise: float = Field(default=0.12, ge=0, le=1)
    browse_width: int = Field(default=30, ge=1, description="items looked over in the category tree")
    similar_after_click: float = Field(default=0.25, ge=0, le=1)
    similar_width: int = Field(default=12, ge=1)
    come_back: float = Field(default=0.2, ge=0, le=1, description="chance to look for what was clicked before")
    cart_bias: float = -1.8
    order_after_cart: float = Field(default=0.4, ge=0, le=1)


class LogSettings(Settings):
    """How the log is delivered: at least once, late and out of order."""

    duplicate_share: float = Field(default=0.01, ge=0, le=0.5)
    late_share: float = Field(default=0.01, ge=0, le=0.5, description="events delivered one to three days later")
    out_of_order_share: float = Field(default=0.03, ge=0, le=0.5, description="events delivered minutes later")


class MarketplaceSettings(Settings):
    """All of a simulation; `seed` and these settings decide every byte."""

    seed: int = Field(default=0, ge=0)
    start: date = date(2025, 3, 1)
    days: int = Field(default=45, ge=2)
    searches: int = Field(default=94_000, ge=10, description="expected searches over all days")
    daily_growth: float = Field(default=0.028, gt=-0.5, lt=0.5, description="growth of traffic per day")
    catalog: CatalogSettings = CatalogSettings()
    searchers: SearcherSettings = SearcherSettings()
    queries: QuerySettings = QuerySettings()
    engine: EngineSettings = EngineSettings()
    page: PageSettings = PageSettings()
    behavior: BehaviorSettings = BehaviorSettings()
    log: LogSettings = LogSettings()
