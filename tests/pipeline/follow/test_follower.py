"""What becomes of single events, good and bad."""

import dataclasses
import threading
import time
import urllib.request
from collections import Counter

import pytest
import redis

from pipeline.follow import follower as follower_module
from pipeline.follow.follower import Taken
from pipeline.follow.metrics import Metrics
from schema.settings import InputError
from souk_client.behavior_windows import BehaviorWindows
from souk_client.errors import UserStateError
from souk_client.examples import Behavior
from souk_client.redis_user_state import RedisUserState
from tests.components.example_gen.oracle import Event
from tests.pipeline.follow.conftest import lines
from tests.pipeline.follow.kafka_broker import free_port

HOUR, DAY = 3_600_000, 86_400_000
NOW = 1_772_323_200_000
SEARCH = Event("s", NOW - 2 * HOUR, "r", "u", "search", "red shoes", None, None)
CLICK = Event("c", NOW - HOUR, "r", None, "click", None, "i1", 1)


def _follow(make_follower, log, **settings) -> Taken:
    return make_follower(clock=lambda: NOW, **settings).take(lines(log), "test")


def test_a_click_takes_its_user_from_a_search_that_comes_later(make_follower, redis_url):
    follower, store = make_follower(clock=lambda: NOW), RedisUserState(redis_url)
    follower.take(lines([CLICK]), "test")
    assert store.behavior("u", NOW) is None
    follower.take(lines([SEARCH]), "test")
    assert store.behavior("u", NOW) == Behavior(history_queries=("red shoes",), real_time_items=("i1",))


def test_the_lists_move_on_without_any_event(make_follower, redis_url):
    _follow(make_follower, [SEARCH, CLICK])
    store = RedisUserState(redis_url)
    assert store.behavior("u", CLICK.timestamp_ms).real_time_items == ()
    assert store.behavior("u", CLICK.timestamp_ms + 1).real_time_items == ("i1",)
    later = store.behavior("u", CLICK.timestamp_ms + DAY + 1)
    assert (later.real_time_items, later.short_term_items) == ((), ("i1",))
    assert store.behavior("u", CLICK.timestamp_ms + 11 * DAY + 1).long_term_clicks == ("i1",)
    assert store.behavior("u", CLICK.timestamp_ms + 41 * DAY + 1).empty


def test_states_and_requests_expire_by_themselves(make_follower, redis_url):
    follower = make_follower(clock=lambda: NOW)
    follower.take(lines([SEARCH, CLICK]), "test")
    client = redis.Redis.from_url(redis_url)
    assert 41 * DAY < client.pttl("souk:user:u") <= 41 * DAY + HOUR
    assert 0 < client.pttl("souk:request:r") <= DAY


def test_events_older_than_the_windows_are_only_counted(make_follower, redis_url):
    old = dataclasses.replace(SEARCH, timestamp_ms=NOW - 43 * DAY)
    assert _follow(make_follower, [old]) == Taken(lines=1, expired=1)
    assert redis.Redis.from_url(redis_url).keys("souk:user:*") == []


def test_a_clock_that_is_a_day_ahead_is_a_dead_letter(make_follower, letters, redis_url):
    ahead = dataclasses.replace(CLICK, user_id="u", timestamp_ms=NOW + DAY)
    near = dataclasses.replace(CLICK, user_id="u", event_id="c2", item_id="i2", timestamp_ms=NOW + 60_000)
    assert _follow(make_follower, [ahead, near]).dead == {"ahead_of_clock": 1}
    assert letters.rows[0][1]["item_id"] == "i1"
    store = RedisUserState(redis_url)
    # What is a minute ahead counts from then on.
    assert store.behavior("u", NOW) is None
    assert store.behavior("u", NOW + 60_001).real_time_items == ("i2",)


def test_an_event_of_an_unknown_item_is_a_dead_letter(make_follower, letters, redis_url):
    taken = _follow(make_follower, [SEARCH, CLICK, dataclasses.replace(CLICK, event_id="d", item_id="?")], items=["i1"])
    assert taken.dead == {"unknown_item": 1}
    assert letters.rows == [("unknown_item", letters.rows[0][1])]
    assert RedisUserState(redis_url).behavior("u", NOW).real_time_items == ("i1",)


@pytest.mark.parametrize("name", ["user_id", "item_id", "request_id"])
def test_an_id_of_a_megabyte_is_a_dead_letter(make_follower, letters, redis_url, name):
    long = dataclasses.replace(CLICK, **{"user_id": "u", name: "x" * 1_000_000})
    taken = _follow(make_follower, [long, SEARCH])
    assert (taken.dead, taken.applied) == ({"id_too_long": 1}, 1)
    assert RedisUserState(redis_url).behavior("x" * 1_000_000) is None


def test_a_long_event_id_is_shortened_and_still_tells_events_apart(make_follower, redis_url):
    first, second = (
        dataclasses.replace(CLICK, user_id="u", event_id="e" * 100_000 + end, item_id=end) for end in ("1", "2")
    )
    assert _follow(make_follower, [first, second, first]).applied == 2
    assert max(map(len, redis.Redis.from_url(redis_url).zrange("souk:user:u", 0, -1))) < 300


def test_bad_events_are_dead_letters_and_the_others_are_taken(make_follower, letters, redis_url):
    written = lines([SEARCH, CLICK])
    broken = [b"{", b'"text"', b"\xff", b"[]", *lines([dataclasses.replace(CLICK, event_id=None)])]
    taken = make_follower(clock=lambda: NOW).take([written[0], *broken, written[1]], "test")
    assert taken.applied == 2
    assert sorted(letters.reasons) == ["missing_event_id", "not_json", "not_json", "not_json", "not_utf8"]
    assert RedisUserState(redis_url).behavior("u", NOW).real_time_items == ("i1",)


def test_what_comes_again_is_counted_and_changes_nothing(make_follower, redis_url):
    follower = make_follower(clock=lambda: NOW)
    follower.take(lines([SEARCH, CLICK]), "test")
    client = redis.Redis.from_url(redis_url)
    before = {key: client.dump(key) for key in client.keys("*")}
    assert follower.take(lines([CLICK, SEARCH, CLICK]), "test") == Taken(lines=3, duplicates=3)
    assert {key: client.dump(key) for key in client.keys("*")} == before


def test_one_request_of_everybody_stops_growing(make_follower, letters, redis_url, monkeypatch):
    monkeypatch.setattr(follower_module, "MAX_REQUEST_EVENTS", 10)
    follower = make_follower(clock=lambda: NOW)
    log = [dataclasses.replace(CLICK, event_id=f"c{n}", user_id="u", item_id=f"i{n}") for n in range(30)]
    for first in range(0, 30, 5):
        follower.take(lines(log[first : first + 5]), "test")
    assert redis.Redis.from_url(redis_url).scard("souk:request:r") == 10
    assert letters.reasons == ["request_too_long"] * 20


def test_followers_at_one_request_at_once_miss_nothing(make_follower, redis_url):
    log = [SEARCH] + [dataclasses.replace(CLICK, event_id=f"c{n}", item_id=f"i{n:02}") for n in range(40)]
    followers = [make_follower(clock=lambda: NOW) for _ in range(4)]

    def run(number: int) -> None:
        for event in log[number::4]:
            followers[number].take(lines([event]), "test")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = RedisUserState(redis_url).behavior("u", NOW)
    assert found.real_time_items == tuple(f"i{n:02}" for n in sorted(range(40), key=lambda n: f"c{n}", reverse=True))


def test_states_of_another_layout_are_refused_by_writer_and_reader(make_follower, redis_url):
    _follow(make_follower, [SEARCH, CLICK])
    redis.Redis.from_url(redis_url).hset("souk:about", "layout", "0")
    with pytest.raises(InputError, match=r"have layout 0, this version .* layout 1. Fill an empty database"):
        make_follower()
    store = RedisUserState(redis_url)
    with pytest.raises(UserStateError, match="have layout 0"):
        store.behavior("u")
    assert store.failures == 1


def test_the_readers_windows_are_the_writers(make_follower, redis_url):
    from components.example_gen.config import WindowConfig

    store = RedisUserState(redis_url)
    _follow(make_follower, [SEARCH, CLICK])
    assert store.behavior("u", NOW).real_time_items == ("i1",)
    make_follower(WindowConfig(real_time_hours=0.5))
    found = store.behavior("u", NOW)
    assert (found.real_time_items, found.short_term_items) == ((), ("i1",))


def test_windows_travel_as_they_are():
    from components.example_gen.config import WindowConfig

    windows = WindowConfig(real_time_hours=1.5, scan=200).behavior_windows
    assert BehaviorWindows(**windows.as_dict()) == windows


def test_a_delivery_without_its_request_gives_way_to_one_with_it(make_follower, redis_url):
    """The click is dated before its own search, so it counts from the search on, as in ingestion."""
    early = dataclasses.replace(CLICK, user_id="u", timestamp_ms=NOW - 3 * HOUR)
    for log in ([early, dataclasses.replace(early, request_id=None), SEARCH], [SEARCH, early]):
        _follow(make_follower, log)
        store = RedisUserState(redis_url)
        assert store.behavior("u", SEARCH.timestamp_ms) is None
        assert store.behavior("u", SEARCH.timestamp_ms + 1).real_time_items == ("i1",)


def test_an_impression_names_the_user_of_its_request(make_follower, redis_url):
    nobody = Event("p1", NOW - 2 * HOUR, "r", None, "impression", None, "i1", 1)
    named = [dataclasses.replace(nobody, event_id=f"p{n}", user_id="u", item_id=f"i{n}") for n in range(2, 9)]
    _follow(make_follower, [dataclasses.replace(SEARCH, user_id=None), nobody, *named, CLICK])
    found = RedisUserState(redis_url).behavior("u", NOW)
    assert (found.history_queries, found.real_time_items) == (("red shoes",), ("i1",))
    assert redis.Redis.from_url(redis_url).scard("souk:request:r") == 4


def test_metrics_say_what_became_of_events_and_how_late_they_are():
    metrics = Metrics()
    port = free_port()
    metrics.serve("127.0.0.1", port)
    taken = Taken(lines=9, applied=4, duplicates=2, expired=1, dead=Counter(not_json=2))
    metrics.took(taken, time.time_ns() // 1_000_000 - 5000, 0.2, backlog=7)
    metrics.away()
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert told['souk_follow_events_total{outcome="applied"}'] == "4.0"
    assert told['souk_follow_dead_letters_total{reason="not_json"}'] == "2.0"
    assert (told["souk_follow_backlog_events"], told["souk_follow_store_failures_total"]) == ("7.0", "1.0")
    assert float(told["souk_follow_lag_seconds"]) >= 5
    with pytest.raises(InputError, match="Give another --metrics-port"):
        metrics.serve("127.0.0.1", port)
