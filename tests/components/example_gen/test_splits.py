import pytest

from components.example_gen.config import MILLISECONDS_PER_DAY as DAY
from components.example_gen.config import IngestConfig
from components.example_gen.splits import Splits, TimeSpan, resolve_splits
from components.example_gen.timestamps import parse_timestamp
from schema.settings import InputError

FIRST = parse_timestamp("2026-03-01T00:00:00Z")
SPAN = TimeSpan(FIRST, FIRST + 10 * DAY)


def _config(**values: object) -> IngestConfig:
    return IngestConfig.parse({"data": {"events": "e.jsonl", "catalog": "c.jsonl"}, **values})


def test_eval_is_the_last_day_by_default() -> None:
    end = SPAN.last + 1
    assert resolve_splits(_config(), SPAN) == Splits(FIRST, end - DAY, end)


def test_days_may_be_parts_of_days() -> None:
    assert resolve_splits(_config(eval_days=0.5), SPAN).eval_start == SPAN.last + 1 - DAY // 2


def test_a_date_ends_the_log_at_the_start_of_its_day_however_long_the_log_goes_on() -> None:
    config = _config(date="2026-03-10", eval_days=2)
    assert resolve_splits(config, SPAN) == Splits(FIRST, FIRST + 7 * DAY, FIRST + 9 * DAY)


def test_moments_may_be_named() -> None:
    config = _config(train_start="2026-03-03T00:00:00+01:00", eval_start="2026-03-08T00:00:00Z")
    assert resolve_splits(config, SPAN) == Splits(FIRST + 2 * DAY - DAY // 24, FIRST + 7 * DAY, SPAN.last + 1)


@pytest.mark.parametrize(
    "values", [{"eval_days": 11}, {"eval_start": "2026-04-01T00:00:00Z"}, {"eval_start": "2026-03-01T00:00:00Z"}]
)
def test_an_empty_split_is_refused_with_the_time_that_the_log_covers(values: dict) -> None:
    with pytest.raises(InputError, match=r"2026-03-01T00:00:00Z to 2026-03-11T00:00:00Z"):
        resolve_splits(_config(**values), SPAN)


def test_training_must_begin_before_the_evaluation() -> None:
    with pytest.raises(InputError, match="train_start"):
        resolve_splits(_config(train_start="2026-03-09T00:00:00Z", eval_start="2026-03-08T00:00:00Z"), SPAN)
