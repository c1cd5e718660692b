"""Settings of the simulated shop. Rates are shares of one, times in seconds, weights in logits.

The rates were set once, from what is commonly reported of shops, before any model was trained on their logs;
they are not fitted to make any model look good.
"""

from datetime import date
from typing import Literal

from pydantic import Field

from schema.settings import Settings


class CatalogueSettings(Settings):
    """What the shop sells."""

    language: Literal["english", "chinese"] = "english"
    items: int = Field(24_000, ge=50, description="items of a generated catalogue; a given one has its own")
    items_per_brand: int = Field(60, ge=1)
    leaf_size_exponent: float = Field(0.7, ge=0, description="Zipf exponent of the sizes of leaf categories")
    new_items_share: float = Field(0.15, ge=0, le=0.9, description="items that go on sale during the log")
    style_dimensions: int = Field(6, ge=1, description="hidden dimensions of brand style and of liking it")


class SearcherSettings(Settings):
    """Who searches."""

    users: int = Field(3_000, ge=1)
    late_joiners_share: float = Field(0.2, ge=0, le=1, description="users whose first day is not the first day")
    favourite_leaves: int = Field(8, ge=1)
    favourite_leaf_share: float = Field(0.75, ge=0, le=1, description="sessions that start in a favourite leaf")
    loyal_brands: int = Field(6, ge=1)
    missing_profile_share: float = Field(0.05, ge=0, le=1)
    mean_searches_per_session: float = Field(2.2, ge=1)
    same_intent_share: float = Field(0.55, ge=0, le=1, description="later searches that reword the session's need")
    same_leaf_share: float = Field(0.3, ge=0, le=1, description="later searches for another need in the same leaf")


class QuerySettings(Settings):
    """What is searched for, and how it is typed."""

    intents: int = Field(20_000, ge=10)
    zipf_exponent: float = Field(0.9, ge=0)
    synonym_share: float = Field(0.15, ge=0, le=1, description="searches worded as no title is, where a way exists")
    misspelling_share: float = Field(0.06, ge=0, le=1)
    spellings: int = Field(3, ge=1, description="misspellings that exist of one query")


class EngineSettings(Settings):
    """The shop's lexical engine: BM25 with a popularity prior."""

    depth: int = Field(128, ge=10, description="matches that one request's page is chosen from")
    popularity_weight: float = Field(0.12, ge=0, description="share of the best BM25 score per standard deviation")
    noise: float = Field(0.12, ge=0, description="per-request noise, in shares of the best BM25 score")


class PageSettings(Settings):
    """How a result page is blended."""

    slots: int = Field(12, ge=1)
    organic_share: float = Field(0.67, gt=0, le=1, description="slots of the lexical engine")
    new_arrival_share: float = Field(0.25, ge=0, le=1, description="of the other slots: newest items of the category")
    recommended_share: float = Field(0.4, ge=0, le=1, description="of the other slots: to this user's taste")
    recommender_noise: float = Field(1.5, ge=0, description="how badly the shop knows that taste")


class BehaviourSettings(Settings):
    """What people do with a page. Utilities are in logits."""

    look_further: float = Field(0.82, ge=0, lt=1, description="chance to look at the next slot of the page")
    click_bias: float = -1.0
    relevance_weight: float = Field(1.0, ge=0, description="weight of log relevance")
    style_weight: float = 0.5
    loyalty_weight: float = 1.0
    taste_weight: float = 0.6
    price_weight: float = 0.35
    region_weight: float = 0.25
    quality_weight: float = 0.35
    session_weight: float = 0.9
    session_focus_share: float = Field(0.35, ge=0, le=1)
    choice_noise: float = Field(0.7, ge=0)
    noise_click_share: float = Field(0.02, ge=0, le=1, description="requests with a click that means nothing")
    browse_when_disappointed: float = Field(0.5, ge=0, le=1)
    browse_otherwise: float = Field(0.1, ge=0, le=1)
    browse_width: int = Field(30, ge=1, description="items looked over in the category tree")
    similar_after_click: float = Field(0.12, ge=0, le=1)
    similar_width: int = Field(12, ge=1)
    cart_bias: float = -1.8
    order_after_cart: float = Field(0.4, ge=0, le=1)


class LogSettings(Settings):
    """How the log is delivered: at least once, late and out of order."""

    duplicate_share: float = Field(0.01, ge=0, le=0.5)
    late_share: float = Field(0.01, ge=0, le=0.5, description="events delivered one to three days later")
    out_of_order_share: float = Field(0.03, ge=0, le=0.5, description="events delivered minutes later")


class MarketplaceSettings(Settings):
    """All of a simulation; `seed` and these settings decide every byte."""

    seed: int = Field(0, ge=0)
    start: date = date(2025, 3, 1)
    days: int = Field(45, ge=2)
    searches: int = Field(92_000, ge=10, description="expected searches over all days")
    daily_growth: float = Field(0.025, gt=-0.5, lt=0.5, description="growth of traffic per day")
    catalogue: CatalogueSettings = CatalogueSettings()
    searchers: SearcherSettings = SearcherSettings()
    queries: QuerySettings = QuerySettings()
    engine: EngineSettings = EngineSettings()
    page: PageSettings = PageSettings()
    behaviour: BehaviourSettings = BehaviourSettings()
    log: LogSettings = LogSettings()
