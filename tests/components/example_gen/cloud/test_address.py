import pytest

from components.example_gen.cloud import Address, dated, parse_address
from components.example_gen.config import IngestConfig
from schema.settings import InputError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("bigquery://shop-project.logs.events", Address("shop-project", "logs", "events")),
        ("bigquery://shop-project:logs.events", Address("shop-project", "logs", "events")),
        ("bigquery://example.com:shop-1.logs.events_*", Address("example.com:shop-1", "logs", "events_*")),
        (
            "bigquery://shop-project.logs.events?where=country = 'DE' AND a != b?c",
            Address("shop-project", "logs", "events", "country = 'DE' AND a != b?c"),
        ),
    ],
)
def test_an_address_has_project_dataset_table_and_condition(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bigquery://logs.events", "names no project"),
        ("bigquery://shop-project/logs/events", "joined by dots"),
        ("bigquery://shop-project.logs.events$20261120", "no partition.*_PARTITIONDATE = '2026-11-20'"),
        ("bigquery://shop-project.logs.events@1700000000000", "no moment"),
        ("bigquery://shop-project.logs.events?filter=x", "`where=` alone"),
        ("bigquery://shop-project.logs.events?where= ", "nothing after `where=`"),
        ("bigquery://Shop_Project.logs.events", "small letters"),
        ("bigquery://shop-project", "write bigquery://project.dataset.table"),
    ],
)
def test_a_misspelling_is_told_when_the_configuration_is_read(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=f"(?s)`data.users`: .*{problem}"):
        IngestConfig.parse({"data": {"events": "e.jsonl", "catalog": "c.jsonl", "users": text}})


def test_the_date_is_written_as_tables_and_conditions_write_it() -> None:
    text = "bigquery://shop-project.logs.events_{date}?where=day < '{date}'"
    assert dated(text, "2026-11-20") == "bigquery://shop-project.logs.events_20261120?where=day < '2026-11-20'"
    undated = IngestConfig.parse({"data": {"events": text, "catalog": "{date}/c.jsonl"}})
    config = IngestConfig.from_json(undated.to_json(), overrides="date=2026-11-20")
    assert config.dated_data.events == ("bigquery://shop-project.logs.events_20261120?where=day < '2026-11-20'",)
    assert config.dated_data.catalog == ("2026-11-20/c.jsonl",)
    with pytest.raises(InputError, match=r"`ingest.date` must say of which day"):
        _ = undated.dated_data
