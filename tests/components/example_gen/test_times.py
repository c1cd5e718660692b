import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen.config import MILLISECONDS_PER_DAY as DAY
from components.example_gen.config import IngestConfig
from components.example_gen.times import (
    TimeSpan,
    TimeSplits,
    format_timestamp,
    parse_timestamp,
    parse_timestamps,
    resolve_splits,
)
from schema.settings import InputError

NOON = 1_772_366_400_000
EPOCH = datetime.datetime(1970, 1, 1)
FIRST = parse_timestamp("2026-03-01T00:00:00Z")
SPAN = TimeSpan(FIRST, FIRST + 10 * DAY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T12:00:00.123Z", NOON + 123),
        ("2026-03-01T12:00:00.123999Z", NOON + 123),
        ("2026-03-01T12:00:00.5+00:00", NOON + 500),
        ("2026-03-01T14:30:00+02:30", NOON),
        ("2026-03-01T04:00:00-08:00", NOON),
        ("2026-03-01 12:00:00Z", NOON),
        ("2026-03-01t12:00:00z", NOON),
        ("2026-03-01T12:00:00", NOON),
        (str(NOON), NOON),
        (f"{NOON}.0", NOON),
        (f"{NOON}.5", NOON),
        ("1.7723664E12", NOON),
        (f" {NOON} ", NOON),
        ("2026-03-01T12:00Z", NOON),
        ("2026-03-01T12:00", NOON),
        (" 2026-03-01  12:00:00 ", NOON),
        ("2026-03-01 12:00:00+00", NOON),
        ("2026-03-01 04:00:00.25-08", NOON + 250),
        ("2026-03-01T14:30:00+0230", NOON),
        ("2026-03-01 12:00:00 UTC", NOON),
        ("2026-03-01 12:00:00.123456 UTC", NOON + 123),
        ("2026-03-01 12:00:00 +0000 UTC", NOON),
        ("2026-03-01T13:00+01:00[Europe/Paris]", NOON),
        ("2026-03-01 12:00:00,5", NOON + 500),
        ("nan", None),
        ("inf", None),
        ("1e400", None),
        ("2026-03-01T12Z", None),
        ("2026-02-29T12:00:00Z", None),
        ("2026-03-01", None),
        ("01.03.2026 12:00", None),
        ("", None),
        (None, None),
    ],
)
def test_timestamps_are_rfc_3339_or_epoch_milliseconds(text: str | None, expected: int | None) -> None:
    assert parse_timestamps(pl.Series([text], dtype=pl.String)).to_list() == [expected]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.datetimes(datetime.datetime(1999, 1, 1), datetime.datetime(2101, 1, 1)), max_size=4),
    st.sampled_from([("T", "milliseconds"), (" ", "seconds"), ("T", "minutes"), ("T", "microseconds")]),
    st.sampled_from([("", 0), ("Z", 0), ("+02:30", 150), ("-0800", -480), ("+01", 60)]),
    st.sampled_from(["2026-03-01", "2026-03-01T12", "2026-03-01T12+02:00", "2026-03-01T12:00:61Z", "soon", None]),
)
def test_a_columns_times_are_read_whatever_stands_beside(
    times: list, form: tuple, zone: tuple, odd: str | None
) -> None:
    """Arrow reads a plain column whole; where one text is odd, each is read by itself."""
    separator, unit = form
    texts = [time.isoformat(separator, unit) + zone[0] for time in times]
    units = {"minutes": datetime.timedelta(minutes=1), "seconds": datetime.timedelta(seconds=1)}
    least = units.get(unit, datetime.timedelta(milliseconds=1))
    shift = datetime.timedelta(minutes=zone[1])
    expected = [((time - EPOCH) // least * least - shift) // datetime.timedelta(milliseconds=1) for time in times]
    assert parse_timestamps(pl.Series(texts, dtype=pl.String)).to_list() == expected
    assert parse_timestamps(pl.Series([*texts, odd], dtype=pl.String)).to_list() == [*expected, None]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                (None, None),
                ("x", None),
                (str(NOON), NOON),
                ("2026-03-01T12:00:00Z", NOON),
                ("2026-03-01T12:00:00", NOON),
                (f"{NOON}.9", NOON),
                ("2026-03-01 12:00+00", NOON),
            ]
        )
    )
)
def test_a_column_may_mix_all_of_them(rows: list[tuple[str | None, int | None]]) -> None:
    texts = pl.Series([text for text, _ in rows], dtype=pl.String)
    assert parse_timestamps(texts).to_list() == [value for _, value in rows]


def test_a_timestamp_survives_writing_and_reading() -> None:
    assert parse_timestamp(format_timestamp(NOON)) == NOON


def test_what_is_no_timestamp_is_told_with_an_example() -> None:
    with pytest.raises(InputError, match=r"'soon' is not a timestamp.*2026-03-01T00:00:00Z"):
        parse_timestamp("soon")


def _config(**values: object) -> IngestConfig:
    return IngestConfig.parse({"data": {"events": "e.jsonl", "catalog": "c.jsonl"}, **values})


def test_eval_is_the_last_day_by_default() -> None:
    end = SPAN.last + 1
    assert resolve_splits(_config(), SPAN) == TimeSplits(FIRST, end - DAY, end)


def test_days_may_be_parts_of_days() -> None:
    assert resolve_splits(_config(eval_days=0.5), SPAN).eval_start == SPAN.last + 1 - DAY // 2


def test_a_date_cuts_a_longer_log_at_the_start_of_its_day() -> None:
    config = _config(date="2026-03-10", eval_days=2)
    assert resolve_splits(config, SPAN) == TimeSplits(FIRST, FIRST + 7 * DAY, FIRST + 9 * DAY)


def test_moments_may_be_named() -> None:
    config = _config(train_start="2026-03-03T00:00:00+01:00", eval_start="2026-03-08T00:00:00Z")
    assert resolve_splits(config, SPAN) == TimeSplits(FIRST + 2 * DAY - DAY // 24, FIRST + 7 * DAY, SPAN.last + 1)


@pytest.mark.parametrize(
    "values", [{"eval_days": 11}, {"eval_start": "2026-04-01T00:00:00Z"}, {"eval_start": "2026-03-01T00:00:00Z"}]
)
def test_an_empty_split_is_refused_with_the_time_the_log_covers(values: dict) -> None:
    with pytest.raises(InputError, match=r"2026-03-01T00:00:00Z to 2026-03-11T00:00:00Z"):
        resolve_splits(_config(**values), SPAN)


def test_training_must_begin_before_the_evaluation() -> None:
    with pytest.raises(InputError, match="train_start"):
        resolve_splits(_config(train_start="2026-03-09T00:00:00Z", eval_start="2026-03-08T00:00:00Z"), SPAN)
