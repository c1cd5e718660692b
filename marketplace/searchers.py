"""Who searches: profiles, lasting tastes, and the sessions of a day."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from marketplace.catalog import NONE, Catalog
from marketplace.config import SearcherSettings
from marketplace.intents import Intents
from marketplace.shelves import Shelves

GENDERS = ("female", "male")
AGE_GROUPS = ("18-24", "25-34", "35-44", "45-59", "60+")
PURCHASING_POWER = ("low", "middle", "high", "very high")
REGIONS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
PROFILE_COLUMNS = ("gender", "age_group", "purchasing_power", "region")
TASTES = 3
DAY_MS = 86_400_000
_WOMEN = frozenset({"women", "girls", "women's", "女士", "女装", "makeup"})
_MEN = frozenset({"men", "boys", "men's", "男士", "男装"})
_CHUNK = 4_096


@dataclass(frozen=True)
class Searchers:
    """The users; row = user, in the order of their first day.

    Attributes:
      rows: what is written to `users.jsonl.gz`; a profile value may be null [users].
      first_day: first day on which the user may search [users].
      activity: sum of the activities before each user, and of all [users + 1].
      region: region [users].
      price_taste: liked price level, in the standard deviations of `Catalog.price_level` [users].
      style: liked style, to be multiplied with `Catalog.brand_style` [users, style dimensions].
      brands: brands the user is loyal to, NONE possible [users, loyal brands].
      tastes: liked facets, NONE possible [users, TASTES].
      leaves: favorite leaves, the first the dearest [users, favorite leaves].
    """

    rows: pl.DataFrame
    first_day: np.ndarray
    activity: np.ndarray
    region: np.ndarray
    price_taste: np.ndarray
    style: np.ndarray
    brands: np.ndarray
    tastes: np.ndarray
    leaves: np.ndarray


@dataclass(frozen=True)
class Searches:
    """The searches of one day, in the order of time; row = search.

    Attributes:
      user: who searches [searches].
      time: when, in ms since the start of the log [searches].
      intent: what is wanted [searches].
      focus_brand: brand that this session looks for, or NONE [searches].
      focus_facet: facet that this session looks for, or NONE [searches].
      price_shift: change of the liked price level in this session [searches].
    """

    user: np.ndarray
    time: np.ndarray
    intent: np.ndarray
    focus_brand: np.ndarray
    focus_facet: np.ndarray
    price_shift: np.ndarray


def generate_searchers(
    settings: SearcherSettings,
    catalog: Catalog,
    intents: Intents,
    shelves: Shelves,
    days: int,
    rng: np.random.Generator,
) -> Searchers:
    """Users whose tastes follow from their profiles, with noise."""
    users = settings.users
    gender = rng.integers(0, len(GENDERS), users)
    age = rng.choice(len(AGE_GROUPS), users, p=[0.18, 0.28, 0.22, 0.2, 0.12])
    power = rng.choice(len(PURCHASING_POWER), users, p=[0.3, 0.4, 0.22, 0.08])
    region = rng.integers(0, len(REGIONS), users)
    leaves = _favorite_leaves(settings, catalog, intents, gender * len(AGE_GROUPS) + age, rng)
    dimensions = catalog.brand_style.shape[1]
    age_style = rng.normal(size=(len(AGE_GROUPS) * len(GENDERS), dimensions))
    style = rng.normal(size=(users, dimensions)) + 0.7 * age_style[gender * len(AGE_GROUPS) + age]
    style *= 2.0 / np.linalg.norm(style, axis=1, keepdims=True)
    late = rng.random(users) < settings.late_joiners_share
    first_day = np.sort(np.where(late, rng.integers(1, days, users), 0))
    rows: dict[str, list[str | None]] = {"user_id": [f"u{number:06d}" for number in range(users)]}
    for column, names, value in zip(
        PROFILE_COLUMNS,
        (GENDERS, AGE_GROUPS, PURCHASING_POWER, REGIONS),
        (gender, age, power, region),
        strict=True,
    ):
        known = rng.random(users) >= settings.missing_profile_share
        rows[column] = [names[at] if told else None for at, told in zip(value, known, strict=True)]
    return Searchers(
        rows=pl.DataFrame(rows, schema=dict.fromkeys(rows, pl.String)),
        first_day=first_day,
        activity=np.concatenate([[0.0], np.cumsum(rng.lognormal(0.0, 0.9, users))]),
        region=region,
        price_taste=(0.8 * (power - 1.1) + 0.5 * rng.normal(size=users)).astype(np.float32),
        style=style.astype(np.float32),
        brands=_loyal_brands(settings, catalog, shelves, leaves, style, rng),
        tastes=_tastes(catalog, shelves, leaves, rng),
        leaves=leaves,
    )


def searches_of_day(
    settings: SearcherSettings,
    searchers: Searchers,
    intents: Intents,
    day: int,
    expected: float,
    focus_share: float,
    rng: np.random.Generator,
) -> Searches:
    """The searches of one day, about `expected` of them, in sessions of one user and mostly one need."""
    joined = int(np.searchsorted(searchers.first_day, day, side="right"))
    sessions = int(rng.poisson(expected / settings.mean_searches_per_session))
    point = rng.random(sessions) * searchers.activity[joined]
    user = np.clip(np.searchsorted(searchers.activity, point, side="right") - 1, 0, joined - 1)
    usual = rng.random(sessions) < settings.favorite_leaf_share
    # Squaring the draw makes the dearest of the favorite leaves the most frequent one.
    nth = (rng.random(sessions) ** 2 * searchers.leaves.shape[1]).astype(int)
    anywhere = _any_leaf(intents, sessions, rng)
    leaf = np.where(usual, searchers.leaves[user, nth], anywhere)
    need = intents.draw_within(leaf, rng)
    start = _start_of_session(sessions, rng) + day * DAY_MS
    length = rng.geometric(1.0 / settings.mean_searches_per_session, sessions)
    session = np.repeat(np.arange(sessions), length)
    nth_search = np.arange(len(session)) - np.repeat(np.cumsum(length) - length, length)
    change = rng.random(len(session))
    same_leaf = settings.same_intent_share + settings.same_leaf_share
    intent = need[session]
    moves = (nth_search > 0) & (change >= settings.same_intent_share)
    next_leaf = np.where(change < same_leaf, leaf[session], _any_leaf(intents, len(session), rng))
    intent[moves] = intents.draw_within(next_leaf[moves], rng)
    gap = np.where(nth_search > 0, 20_000 + rng.exponential(90_000, len(session)), 0)
    elapsed = np.cumsum(gap)
    since = elapsed - np.repeat(elapsed[np.cumsum(length) - length], length)
    time = (start[session] + since).astype(np.int64)
    focus_brand = np.where(
        rng.random(sessions) < focus_share,
        searchers.brands[user, rng.integers(0, searchers.brands.shape[1], sessions)],
        NONE,
    )
    focus_facet = np.where(
        rng.random(sessions) < focus_share, searchers.tastes[user, rng.integers(0, TASTES, sessions)], NONE
    )
    shift = 0.4 * rng.normal(size=sessions)
    order = np.argsort(time, kind="stable")
    session = session[order]
    return Searches(
        user=user[session],
        time=time[order],
        intent=intent[order],
        focus_brand=focus_brand[session],
        focus_facet=focus_facet[session],
        price_shift=shift[session].astype(np.float32),
    )


def _any_leaf(intents: Intents, draws: int, rng: np.random.Generator) -> np.ndarray:
    total = np.cumsum(intents.leaf_weight())
    return np.minimum(np.searchsorted(total, rng.random(draws) * total[-1], side="right"), len(total) - 1)


def _start_of_session(sessions: int, rng: np.random.Generator) -> np.ndarray:
    """Time of day in ms: people shop around noon and in the evening, a few at any hour [sessions]."""
    kind = rng.random(sessions)
    hour = np.where(kind < 0.35, rng.normal(12.5, 2.0, sessions), rng.normal(20.0, 1.8, sessions))
    hour = np.where((kind > 0.85) | (hour < 0) | (hour >= 24), rng.random(sessions) * 24, hour)
    return (hour * 3_600_000).astype(np.int64)


def _favorite_leaves(
    settings: SearcherSettings,
    catalog: Catalog,
    intents: Intents,
    group: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Leaves drawn by how much they are searched for and what the user's group likes [users, leaves]."""
    groups = len(GENDERS) * len(AGE_GROUPS)
    tops = {path[:1]: None for path in catalog.paths}
    top = np.array([list(tops).index(path[:1]) for path in catalog.paths])
    liking = rng.normal(0, 0.7, (groups, len(tops)))[:, top]
    words = [{word for name in path for word in name.lower().split()} for path in catalog.paths]
    women = np.array([bool(found & _WOMEN) for found in words])
    men = np.array([bool(found & _MEN) for found in words])
    female = np.arange(groups)[:, None] < len(AGE_GROUPS)
    liking = liking - 2.5 * (female & (men & ~women)) - 2.5 * (~female & (women & ~men))
    with np.errstate(divide="ignore"):
        base = np.log(intents.leaf_weight())
    chosen = min(settings.favorite_leaves, len(base))
    favorites = []
    for start in range(0, len(group), _CHUNK):
        score = base + liking[group[start : start + _CHUNK]]
        score = score + rng.gumbel(size=score.shape)
        favorites.append(np.argsort(-score, axis=1)[:, :chosen])
    return np.concatenate(favorites)


def _loyal_brands(
    settings: SearcherSettings,
    catalog: Catalog,
    shelves: Shelves,
    leaves: np.ndarray,
    style: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Brands of the favorite leaves that suit the user's style [users, loyal brands]."""
    columns = []
    for _ in range(settings.loyal_brands):
        leaf = leaves[np.arange(len(leaves)), rng.integers(0, leaves.shape[1], len(leaves))]
        brand = catalog.brand[shelves.popular_of_leaf(leaf, 8, rng)]
        fit = np.einsum("ud,ubd->ub", style, catalog.brand_style[brand])
        fit = np.where(brand == NONE, -np.inf, fit)
        columns.append(brand[np.arange(len(leaves)), fit.argmax(axis=1)])
    return np.stack(columns, axis=1)


def _tastes(catalog: Catalog, shelves: Shelves, leaves: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Facets that may be liked for good, seen on items of the favorite leaves [users, TASTES]."""
    columns = []
    users = np.arange(len(leaves))
    for _ in range(TASTES):
        leaf = leaves[users, rng.integers(0, leaves.shape[1], len(leaves))]
        facets = catalog.facets[shelves.of_leaf(leaf, 1, rng)[:, 0]]
        allowed = (facets != NONE) & catalog.facet_is_taste[facets]
        pick = (rng.random(facets.shape) * allowed).argmax(axis=1)
        columns.append(np.where(allowed.any(axis=1), facets[users, pick], NONE))
    return np.stack(columns, axis=1)
