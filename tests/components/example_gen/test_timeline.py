import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.example_gen.config import MILLISECONDS_PER_DAY as DAY
from components.example_gen.config import IngestConfig
from components.example_gen.summary import Tally
from components.example_gen.timeline import days_of, log_end, timeline
from components.example_gen.times import TimeSpan

START = 20_000 * DAY


def _days(*times: int) -> dict[str, tuple[int, int]]:
    return days_of(pl.Series([START + time for time in times], dtype=pl.Int64))


@given(st.lists(st.integers(0, 29 * DAY), min_size=1, max_size=50))
def test_a_log_without_long_gaps_ends_at_its_last_moment(times: list[int]) -> None:
    assert log_end(_days(*times)) == START + max(times)


@pytest.mark.parametrize(
    ("usual", "late", "is_wrong"),
    [(60, [90], True), (300, [90, 120, 4000], True), (300, [90, 90, 90, 90], False), (60, [9], False)],
)
def test_few_rows_long_after_all_others_are_not_the_end(usual: int, late: list[int], is_wrong: bool) -> None:
    times = [n * DAY // 60 for n in range(usual)]
    end = max(times) if is_wrong else late[-1] * DAY
    assert log_end(_days(*times, *(day * DAY for day in late))) == START + end


def _timeline(searches: dict, events: dict, **settings: object):
    spans = [TimeSpan(START, max(last for _, last in days.values())) for days in (searches, events)]
    config = IngestConfig.parse({"data": {"events": "e", "catalog": "c"}, **settings})
    return timeline(Tally({}, *spans, search_days=searches, event_days=events), config)


def test_user_states_are_of_after_the_last_event() -> None:
    searches = _days(0, 5 * DAY)
    plan = _timeline(searches, _days(0, 5 * DAY, 7 * DAY))
    assert (plan.splits.end, plan.states_at, plan.after_the_end) == (START + 5 * DAY + 1, START + 7 * DAY + 1, 0)
    plan = _timeline(searches, _days(0, 5 * DAY, 900 * DAY))
    assert (plan.splits.end, plan.states_at, plan.after_the_end) == (START + 5 * DAY + 1, START + 5 * DAY + 1, 1)
