"""Following a stream of a real Redis, through restarts of the follower and of Redis."""

import json
import threading
import time

import pytest
import redis

from pipeline.follow import redis_stream
from pipeline.follow.dead_letters import DeadLetterFile, DeadLetterStream
from pipeline.follow.events import EventReader, Format
from pipeline.follow.follower import Follower, Following
from pipeline.follow.metrics import Metrics
from pipeline.follow.redis_stream import RedisStream
from souk_client.errors import UserStateError
from souk_client.redis_user_state import RedisUserState
from tests import redis_server
from tests.pipeline.follow.conftest import Items

STREAM = "souk:events"


def click(number: int, user: str = "u") -> dict[str, object]:
    moment = time.time_ns() // 1_000_000 - 1000 + number
    return {
        "event_id": f"c{number}",
        "timestamp": moment,
        "user_id": user,
        "event_type": "click",
        "item_id": f"i{number}",
    }


def send(client: redis.Redis, *events: dict[str, object]) -> None:
    for event in events:
        client.xadd(STREAM, {"event": json.dumps(event)})


def items_of(store: RedisUserState, user: str = "u") -> set[str]:
    behavior = store.behavior(user, time.time_ns() // 1_000_000 + 60_000)
    return set() if behavior is None else set(behavior.real_time_items)


def read(source: RedisStream) -> list[str]:
    """The ids of the next events."""
    return [json.loads(line)["event_id"] for line in source.poll().lines]


@pytest.fixture
def client(redis_url) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


def test_what_was_taken_and_not_done_comes_again_after_a_restart(client):
    send(client, *(click(number) for number in range(4)))
    source = RedisStream(client, STREAM, "g", "a", batch=2)
    source.done(source.poll())
    assert read(source) == ["c2", "c3"]
    restarted = RedisStream(client, STREAM, "g", "a", batch=10)
    batch = restarted.poll()
    assert [json.loads(line)["event_id"] for line in batch.lines] == ["c2", "c3"]
    assert restarted.backlog() == 2
    restarted.done(batch)
    assert restarted.backlog() == 0
    send(client, click(4))
    while not (found := read(restarted)):
        pass
    assert found == ["c4"]


def test_what_another_follower_died_with_is_taken_over(client, monkeypatch):
    monkeypatch.setattr(redis_stream, "_IDLE_MS", 0)
    send(client, *(click(number) for number in range(4)))
    assert read(RedisStream(client, STREAM, "g", "dead", batch=3)) == ["c0", "c1", "c2"]
    assert read(RedisStream(client, STREAM, "g", "alive", batch=9)) == ["c0", "c1", "c2"]


def test_an_entry_is_an_event_by_its_fields_or_as_json(client):
    client.xadd(STREAM, {name: str(value) for name, value in click(1).items()})
    client.xadd(STREAM, {"data": json.dumps(click(2))})
    client.xadd(STREAM, {b"x": b"\xff"})
    lines = RedisStream(client, STREAM, "g", "a").poll().lines
    found = EventReader(Format(), "test").read(lines)
    assert found.events["event_id"].to_list() == ["c1", "c2"]
    assert found.rejects["reason"].to_list() == ["not_utf8"]


def test_entries_that_the_stream_was_trimmed_of_are_let_go(client):
    send(client, *(click(number) for number in range(3)))
    RedisStream(client, STREAM, "g", "a").poll()
    client.xtrim(STREAM, maxlen=1, approximate=False)
    source = RedisStream(client, STREAM, "g", "a")
    batch = source.poll()
    assert len(batch.lines) == 1
    source.done(batch)
    assert source.backlog() == 0


def test_dead_letters_say_why_in_a_stream_and_in_a_file(client, tmp_path):
    rejects = EventReader(Format(kind="souk"), "somewhere").read([b'{"event_id": "e"}', b"{"]).rejects
    DeadLetterStream(client).write(rejects)
    file = DeadLetterFile(tmp_path / "letters.jsonl")
    file.write(rejects)
    file.write(rejects)
    kept = [fields for _, fields in client.xrange("souk:dead_letters")]
    assert {fields[b"reason"] for fields in kept} == {b"not_json", b"bad_timestamp"}
    assert {fields[b"source"] for fields in kept} == {b"somewhere"}
    written = [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()]
    assert len(written) == 2 * len(kept)
    assert {row["reason"]: row["explanation"] for row in written}["not_json"] == "the line is not a JSON object"


def test_a_follower_waits_for_redis_and_loses_nothing(capsys):
    """Redis goes away twice under a stream of clicks, and comes back with what is on its disk."""
    said: list[str] = []
    with redis_server.running("--appendonly", "yes", "--appendfsync", "always") as server:
        client = redis.Redis.from_url(server.url)
        states = redis.Redis.from_url(server.url)
        from components.example_gen.config import WindowConfig
        from serving.user_state.redis_writer import UserStateWriter

        windows = WindowConfig().behavior_windows
        writer = UserStateWriter(states, server.url, windows, 2000, 86_400_000)
        source = RedisStream(redis.Redis.from_url(server.url), STREAM, "g", "a")
        reader = EventReader(Format(), source.name)
        follower = Follower(reader, writer, DeadLetterStream(states), Items(None), 600_000)
        metrics, stop = Metrics(), threading.Event()
        following = Following(source, follower, metrics, said.append)
        running = threading.Thread(target=following.run, args=(stop,))
        store = RedisUserState(server.url)
        running.start()
        try:
            for number in range(30):
                if number in (10, 20):
                    server.stop()
                    with pytest.raises(UserStateError):
                        store.behavior("u")
                    server.start()
                    store = RedisUserState(server.url)
                send(client, click(number))
            wanted = {f"i{number}" for number in range(30)}
            deadline = time.monotonic() + 60
            while items_of(store) != wanted and time.monotonic() < deadline:
                time.sleep(0.02)
            assert items_of(store) == wanted
        finally:
            stop.set()
            running.join()
    assert following.total.applied == 30
    assert any(line.startswith("waiting for Redis") for line in said)
    assert "Redis is back" in said
