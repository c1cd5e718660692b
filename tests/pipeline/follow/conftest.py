"""Followers over a real Redis, with a clock that a test sets."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import polars as pl
import pytest
import redis

from components.example_gen.config import WindowConfig
from pipeline.follow.events import EventReader, Format
from pipeline.follow.follower import Follower
from serving.user_state.redis_writer import UserStateWriter
from tests.components.example_gen.oracle import Event


class Letters:
    """Dead letters that a test looks at."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Any]] = []

    def write(self, rejects: pl.DataFrame) -> None:
        self.rows += [(reason, json.loads(row)) for reason, _, row in rejects.iter_rows()]

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.rows]


class Items:
    """The items of a catalog; None for any."""

    def __init__(self, ids: Iterable[str] | None) -> None:
        self._ids = None if ids is None else frozenset(ids)

    def ids(self) -> frozenset[str] | None:
        return self._ids


def lines(log: Iterable[Event]) -> list[bytes]:
    """Events in Souk's columns, one JSON object each."""
    return [
        json.dumps({**{k: v for k, v in vars(e).items() if k != "timestamp_ms"}, "timestamp": e.timestamp_ms}).encode()
        for e in log
    ]


MakeFollower = Callable[..., Follower]


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def make_follower(redis_url: str, letters: Letters) -> MakeFollower:
    """Makes followers of one Redis, which is empty at first."""

    def make(
        windows: WindowConfig | None = None,
        *,
        items: Iterable[str] | None = None,
        clock: Callable[[], int] | None = None,
        max_user_events: int = 2000,
        form: Format | None = None,
    ) -> Follower:
        client = redis.Redis.from_url(redis_url)
        writer = UserStateWriter(
            client, redis_url, (windows or WindowConfig()).behavior_windows, max_user_events, 86_400_000
        )
        follower = Follower(EventReader(form or Format(), "test"), writer, letters, Items(items), 600_000, clock)
        follower.open()
        return follower

    return make
