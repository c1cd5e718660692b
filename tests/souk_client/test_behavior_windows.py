"""Lists of one user at a moment, against the plain-Python oracle of ingestion."""

import random

from components.example_gen.config import WindowConfig
from souk_client.behavior_windows import UserEvent, lists_at
from tests.components.example_gen import oracle
from tests.components.example_gen.oracle import Interaction

HOUR, MOMENT = 3_600_000, 1_772_323_200_000
WINDOWS = WindowConfig(
    real_time_hours=3,
    short_term_days=0.25,
    long_term_days=0.5,
    real_time_cap=3,
    short_term_cap=2,
    long_term_cap=2,
    history_queries_cap=3,
    scan=5,
)


def test_lists_have_the_edges_order_and_caps_of_the_oracle() -> None:
    """Events lie on a grid of hours, so that many are at the edges of windows and at one moment."""
    rng = random.Random(0)
    for _ in range(200):
        done = [
            Interaction("u", MOMENT - rng.randrange(25) * HOUR, f"e{n}", kind, f"i{rng.randrange(6)}")
            for n, kind in enumerate(rng.choices(["click", "add_to_cart", "order"], k=rng.randrange(30)))
        ]
        asked = [
            {
                "user_id": "u",
                "timestamp_ms": MOMENT - rng.randrange(25) * HOUR,
                "request_id": f"r{n}",
                "query": f"q{n % 4}",
            }
            for n in range(rng.randrange(12))
        ]
        events = [UserEvent(i.timestamp_ms, i.event_id.encode(), i.item_id.encode(), i.event_type) for i in done]
        events += [UserEvent(r["timestamp_ms"], r["request_id"].encode(), r["query"].encode(), "search") for r in asked]
        rng.shuffle(events)
        found = lists_at(events, WINDOWS.behavior_windows, MOMENT)
        expected = oracle.behavior("u", MOMENT, asked, done, WINDOWS)
        assert {name: list(values) for name, values in found.items()} == expected


def test_the_caps_are_those_of_the_configuration() -> None:
    windows = WindowConfig(real_time_cap=1, short_term_cap=2, long_term_cap=3, history_queries_cap=4)
    caps = {one.name: one.cap for one in windows.behavior_windows.lists()}
    assert sorted(caps.values()) == [1, 2, 3, 3, 3, 4]
    assert windows.behavior_windows.longest_ms == 41 * 24 * HOUR
