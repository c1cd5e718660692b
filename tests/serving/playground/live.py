"""A follower of clicks beside a playground, as `souk follow redis` is."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from components.example_gen.config import WindowConfig
from pipeline.follow.dead_letters import DeadLetterStream
from pipeline.follow.events import EventReader, Format
from pipeline.follow.follower import Follower, Following
from pipeline.follow.metrics import Metrics
from pipeline.follow.redis_stream import RedisStream
from serving.user_state.redis_writer import UserStateWriter
from tests.pipeline.follow.conftest import Items


@contextmanager
def following(url: str) -> Iterator[UserStateWriter]:
    """Follows the stream souk:events within this process; yields what writes the states."""
    client, states = redis.Redis.from_url(url), redis.Redis.from_url(url)
    writer = UserStateWriter(states, url, WindowConfig().behavior_windows, 2000, 3_600_000)
    source = RedisStream(client, "souk:events", "g", "a")
    follower = Follower(EventReader(Format(), source.name), writer, DeadLetterStream(states), Items(None), 600_000)
    writer.open()
    stop = threading.Event()
    thread = threading.Thread(target=Following(source, follower, Metrics(), print).run, args=(stop,))
    thread.start()
    try:
        yield writer
    finally:
        stop.set()
        thread.join()
