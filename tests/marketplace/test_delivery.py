import numpy as np
import polars as pl
import pytest

from marketplace.config import LogSettings
from marketplace.delivery import Delivery
from marketplace.searchers import DAY_MS


def events_of(day: int, count: int, rng: np.random.Generator) -> pl.DataFrame:
    time = np.sort(rng.integers(day * DAY_MS, (day + 1) * DAY_MS, count))
    return pl.DataFrame({"time": time, "event": day * 10**6 + np.arange(count)})


def test_every_event_arrives_once_or_twice_and_never_too_early() -> None:
    rng = np.random.default_rng(0)
    delivery = Delivery(LogSettings(duplicate_share=0.05, late_share=0.1, out_of_order_share=0.1))
    sent, arrived = [], []
    for day in range(12):
        events = events_of(day, 2_000, rng) if day < 8 else events_of(day, 0, rng)
        sent.append(events)
        got = delivery.deliver(events, day, rng)
        assert (got["time"] < (day + 1) * DAY_MS).all()
        arrived.append(got)
    counts = pl.concat(arrived)["event"].value_counts()
    assert set(counts["event"]) == set(pl.concat(sent)["event"])
    assert set(counts["count"]) == {1, 2}
    assert (counts["count"] == 2).mean() == pytest.approx(0.05, abs=0.01)


def test_without_trouble_each_day_arrives_whole_and_in_order() -> None:
    rng = np.random.default_rng(1)
    delivery = Delivery(LogSettings(duplicate_share=0, late_share=0, out_of_order_share=0))
    for day in range(3):
        events = events_of(day, 500, rng)
        assert delivery.deliver(events, day, rng).equals(events)


def test_what_waits_does_not_grow_with_the_log() -> None:
    rng = np.random.default_rng(2)
    delivery = Delivery(LogSettings())
    waiting = []
    for day in range(40):
        delivery.deliver(events_of(day, 2_000, rng), day, rng)
        waiting.append(sum(map(len, delivery._waiting)))
    # Three days of late events and one of replays.
    assert max(waiting) < 0.06 * 2_000 * 3
    assert np.mean(waiting[20:]) < 1.5 * np.mean(waiting[5:20])


def test_events_after_midnight_wait_for_their_day() -> None:
    rng = np.random.default_rng(3)
    delivery = Delivery(LogSettings(duplicate_share=0, late_share=0, out_of_order_share=0))
    events = pl.DataFrame({"time": [DAY_MS - 5, DAY_MS + 5], "event": [1, 2]})
    assert delivery.deliver(events, 0, rng)["event"].to_list() == [1]
    assert delivery.deliver(events.clear(), 1, rng)["event"].to_list() == [2]
