"""The whole way from events to search examples, against the plain-Python oracle."""

import dataclasses
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.example_gen.config import WindowConfig
from components.example_gen.encode import Dictionary
from components.example_gen.features import History, Moments
from components.example_gen.times import TimeSplits
from tests.components.example_gen import columnar, oracle
from tests.components.example_gen.oracle import Event

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_700_000_000_000
KNOWN = {"i1", "i2", "i3", "i4", "项"}
ITEMS = [*sorted(KNOWN), "gone"]
# Real-time [-3 h, 0), short-term [-9 h, -3 h), long-term [-21 h, -9 h): events on a grid of hours hit every edge.
WINDOWS = WindowConfig(
    real_time_hours=3,
    short_term_days=0.25,
    long_term_days=0.5,
    real_time_cap=2,
    short_term_cap=2,
    long_term_cap=1,
    history_queries_cap=2,
    scan=4,
)
SPLITS = TimeSplits(START + 3 * HOUR, START + 18 * HOUR, START + 31 * HOUR)
PROFILES = {"u1": {"region": "north"}, "u2": {}}

times = st.integers(0, 30).map(lambda hour: START + hour * HOUR)
users = st.sampled_from(["u1", "u1", "u2", None])
requests = st.sampled_from([f"r{n}" for n in range(8)])
searches = st.builds(
    Event,
    event_id=st.sampled_from([f"s{n}" for n in range(12)]),
    timestamp_ms=times,
    request_id=requests,
    user_id=users,
    event_type=st.just("search"),
    # Without a query: null where another event may hold it, "" where nothing was typed.
    query=st.sampled_from(["red shoes", "blue shoes", "红色 鞋", "hat", None, ""]),
    item_id=st.none(),
    position=st.none(),
)
reactions = st.builds(
    Event,
    event_id=st.sampled_from([f"e{n}" for n in range(40)]),
    timestamp_ms=times,
    request_id=st.one_of(requests, requests, st.none()),
    user_id=users,
    event_type=st.sampled_from(["impression", "click", "click", "add_to_cart", "order"]),
    query=st.sampled_from([None, None, "hat"]),
    item_id=st.sampled_from(ITEMS),
    position=st.sampled_from([None, 0, 1, 2, 3]),
)


def _usable(event: Event) -> bool:
    """What validation lets through."""
    if event.request_id is None and event.event_type == "impression":
        return False
    return event.request_id is not None or event.user_id is not None


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """A log with each event id once, then some of its events delivered again, some of these altered."""
    rows = draw(st.lists(st.one_of(searches, reactions), min_size=1, max_size=60))
    once = list({e.event_id: e for e in rows if _usable(e)}.values())
    if not once:
        return []
    again = draw(st.lists(st.sampled_from(once), max_size=6))
    # Copies of an event may differ, but not in the request that they name: that is what brings them together.
    altered = [dataclasses.replace(e, timestamp_ms=draw(times), position=draw(st.integers(0, 2))) for e in again]
    return once + again + draw(st.sampled_from([[], altered]))


def _run(log: list[Event], partitions: int = 2, splits: TimeSplits = SPLITS) -> dict[str, list[dict]]:
    return columnar.examples(log, KNOWN, PROFILES, WINDOWS, splits, partitions, columns=("region",))


thorough = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@thorough
@given(logs(), st.integers(1, 3))
def test_examples_are_those_of_the_plain_python_oracle(log: list[Event], partitions: int) -> None:
    assert _run(log, partitions) == oracle.examples(log, KNOWN, PROFILES, WINDOWS, SPLITS)


@settings(thorough, max_examples=25)
@given(logs(), st.randoms(use_true_random=False))
def test_order_and_repetition_of_deliveries_change_nothing(log: list[Event], rng: random.Random) -> None:
    expected = _run(log)
    shuffled = log + rng.choices(log, k=len(log) // 2) if log else []
    rng.shuffle(shuffled)
    assert _run(shuffled, partitions=3) == expected


@settings(thorough, max_examples=25)
@given(logs(), st.integers(1, 30))
def test_no_request_knows_what_came_at_or_after_it(log: list[Event], hour: int) -> None:
    """Taking away all that happens from a moment on leaves every earlier request's behavior as it was."""
    moment = START + hour * HOUR
    whole = _complete(log)
    everything = TimeSplits(START, START + 31 * HOUR, START + 31 * HOUR)
    lists = (
        "history_queries",
        "real_time_items",
        "short_term_items",
        "long_term_clicks",
        "long_term_orders",
        "long_term_carts",
    )

    def known(rows: list[Event]) -> dict[str, list[list[str]]]:
        found = _run(rows, splits=everything)["train"]
        return {e["request_id"]: [e[name] for name in lists] for e in found if e["timestamp_ms"] < moment}

    assert known([e for e in whole if e.timestamp_ms < moment]) == known(whole)


def _complete(log: list[Event]) -> list[Event]:
    """`log` with nothing left to guess: one delivery each, users everywhere, no event before its request."""
    once = {e.event_id: e for e in log}.values()
    searched = [e for e in once if e.event_type == "search" and e.query]
    asked = {e.request_id: e.timestamp_ms for e in sorted(searched, key=lambda e: -e.timestamp_ms)}
    return [
        dataclasses.replace(
            e,
            user_id=e.user_id or "u1",
            query=e.query if e.event_type == "search" else None,
            timestamp_ms=max(e.timestamp_ms, asked.get(e.request_id, 0)),
        )
        for e in once
    ]


def _search(request: str, hour: float, user: str | None = "u1", query: str = "hat", event_id: str = "") -> Event:
    return Event(event_id or f"s-{request}", START + int(hour * HOUR), request, user, "search", query, None, None)


def _reaction(
    kind: str, item: str, hour: float, request: str | None = None, user: str | None = "u1", position: int | None = None
) -> Event:
    return Event(f"{kind}-{item}-{hour}-{request}", START + int(hour * HOUR), request, user, kind, None, item, position)


def _one(log: list[Event], request: str) -> dict:
    found = [e for rows in _run(log).values() for e in rows if e["request_id"] == request]
    assert found == [
        e
        for rows in oracle.examples(log, KNOWN, PROFILES, WINDOWS, SPLITS).values()
        for e in rows
        if e["request_id"] == request
    ]
    assert len(found) == 1
    return found[0]


def test_an_item_has_the_largest_stage_that_its_events_reach() -> None:
    log = [
        _search("r", 4),
        *(_reaction("impression", f"i{n}", 4, "r", position=n) for n in (1, 2, 3, 4)),
        _reaction("click", "i2", 4.1, "r"),
        _reaction("add_to_cart", "i3", 4.1, "r"),
        _reaction("click", "i4", 4.1, "r"),
        _reaction("order", "i4", 9, "r"),
    ]
    row = _one(log, "r")
    assert (row["items"], row["stages"], row["positions"]) == (["i1", "i2", "i3", "i4"], [1, 2, 2, 3], [1, 2, 3, 4])


def test_a_click_without_impression_comes_last_at_position_zero() -> None:
    row = _one(
        [_search("r", 4), _reaction("click", "i1", 4, "r"), _reaction("impression", "i2", 4, "r", position=7)], "r"
    )
    assert (row["items"], row["stages"], row["positions"]) == (["i2", "i1"], [1, 2], [7, 0])


@pytest.mark.parametrize(
    ("hours_before", "feature"),
    [
        (0, None),
        (1 / HOUR, "real_time_items"),
        (3, "real_time_items"),
        (3 + 1 / HOUR, "short_term_items"),
        (9, "short_term_items"),
        (9 + 1 / HOUR, "long_term_clicks"),
        (21, "long_term_clicks"),
        (21 + 1 / HOUR, None),
    ],
)
def test_each_window_holds_its_older_edge_and_not_its_newer(hours_before: float, feature: str | None) -> None:
    row = _one([_reaction("click", "i1", 25 - hours_before), _search("r", 25)], "r")
    windows = ("real_time_items", "short_term_items", "long_term_clicks")
    assert [name for name in windows if row[name]] == ([feature] if feature else [])


def test_a_request_never_knows_its_own_clicks_even_dated_before() -> None:
    log = [_search("r", 10), _reaction("click", "i1", 9, "r"), _reaction("order", "i2", 8, "r")]
    row = _one([*log, _search("later", 12)], "r")
    assert (row["real_time_items"], row["items"], row["stages"]) == ([], ["i1", "i2"], [2, 3])
    assert sorted(_one([*log, _search("later", 12)], "later")["real_time_items"]) == ["i1", "i2"]


def test_a_newer_click_puts_an_item_first_and_only_once() -> None:
    log = [_reaction("click", "i1", 9), _reaction("click", "i2", 9.5), _reaction("click", "i1", 9.8), _search("r", 10)]
    assert _one(log, "r")["real_time_items"] == ["i1", "i2"]


def test_without_a_search_row_events_give_query_and_time() -> None:
    with_query = dataclasses.replace(_reaction("click", "i2", 6, "r"), query="hat")
    row = _one([_reaction("impression", "i1", 5, "r", position=1), with_query], "r")
    assert (row["query"], row["timestamp_ms"], row["items"]) == ("hat", START + 5 * HOUR, ["i1", "i2"])


def test_a_request_without_query_gives_no_example_but_behavior() -> None:
    log = [_reaction("click", "i1", 9, "lost"), _search("r", 10)]
    assert [e["request_id"] for e in _run(log)["train"]] == ["r"]
    assert _one(log, "r")["real_time_items"] == ["i1"]


def test_a_click_by_another_user_is_no_label_but_their_behavior() -> None:
    log = [_search("r", 9, "u1"), _reaction("click", "i1", 9, "r", user="u2"), _search("q", 10, "u2")]
    assert _one(log, "r")["items"] == []
    assert _one(log, "q")["real_time_items"] == ["i1"]


def test_a_click_without_user_belongs_to_its_requests_user() -> None:
    log = [_search("r", 9), _reaction("click", "i1", 9, "r", user=None), _search("q", 10)]
    assert _one(log, "q")["real_time_items"] == ["i1"]


def test_requests_of_nobody_have_labels_and_no_behavior() -> None:
    log = [_search("r", 9, None), _reaction("click", "i1", 9, "r", user=None), _search("q", 10, None)]
    assert _one(log, "r")["items"] == ["i1"]
    assert (_one(log, "q")["user_id"], _one(log, "q")["real_time_items"], _one(log, "q")["history_queries"]) == (
        None,
        [],
        [],
    )


def test_a_training_request_has_no_label_of_the_eval_period() -> None:
    log = [_search("r", 17), _reaction("click", "i1", 17, "r"), _reaction("order", "i1", 18, "r")]
    assert _one(log, "r")["stages"] == [2]


def test_items_that_the_catalog_lacks_are_in_no_list() -> None:
    log = [_reaction("click", "gone", 9), _search("r", 10), _reaction("impression", "gone", 10, "r", position=1)]
    row = _one(log, "r")
    assert (row["items"], row["real_time_items"]) == ([], [])


def test_history_holds_only_earlier_queries_newest_first() -> None:
    log = [
        _search("a", 5, query="hat"),
        _search("b", 6, query="red shoes"),
        _search("c", 7, query="hat"),
        _search("r", 8),
    ]
    assert _one(log, "r")["history_queries"] == ["hat", "red shoes"]


def test_a_profile_becomes_features_and_an_unknown_one_none() -> None:
    log = [_search("r", 5, "u1"), _search("q", 5, "u2"), _search("p", 5, "never seen")]
    assert _one(log, "r")["profile_region"] == "north"
    assert "profile_region" not in _one(log, "q")
    assert "profile_region" not in _one(log, "p")


def test_only_the_newest_events_of_a_window_are_looked_at() -> None:
    """`scan` is 4, so a robot's fifth newest click is not seen even though the window has room for it."""
    repeats = [dataclasses.replace(_reaction("click", "i1", 9), event_id=f"again-{n}") for n in range(4)]
    log = [_reaction("click", "i2", 8), *repeats, _search("r", 10)]
    assert _one(log, "r")["real_time_items"] == ["i1"]
    assert _one([log[0], *repeats[1:], log[-1]], "r")["real_time_items"] == ["i1", "i2"]


def test_of_differing_deliveries_the_earliest_counts() -> None:
    click = _reaction("click", "i1", 9)
    later = dataclasses.replace(click, timestamp_ms=START + 11 * HOUR)
    for copies in ([click, later], [later, click]):
        assert _one([*copies, _search("r", 10)], "r")["real_time_items"] == ["i1"]


def test_what_any_delivery_of_an_event_says_is_known_of_it() -> None:
    click = _reaction("click", "i1", 9)
    nobodys = dataclasses.replace(click, user_id=None, timestamp_ms=START + 8 * HOUR)
    for copies in ([click, nobodys], [nobodys, click]):
        assert _one([*copies, _search("r", 10)], "r")["real_time_items"] == ["i1"]


def test_a_century_and_many_users_give_the_history_of_a_day() -> None:
    first, last = 946_684_800_000, 4_102_444_000_000
    users = np.array([0, 0, 2, 3_500_000, 3_500_000])
    times = np.array([first, last, last, first, last])
    events = pl.DataFrame({"user": users, "timestamp_ms": times, "code": np.arange(5)})
    history = History(events, Dictionary(pl.Series([f"i{n}" for n in range(5)])))
    moments = Moments(users, times + 1)
    found = history.window(moments, DAY, 0, 9, 9).to_series("items")
    assert found.to_list() == [["i0"], ["i1"], ["i2"], ["i3"], ["i4"]]
