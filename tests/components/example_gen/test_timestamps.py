import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_gen.timestamps import format_timestamp, parse_timestamp, parse_timestamps
from schema.settings import InputError

NOON = 1_772_366_400_000


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
        ("2026-02-29T12:00:00Z", None),
        ("2026-03-01", None),
        ("01.03.2026 12:00", None),
        ("", None),
        (None, None),
    ],
)
def test_timestamps_are_rfc_3339_or_epoch_milliseconds(text: str | None, expected: int | None) -> None:
    assert parse_timestamps(pl.Series([text], dtype=pl.String)).to_list() == [expected]


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
