"""The simulation: day by day, straight to disk."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from marketplace.catalog import Catalog, generate_catalog
from marketplace.choice import Chooser
from marketplace.config import MarketplaceSettings
from marketplace.delivery import Delivery
from marketplace.engine import LexicalEngine
from marketplace.events import CLICK, EVENT_TYPES, events_of_requests, written_rows
from marketplace.given_catalog import lack_of_categories, read_catalog
from marketplace.given_wording import GivenWords, wordings_of_given
from marketplace.intents import Intents, derive_intents
from marketplace.memory import Memory
from marketplace.page import ResultCache, build_pages
from marketplace.queries import QueryPool, build_query_pool
from marketplace.searchers import DAY_MS, Searchers, Searches, generate_searchers, searches_of_day
from marketplace.shelves import Shelves
from marketplace.taste import Requests, branches
from marketplace.vocabulary import Vocabulary, load_vocabulary, narrowed
from marketplace.wording import wordings_of_generated
from marketplace.write import (
    CATALOG_FILE,
    EVENTS_DIRECTORY,
    SHOP_FILE,
    USERS_FILE,
    whole_directory,
    write_rows,
    write_shop,
)

CHUNK = 2_048
# The numbers of requests leave room for these.
REQUESTS_OF_A_DAY = 10_000_000
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class World:
    """The shop and its searchers. Of it only the memory, and what the cache holds, change from day to day."""

    settings: MarketplaceSettings
    catalog: Catalog
    intents: Intents
    pool: QueryPool
    shelves: Shelves
    searchers: Searchers
    cache: ResultCache
    chooser: Chooser
    memory: Memory


@dataclass(frozen=True)
class SimulationSummary:
    """What a simulation wrote.

    Counts of events are of distinct events, before duplicates and the end of the log. `notes` say what the logs are
    not good for, in sentences.
    """

    out_dir: str
    first_day: str
    eval_start: str
    days: int
    items: int
    users: int
    intents: int
    searches: int
    events: int
    rows_written: int
    events_by_type: dict[str, int]
    eval_requests_with_clicks: int
    seconds: float
    notes: tuple[str, ...] = ()


def build_world(settings: MarketplaceSettings) -> World:
    """The shop and its searchers as the seed gives them."""
    catalog, intents, shelves, searchers = build_needs(settings)
    pool = build_queries(settings, catalog, intents)
    engine = LexicalEngine.build(
        catalog.rows["item_id"].to_list(),
        catalog.rows["title"].to_list(),
        catalog.rows["brand"].to_list(),
        catalog.popularity,
        settings.engine.popularity_weight,
    )
    chooser = Chooser(catalog, intents, searchers, shelves, branches(catalog), settings.behavior)
    cache = ResultCache(engine, pool, settings.engine.depth)
    memory = Memory.of(settings.searchers.users)
    return World(settings, catalog, intents, pool, shelves, searchers, cache, chooser, memory)


def build_needs(settings: MarketplaceSettings) -> tuple[Catalog, Intents, Shelves, Searchers]:
    """What is sold, what is wanted and by whom, without words and search engine."""
    rng = np.random.default_rng([settings.seed, 0])
    if settings.catalog.path:
        catalog = read_catalog(settings.catalog, settings.days, rng)
    else:
        catalog = generate_catalog(settings.catalog, _vocabulary(settings), settings.days, rng)
    intents = derive_intents(catalog, settings.queries, rng)
    shelves = Shelves.of(catalog)
    return (
        catalog,
        intents,
        shelves,
        generate_searchers(settings.searchers, catalog, intents, shelves, settings.days, rng),
    )


def build_queries(settings: MarketplaceSettings, catalog: Catalog, intents: Intents) -> QueryPool:
    """Every way to type the needs."""
    if settings.catalog.path:
        given = GivenWords.of(catalog)
        wordings = [wordings_of_given(intent, intents, catalog, given) for intent in range(intents.count)]
    else:
        vocabulary = _vocabulary(settings)
        wordings = [wordings_of_generated(intent, intents, catalog, vocabulary) for intent in range(intents.count)]
    return build_query_pool(wordings, settings.queries, settings.seed)


def _vocabulary(settings: MarketplaceSettings) -> Vocabulary:
    return narrowed(load_vocabulary(settings.catalog.language), settings.catalog.leaves)


def searches_per_day(settings: MarketplaceSettings) -> np.ndarray:
    """Expected searches: growing from day to day, with busier weekends [days]."""
    day = np.arange(settings.days)
    weekend = ((settings.start.weekday() + day) % 7) >= 5
    shape = (1 + settings.daily_growth) ** day * np.where(weekend, 1.1, 1.0)
    return settings.searches * shape / shape.sum()


def searches_on(
    settings: MarketplaceSettings, searchers: Searchers, intents: Intents, day: int, expected: float
) -> tuple[Searches, np.random.Generator]:
    """The searches that start on `day`, and the source of chance of all that follows from them on that day."""
    rng = np.random.default_rng([settings.seed, 1, day])
    focus_share = settings.behavior.session_focus_share
    return searches_of_day(settings.searchers, searchers, intents, day, expected, focus_share, rng), rng


def events_of_day(world: World, day: int, expected: float) -> pl.DataFrame:
    """All events of the searches that start on `day`, numbered in the order of time in the column `event`.

    Days must be asked for in their order, as searchers remember what they clicked on earlier ones.
    """
    settings = world.settings
    searches, rng = searches_on(settings, world.searchers, world.intents, day, expected)
    frames = []
    for start in range(0, max(len(searches.user), 1), CHUNK):
        rows = slice(start, start + CHUNK)
        requests = Requests.of(searches, rows)
        query = world.pool.draw(requests.intent, settings.queries.misspelling_share, rng)
        pages = build_pages(
            settings, world.catalog, world.searchers, world.shelves, world.cache, requests, query, day, rng
        )
        seen = world.chooser.looked_at(pages, rng)
        clicks = world.chooser.act(requests, pages, seen, world.memory.items[requests.user], day, rng)
        number = day * REQUESTS_OF_A_DAY + start + np.arange(len(query))
        frames.append(events_of_requests(number, requests.user, searches.time[rows], query, pages, seen, clicks, rng))
    events = pl.concat(frames).sort("time", maintain_order=True)
    clicked = events.filter(pl.col("type") == CLICK)
    world.memory.remember(clicked["user"].to_numpy(), clicked["item"].to_numpy())
    return events.with_columns(event=pl.int_range(pl.len(), dtype=pl.Int64) + day * 100_000_000)


def simulate(
    settings: MarketplaceSettings,
    out_dir: str | Path,
    progress: Progress | None = None,
    force: bool = False,
) -> SimulationSummary:
    """Write a simulated shop into `out_dir`: `events/day-*.jsonl.gz`, catalog, users and `shop.json`.

    Memory holds the shop, one day of events and what is still on its way, whatever the number of days.

    Args:
      settings: all settings; equal settings give equal bytes.
      out_dir: a new or empty directory, or one that an earlier simulation wrote, which is replaced.
      progress: called with (days done, days) after each day.
      force: replace whatever is in `out_dir`.

    Raises:
      InputError: `out_dir` holds something else.
    """
    began = time.monotonic()
    with whole_directory(Path(out_dir), force) as made:
        world = build_world(settings)
        midnight = datetime(settings.start.year, settings.start.month, settings.start.day, tzinfo=UTC)
        write_rows(made / USERS_FILE, world.searchers.rows)
        write_rows(made / CATALOG_FILE, _catalog_rows(world.catalog, midnight))
        (made / EVENTS_DIRECTORY).mkdir()
        counts = np.zeros(len(EVENT_TYPES), np.int64)
        written = eval_requests = 0
        for day, events, arrived in _days(world):
            path = made / EVENTS_DIRECTORY / f"day-{(midnight + timedelta(days=day)).date()}.jsonl.gz"
            rows = written_rows(
                arrived,
                int(midnight.timestamp() * 1000),
                world.searchers.rows["user_id"],
                world.catalog.rows["item_id"],
                world.pool,
            )
            write_rows(path, rows)
            counts += np.bincount(events["type"].to_numpy(), minlength=len(EVENT_TYPES))
            written += len(rows)
            if day == settings.days - 1:
                eval_requests = events.filter(pl.col("type") >= CLICK)["request"].n_unique()
            if progress is not None:
                progress(day + 1, settings.days)
        summary = SimulationSummary(
            out_dir=str(out_dir),
            first_day=midnight.date().isoformat(),
            eval_start=(midnight + timedelta(days=settings.days - 1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            days=settings.days,
            items=world.catalog.items,
            users=settings.searchers.users,
            intents=world.intents.count,
            searches=int(counts[0]),
            events=int(counts.sum()),
            rows_written=written,
            events_by_type=dict(zip(EVENT_TYPES, map(int, counts), strict=True)),
            eval_requests_with_clicks=eval_requests,
            seconds=round(time.monotonic() - began, 1),
            notes=tuple(filter(None, [lack_of_categories(world.catalog)])) if settings.catalog.path else (),
        )
        write_shop(made / SHOP_FILE, _shop_facts(settings, summary))
    return summary


def _days(world: World) -> Iterator[tuple[int, pl.DataFrame, pl.DataFrame]]:
    """Day, its own events, and the events that arrive on it."""
    delivery = Delivery(world.settings.log)
    for day, expected in enumerate(searches_per_day(world.settings)):
        events = events_of_day(world, day, expected)
        rng = np.random.default_rng([world.settings.seed, 2, day])
        yield day, events, delivery.deliver(events, day, rng)


def _catalog_rows(catalog: Catalog, midnight: datetime) -> pl.DataFrame:
    first = pl.from_epoch(
        pl.Series(catalog.available_day.astype(np.int64)) * DAY_MS + int(midnight.timestamp() * 1000), "ms"
    )
    rows = catalog.rows.with_columns(
        available_from=pl.when(pl.Series(catalog.available_day) > 0).then(first.dt.to_string("%Y-%m-%d"))
    )
    return rows.sort("item_id")


def _shop_facts(settings: MarketplaceSettings, summary: SimulationSummary) -> dict[str, Any]:
    facts = asdict(summary)
    # Where and how fast it was written is not part of what the seed decides.
    del facts["out_dir"], facts["seconds"]
    return {"simulated": True, **facts, "settings": settings.model_dump(mode="json")}
