import datetime

import pytest

from components.example_gen.config import IngestConfig, WindowConfig
from schema.settings import InputError

DATA = {"events": "events/*.jsonl", "catalog": ["c.jsonl"]}


def test_one_pattern_may_stand_for_a_list_of_one() -> None:
    config = IngestConfig.parse({"data": DATA})
    assert (config.data.events, config.data.catalog) == (("events/*.jsonl",), ("c.jsonl",))


def test_settings_survive_json() -> None:
    config = IngestConfig.parse(
        {"data": DATA | {"events_format": "ubi", "ubi_queries": "q.ndjson", "ubi_actions": {"tap": "click"}}}
    )
    assert IngestConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "given",
    [
        "2026-03-02",
        datetime.date(2026, 3, 2),
        "2026-03-02T04:30:00Z",
        datetime.datetime(2026, 3, 2, 4, 30, tzinfo=datetime.UTC),
        "2026-03-01T23:30:00-02:00",
    ],
)
def test_a_date_is_a_day_of_utc_or_a_moment_of_it(given) -> None:
    config = IngestConfig.parse({"data": DATA, "date": given})
    assert config.date == "2026-03-02"
    assert config.end_ms == 1_772_409_600_000


def test_the_date_goes_into_paths_and_comes_from_overrides() -> None:
    data = DATA | {"events": "logs/{date}/*.jsonl"}
    undated = IngestConfig.parse({"data": data})
    dated = IngestConfig.from_json(undated.to_json(), overrides="date=2026-03-02 data.catalog=c2.jsonl")
    assert dated.dated_data.events == ("logs/2026-03-02/*.jsonl",)
    assert dated.dated_data.catalog == ("c2.jsonl",)
    assert undated.end_ms is None
    with pytest.raises(InputError, match=r"`ingest.data.events` has logs/\{date\}.*`ingest.date` must say"):
        _ = undated.dated_data


def test_window_lengths_are_milliseconds() -> None:
    windows = WindowConfig()
    assert (windows.real_time_ms, windows.short_term_ms, windows.long_term_ms) == (
        86_400_000,
        864_000_000,
        2_592_000_000,
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": DATA, "date": "yesterday"}, "'yesterday' is neither a day such as 2026-03-01 nor a moment"),
        ({"data": DATA, "eval_dayz": 1}, "did you mean `eval_days`"),
        ({"data": {"events": "e.jsonl"}}, "`data.catalog` is required"),
        ({"data": DATA | {"events": []}}, "at least one file"),
        ({"data": DATA | {"events_format": "ubi"}}, "ubi_queries"),
        ({"data": DATA | {"events_format": "csv"}}, "events_format"),
        ({"data": DATA | {"ubi_queries": "q.ndjson"}}, "only read with"),
        ({"data": DATA | {"ubi_actions": {"tap": "click"}}}, "only read with"),
        ({"data": DATA | {"ubi_first_ordinal": 0}}, "only read with"),
        ({"data": DATA | {"profile_columns": ["age"]}}, "needs `users`"),
        ({"data": DATA, "eval_start": "soon"}, "not a timestamp"),
        ({"data": DATA, "eval_days": 0}, "greater than 0"),
        ({"data": DATA, "max_bad_fraction": 2}, "less than or equal to 1"),
        ({"data": DATA, "windows": {"real_time_cap": 0}}, "greater than or equal to 1"),
        ({"data": DATA, "partitions": 5000}, "less than or equal to 4096"),
        ({"data": DATA, "windows": {"scan": 10}}, "largest cap, 100"),
    ],
)
def test_a_wrong_setting_is_named(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        IngestConfig.parse(values)
