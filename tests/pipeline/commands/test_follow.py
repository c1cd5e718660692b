"""`souk follow` as a shop runs it."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import click
import pytest
import redis

from components.example_gen.config import WindowConfig
from souk_client.redis_user_state import RedisUserState
from tests.components.example_gen import oracle
from tests.components.example_gen.oracle import Event
from tests.components.example_gen.small_shop import make_shop
from tests.conftest import souk_here
from tests.pipeline.follow.conftest import lines
from tests.pipeline.follow.kafka_broker import free_port


def _recent_shop(searches: int) -> tuple[list[Event], set[str]]:
    """A shop's log that ends a minute ago, with what is delivered twice in it."""
    shop = make_shop(searches, seed=5)
    move = time.time_ns() // 1_000_000 - 60_000 - max(event.timestamp_ms for event in shop.log)
    log = [dataclasses.replace(event, timestamp_ms=event.timestamp_ms + move) for event in shop.log]
    return log + log[::7], {event.item_id for event in log if event.item_id}


@contextmanager
def _following(*arguments: str):
    """A follower's process, once it follows."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "follow", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        said = next(line for line in process.stderr if line.startswith("following"))
        assert "Redis stream souk:events" in said
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


@pytest.mark.slow
def test_a_killed_follower_goes_on_where_it_was(redis_url):
    """SIGKILL half-way, then a second one to the end: the states are those of ingestion's own rules."""
    log, items = _recent_shop(150)
    client, port = redis.Redis.from_url(redis_url), free_port()
    written = lines(log)

    def send(events: list[bytes]) -> None:
        with client.pipeline(transaction=False) as pipe:
            for event in events:
                pipe.xadd("souk:events", {"event": event})
            pipe.execute()

    def left() -> int:
        (group,) = client.xinfo_groups("souk:events") or [{"lag": 1, "pending": 0}]
        return group["lag"] + group["pending"]

    arguments = ("redis", "--user-state", redis_url, "--consumer", "a", "--metrics-port", str(port))
    with _following(*arguments) as process:
        send(written[: len(written) // 2])
        while not client.keys("souk:user:*"):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    send(written[len(written) // 2 :])
    with _following(*arguments) as process:
        while left():
            time.sleep(0.01)
        told = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "events came" in errors
    applied = float(re.search(r'^souk_follow_events_total{outcome="applied"} (\S+)$', told, re.MULTILINE)[1])
    assert 0 < applied <= len(log)
    assert re.search(r"^souk_follow_backlog_events 0.0$", told, re.MULTILINE)
    assert re.search(r"^souk_follow_lag_seconds ", told, re.MULTILINE)

    moment, windows = time.time_ns() // 1_000_000, WindowConfig()
    requests, interactions = oracle.join(log, items, moment)
    store = RedisUserState(redis_url)
    for user in {event.user_id for event in log}:
        expected = oracle.behavior(user, moment, requests, interactions, windows)
        behavior = store.behavior(user, moment)
        assert {name: list(getattr(behavior, name)) if behavior else [] for name in expected} == expected


def test_a_pipe_is_followed_to_its_end(redis_url, tmp_path, monkeypatch):
    """With the files of a shop and a configuration: what the catalog does not have goes to a file."""
    now = time.time_ns() // 1_000_000
    log = [
        Event("s", now - 3000, "r", "u", "search", "hat", None, None),
        Event("c", now - 2000, "r", "u", "click", None, "i1", None),
        Event("d", now - 1000, "r", "u", "click", None, "new", None),
    ]
    (tmp_path / "catalog.jsonl").write_text('{"item_id": "i1", "title": "hat"}\n')
    data = {"events": "no such events", "catalog": "catalog.jsonl"}
    config = tmp_path / "souk.yaml"
    config.write_text(json.dumps({"name": "s", "root": "run", "ingest": {"data": data}}))
    (tmp_path / "events").write_bytes(b"\n".join(lines(log)))
    letters = tmp_path / "letters.jsonl"
    with (tmp_path / "events").open("rb") as stream:
        monkeypatch.setattr("pipeline.follow.sources.STANDARD_INPUT", stream.fileno())
        options = ("--user-state", redis_url, "--config", str(config), "--dead-letters", str(letters))
        result = souk_here("follow", *options)
    assert "the catalog has 1 items" in result.stderr
    assert "3 events came: 3 were new, 0 were known" in result.stderr
    assert "1 are dead letters (1 unknown_item)" in result.stderr
    assert json.loads(letters.read_text())["row"]["item_id"] == "new"
    assert RedisUserState(redis_url).behavior("u").real_time_items == ("i1",)


def test_one_that_ends_while_redis_is_away_says_what_is_lost(monkeypatch):
    def say(text: str) -> None:
        click.echo(text, err=True)
        if text.startswith("waiting for Redis"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("pipeline.commands.follow._say", say)
    result = souk_here("follow", "--user-state", "redis://127.0.0.1:1/0", expect=1)
    assert "0 events came" in result.stderr
    assert "send those of a pipe again" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kafka",), "needs --servers HOST:PORT and at least one --topic"),
        (("kafka", "--servers", "h:1", "--topic", "t", "--kafka-set", "x"), "--kafka-set x is no KEY=VALUE"),
        (("--from-run", "3"), "need --config"),
        (("--set", "a=b"), "need --config"),
        (("--user-state", "http://host"), "is no address of a Redis server"),
        (("--from-run", "nowhere", "--user-state", "unix:///no/such/socket"), "No Redis answers at"),
    ],
)
def test_bad_input_ends_it_with_a_message(arguments, message):
    assert message in " ".join(souk_here("follow", *arguments, expect=2).stderr.split())


def test_a_folder_that_is_no_ingestions_is_told(redis_url, tmp_path):
    result = souk_here("follow", "--from-run", str(tmp_path), "--user-state", redis_url, expect=2)
    assert "so it is no folder that `souk run` or `souk ingest` wrote" in " ".join(result.stderr.split())


def test_a_key_that_is_no_stream_is_told(redis_url):
    redis.Redis.from_url(redis_url).set("souk:events", "text")
    result = souk_here("follow", "redis", "--user-state", redis_url, expect=2)
    assert "Redis refuses what `souk follow` asks of it" in result.stderr


def test_a_wrong_password_is_told_and_not_waited_for(redis_url):
    client = redis.Redis.from_url(redis_url)
    client.config_set("requirepass", "right")
    try:
        result = souk_here("follow", "redis", "--user-state", f"{redis_url}?password=wrong", expect=2)
    finally:
        redis.Redis.from_url(redis_url, password="right").config_set("requirepass", "")
    assert "invalid username-password pair" in result.stderr
    assert "password=" not in result.stderr
