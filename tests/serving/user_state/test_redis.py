"""User states in Redis, from the click to the next answer, and without Redis."""

import socket
import sys
import time

import pytest
import redis

from components.example_gen.config import WindowConfig
from schema.settings import InputError
from serving.user_state.parquet import ParquetUserState
from serving.user_state.redis_writer import UserStateWriter
from serving.user_state.stores import open_user_state
from souk_client import Behavior, Client, RedisUserState, UserStateError, UserStateUse
from souk_client.user_state_layout import pack_event
from tests.pipeline.follow.test_redis_stream import click, send
from tests.serving.conftest import server
from tests.serving.playground.live import following

__all__ = ["server"]
HOUR = 3_600_000


@pytest.fixture
def writer(redis_url) -> UserStateWriter:
    made = UserStateWriter(redis.Redis.from_url(redis_url), redis_url, WindowConfig().behavior_windows, 2000, HOUR)
    made.open()
    return made


@pytest.fixture
def away(tmp_path_factory) -> str:
    """A socket that takes connections and never answers."""
    path = str(tmp_path_factory.mktemp("s") / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(16)
        yield f"unix://{path}"


def test_a_click_changes_the_next_answer(server, redis_url):
    """The whole way: stream, follower, Redis, client, server."""
    with following(redis_url), Client(server.address) as souk:
        store = RedisUserState(redis_url)
        first = souk.answer("shirt", user_id="u", user_state=store)
        assert first.user_state == UserStateUse.UNKNOWN
        liked = first.hits[4].item_id
        sent = time.monotonic()
        send(redis.Redis.from_url(redis_url), {**click(0), "item_id": liked})
        while (answer := souk.answer("shirt", user_id="u", user_state=store)).user_state == UserStateUse.UNKNOWN:
            assert time.monotonic() < sent + 60
        assert [hit.score for hit in answer.hits] != [hit.score for hit in first.hits]
        with_behavior = souk.search("shirt", user_id="u", behavior=Behavior(real_time_items=[liked]))
        assert answer.hits == with_behavior == souk.search("shirt", user_id="u", user_state=store)


def test_profile_and_lists_are_read_in_one_round_trip(writer, redis_url):
    moment = writer.now_ms() - HOUR
    events = [
        (moment, pack_event("click", "e1", "i1", with_request=True)),
        (moment + 1, pack_event("search", "r1", "跑步鞋", with_request=True)),
    ]
    writer.fill([("ü", events, {"gender": "f"}), ("profile alone", [], {"gender": "m"})])
    store = RedisUserState(redis_url)
    expected = Behavior(history_queries=("跑步鞋",), real_time_items=("i1",), profile={"gender": "f"})
    assert store.behavior("ü") == expected
    assert store.behavior("profile alone") == Behavior(profile={"gender": "m"})
    before = writer.client.info("stats")["total_commands_processed"]
    calls = writer.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert store.behavior("ü") == expected
    after = writer.client.info("commandstats")
    assert after["cmdstat_evalsha"]["calls"] == calls + 1
    # Those within the script are counted, too; the others are of this test.
    assert writer.client.info("stats")["total_commands_processed"] - before <= 10


@pytest.mark.parametrize("user", ["", "nobody", "x" * 1_000_000, "\ud800"])
def test_of_a_user_never_seen_nothing_is_known(writer, redis_url, user):
    assert RedisUserState(redis_url).behavior(user) is None


def test_an_empty_redis_knows_nobody(redis_url):
    assert RedisUserState(redis_url).behavior("u") is None


def test_without_redis_queries_are_answered_flagged_and_counted(server, away):
    with Client(server.address, timeout_s=10) as souk:
        plain = souk.search("shirt", user_id="u")
        for url in (away, "redis://127.0.0.1:1/0"):
            store = RedisUserState(url)
            began = time.monotonic()
            answers = [souk.answer("shirt", user_id="u", user_state=store) for _ in range(5)]
            assert time.monotonic() - began < souk.timeout_s
            assert [answer.user_state for answer in answers] == [UserStateUse.UNAVAILABLE] * 5
            assert store.failures == 5
            assert all(answer.hits == plain for answer in answers)


def test_a_redis_that_is_back_is_asked_again(redis_url, away, monkeypatch):
    store = RedisUserState(away)
    with pytest.raises(UserStateError, match="cannot be read: "):
        store.behavior("u")
    with pytest.raises(UserStateError, match="did not answer a moment ago"):
        store.behavior("u")
    monkeypatch.setattr(store, "_retry_at", 0.0)
    monkeypatch.setattr(store, "_read", RedisUserState(redis_url)._read)
    assert store.behavior("u") is None


def test_a_store_is_an_address_or_a_file(tmp_path, redis_url):
    assert isinstance(open_user_state("redis://localhost:1/0"), RedisUserState)
    assert isinstance(open_user_state(redis_url), RedisUserState)
    (tmp_path / "user_state.parquet").touch()
    assert isinstance(open_user_state(str(tmp_path / "user_state.parquet")), ParquetUserState)
    for name, message in (
        ("http://host", "names no store of user states"),
        (str(tmp_path / "missing"), "There is no user state file"),
        ("redis://host:port", "is no address of a Redis server"),
    ):
        with pytest.raises(InputError, match=message):
            open_user_state(name)


def test_a_password_is_in_no_message():
    with pytest.raises(UserStateError) as caught:
        RedisUserState("redis://me:secret@127.0.0.1:1/0").behavior("u")
    assert "secret" not in str(caught.value)


def test_without_the_package_redis_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(InputError, match=r"pip install 'souk-client\[redis\]'"):
        RedisUserState("redis://localhost:6379/0")
