"""What a request is answered with is what ingestion writes for it, whatever came twice or late."""

import dataclasses
import random
from typing import Any

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.example_gen.times import TimeSplits
from pipeline.follow.follower import Follower
from serving.user_state.redis_writer import UserStateWriter
from souk_client.redis_user_state import RedisUserState
from tests.components.example_gen import columnar, oracle
from tests.components.example_gen.oracle import Event
from tests.components.example_gen.test_features import DAY, HOUR, KNOWN, START, WINDOWS, reactions, searches
from tests.pipeline.follow.conftest import lines

NOW = START + 21 * HOUR
ALL = TimeSplits(START - DAY, START + 300 * DAY, START + 301 * DAY)
thorough = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def _usable(event: Event) -> bool:
    if event.event_type == "search":
        return bool(event.query)
    if event.request_id is None and event.event_type == "impression":
        return False
    return event.request_id is not None or event.user_id is not None


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Events, each id once; then deliveries of them again, some altered, some without their request."""
    rows = draw(st.lists(st.one_of(searches, reactions), min_size=1, max_size=50))
    once = list({event.event_id: event for event in rows if _usable(event)}.values())
    if not once:
        return []
    again = draw(st.lists(st.sampled_from(once), max_size=8))
    changed = [
        dataclasses.replace(event, timestamp_ms=event.timestamp_ms + draw(st.sampled_from([-HOUR, 0, HOUR])))
        for event in again
        if event.event_type != "impression"
    ]
    # Not where the request may name another user than the event does.
    poorer = [
        dataclasses.replace(event, request_id=None)
        for event in again
        if event.user_id is not None and event.event_type in ("click", "add_to_cart", "order")
    ]
    log = once + again + draw(st.sampled_from([[], changed])) + draw(st.sampled_from([[], poorer]))
    return draw(st.permutations(log))


def _as_ingested(log: list[Event], user: str, moment: int) -> dict[str, Any]:
    """What ingestion writes for a request of the user at a moment."""
    # It drops events that were delivered with and without their request before it joins.
    with_request = {(e.event_id, e.event_type, e.item_id) for e in log if e.request_id is not None}
    whole = [e for e in log if e.request_id is not None or (e.event_id, e.event_type, e.item_id) not in with_request]
    asked = Event("asked", moment, "asked", user, "search", "asked now", None, None)
    found = columnar.examples([*whole, asked], KNOWN, {}, WINDOWS, ALL)
    (example,) = [row for row in found["train"] if row["request_id"] == "asked"]
    return {one.name: list(example.get(one.name) or []) for one in WINDOWS.behavior_windows.lists()}


def _as_stored(store: RedisUserState, user: str, moment: int) -> dict[str, Any]:
    behavior = store.behavior(user, moment)
    return {
        one.name: [] if behavior is None else list(getattr(behavior, one.name))
        for one in WINDOWS.behavior_windows.lists()
    }


def test_features_equal_those_that_ingestion_writes(make_follower, redis_url) -> None:
    now = [0]
    follower: Follower = make_follower(WINDOWS, items=KNOWN, clock=lambda: now[0])
    client, store = redis.Redis.from_url(redis_url), RedisUserState(redis_url)

    @thorough
    @given(logs(), st.integers(1, 9), st.integers(1, 62), st.integers(0, 24))
    def check(log: list[Event], size: int, half_hour: int, later: int) -> None:
        """Of the log, what has happened by a moment; asked then, and some hours later."""
        client.flushall()
        follower.open()
        now[0] = START + half_hour * HOUR // 2
        happened = [event for event in log if event.timestamp_ms <= now[0]]
        written = lines(happened)
        for first in range(0, len(written), size):
            follower.take(written[first : first + size], "test")
        for user in ("u1", "u2"):
            for moment in (now[0], now[0] + later * HOUR):
                assert _as_stored(store, user, moment) == _as_ingested(happened, user, moment)

    check()


class _KilledError(Exception):
    """The follower's end, at a moment that it does not choose."""


class _Dying:
    """A client of Redis whose process dies before, within or after a call."""

    def __init__(self, client: redis.Redis, calls: int) -> None:
        self._client, self._left = client, calls

    def pipeline(self, **options: Any) -> Any:
        pipe = self._client.pipeline(**options)
        execute = pipe.execute

        def run() -> Any:
            self._left -= 1
            if self._left == 0:
                # Of the commands some arrive.
                pipe.command_stack = pipe.command_stack[: len(pipe.command_stack) // 2]
                execute()
                raise _KilledError
            return execute()

        pipe.execute = run
        return pipe

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_a_kill_in_the_middle_of_a_batch_changes_nothing(make_follower, redis_url) -> None:
    follower: Follower = make_follower(WINDOWS, items=KNOWN, clock=lambda: NOW)
    writer: UserStateWriter = follower.writer
    client, store = redis.Redis.from_url(redis_url), RedisUserState(redis_url)

    @settings(thorough, max_examples=30)
    @given(logs(), st.integers(1, 9), st.integers(1, 8))
    def check(log: list[Event], size: int, calls: int) -> None:
        client.flushall()
        writer.client = client
        follower.open()
        log = [event for event in log if event.timestamp_ms <= NOW]
        writer.client = _Dying(client, calls)
        written = lines(log)
        first = 0
        while first < len(written):
            try:
                follower.take(written[first : first + size], "test")
            except _KilledError:
                # What was not acknowledged comes again, here in other batches.
                writer.client = client
                size = size % 3 + 1
                first = max(first - 2, 0)
                continue
            first += size
        for user in ("u1", "u2"):
            assert _as_stored(store, user, NOW) == _as_ingested(log, user, NOW)

    check()


def test_a_robots_oldest_events_are_dropped_as_in_ingestion(make_follower, redis_url) -> None:
    rng = random.Random(3)
    log = [
        Event(f"e{n}", START + rng.randrange(20) * HOUR, None, "u1", "click", None, f"i{rng.randrange(4) + 1}", None)
        for n in range(40)
    ]
    rng.shuffle(log)
    follower: Follower = make_follower(WINDOWS, items=KNOWN, clock=lambda: NOW, max_user_events=7)
    for first in range(0, len(log), 5):
        follower.take(lines(log[first : first + 5]), "test")
    requests, interactions = oracle.newest(*oracle.join(log, KNOWN, NOW), 7)
    expected = oracle.behavior("u1", NOW, requests, interactions, WINDOWS)
    assert _as_stored(RedisUserState(redis_url), "u1", NOW) == expected
    assert redis.Redis.from_url(redis_url).zcard("souk:user:u1") <= 7
