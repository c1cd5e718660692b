"""Tables: what is found, refused and read, by Google's own clients over HTTP and gRPC."""

import datetime
import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import apache_beam as beam
import polars as pl
import pytest
from apache_beam.io.gcp import bigquery as beam_bigquery
from apache_beam.io.gcp import bigquery_tools
from apache_beam.options.pipeline_options import PipelineOptions

from components.example_gen.cloud import find_tables, read_client
from components.example_gen.columns import CATALOG_COLUMNS, EVENT_COLUMNS
from components.example_gen.fingerprint import fingerprint
from components.example_gen.inputs import Reading, find_inputs, read_batches, read_rows, split_inputs
from components.example_gen.job import plan_job
from components.example_gen.readers import bigquery as reader
from schema.settings import InputError
from tests.cloud.bigquery import Field
from tests.cloud.shop import CATALOG_FIELDS, EVENT_FIELDS, configured, event_rows, put_shop
from tests.components.example_gen.cloud.conftest import Cloud
from tests.components.example_gen.small_shop import Shop, make_shop

EVENTS = "bigquery://shop-project.logs.events"
SMALL = "bigquery://shop-project.types.small"


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(20)


@pytest.fixture
def data(cloud: Cloud, shop: Shop) -> dict:
    """The section `data` of a shop in tables."""
    cloud.bigquery.tables.clear()
    return put_shop(cloud.bigquery, shop)


def rows_of(address: str, columns: tuple[str, ...]) -> pl.DataFrame:
    splits = split_inputs(find_inputs((address,), "events"), Reading("events", columns))
    return pl.concat([batch.frame for split in splits for batch in read_batches(split, columns)])


def test_beams_own_connector_reads_the_same_rows(
    cloud: Cloud, data: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("https_proxy")
    monkeypatch.setattr(bigquery_tools.bigquery.BigqueryV2, "BASE_URL", f"{cloud.server.address}/bigquery/v2/")
    library = SimpleNamespace(BigQueryReadClient=read_client, types=beam_bigquery.bq_storage.types)
    monkeypatch.setattr(beam_bigquery, "bq_storage", library)
    ours = rows_of(EVENTS, EVENT_COLUMNS)
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(["--project=shop-project"])) as pipeline:
        rows = pipeline | beam.io.ReadFromBigQuery(
            table="shop-project:logs.events",
            method=beam.io.ReadFromBigQuery.Method.DIRECT_READ,
            use_native_datetime=True,
            selected_fields=list(EVENT_COLUMNS),
        )
        rows | beam.Map(_text_row) | beam.io.WriteToText(str(tmp_path / "rows"), shard_name_template="")
    theirs = [tuple(json.loads(line)) for line in (tmp_path / "rows").read_text().splitlines()]
    assert len(theirs) > 20
    assert sorted(ours.rows(), key=str) == sorted(theirs, key=str)


def _text_row(row: dict) -> str:
    row = row | {"timestamp": round(row["timestamp"].timestamp() * 1000)}
    return json.dumps([None if row[name] is None else str(row[name]) for name in EVENT_COLUMNS])


def test_only_the_columns_and_rows_asked_for_are_read(cloud: Cloud, data: dict) -> None:
    clicks = rows_of(f"{EVENTS}?where=event_type = 'click'", EVENT_COLUMNS)
    everything = rows_of(EVENTS, EVENT_COLUMNS)
    assert (
        len(split_inputs(find_inputs((EVENTS,), "events"), Reading("events", EVENT_COLUMNS))) == cloud.bigquery.streams
    )
    assert 0 < len(clicks) == (everything["event_type"] == "click").sum() < len(everything)
    _, session = cloud.bigquery.sessions[-3]
    assert set(session.read_options.selected_fields) == set(EVENT_COLUMNS)
    assert session.read_options.row_restriction == "event_type = 'click'"


def test_values_of_every_type_become_the_text_that_files_have(cloud: Cloud) -> None:
    time = datetime.datetime(2026, 3, 1, 12, 30, 0, 123456, datetime.UTC)
    fields = {
        "item_id": (Field("item_id", "INTEGER"), 2**53 + 1, "9007199254740993"),
        "title": (Field("title", "BYTES"), "鞋".encode(), "鞋"),
        "brand": (Field("brand", "BIGNUMERIC"), Decimal("7"), "7." + "0" * 38),
        "category": (Field("category", "JSON"), '["a", "b"]', '["a", "b"]'),
        "shop": (Field("shop", "DATE"), time.date(), "2026-03-01"),
        "price": (Field("price", "NUMERIC"), Decimal("19.5"), "19.500000000"),
    }
    cloud.bigquery.put(
        "shop-project.types.small", tuple(f for f, _, _ in fields.values()), [{n: v for n, (_, v, _) in fields.items()}]
    )
    assert rows_of(SMALL, CATALOG_COLUMNS[:-1]).rows() == [tuple(text for _, _, text in fields.values())]
    for kind, zone in (("TIMESTAMP", datetime.UTC), ("DATETIME", None)):
        cloud.bigquery.put(
            "shop-project.types.small", (Field("timestamp", kind),), [{"timestamp": time.replace(tzinfo=zone)}]
        )
        assert rows_of(SMALL, ("timestamp",)).item() == "1772368200123"


def test_columns_under_other_names_alone_are_asked_for(cloud: Cloud) -> None:
    fields = (Field("sku", "INTEGER"), Field("colors", "STRING", "REPEATED"), Field("stars", "FLOAT"), Field("size"))
    cloud.bigquery.put("shop-project.types.small", fields, [{"sku": 7, "colors": ["red", "blue"], "stars": 4.5}])
    names = {"item_id": "sku", "color": "colors", "rating": "stars"}
    reading = Reading("catalog", ("item_id", "color", "rating"), names=names, lists=("color",), inexact=("rating",))
    (split,) = split_inputs(find_inputs((SMALL,), "catalog"), reading)
    (batch,) = read_rows(split, reading)
    assert batch.frame.to_dicts() == [{"item_id": "7", "color": ["red", "blue"], "rating": "4.5"}]
    _, session = cloud.bigquery.sessions[-1]
    assert set(session.read_options.selected_fields) == {"sku", "colors", "stars"}


def test_a_row_whose_bytes_are_no_text_is_rejected_alone(cloud: Cloud) -> None:
    cloud.bigquery.put(
        "shop-project.types.small", (Field("query", "BYTES"),), [{"query": b"ok"}, {"query": b"\xff"}, {"query": None}]
    )
    splits = split_inputs(find_inputs((SMALL,), "events"), Reading("events", ("query",)))
    batchs = [batch for split in splits for batch in read_batches(split, ("query",))]
    assert [reject for batch in batchs for reject in batch.rejects] == [("not_utf8", "\\xff")]
    assert [value for batch in batchs for value in batch.frame["query"]] == ["ok", None]


def test_batches_do_not_depend_on_how_the_service_cuts_answers(
    cloud: Cloud, data: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BATCH_ROWS", 10)
    (split, *_) = split_inputs(find_inputs((EVENTS,), "events"), Reading("events", EVENT_COLUMNS))
    found = []
    for cloud.bigquery.page_rows, cloud.bigquery.breaks in ((3, 0), (7, 0), (25, 2), (1000, 0)):
        found.append([batch.frame for batch in read_batches(split, EVENT_COLUMNS)])
    cloud.bigquery.page_rows = 7
    assert {len(frame) for frame in found[0][:-1]} == {10}
    for other in found[1:]:
        assert [frame.rows() for frame in other] == [frame.rows() for frame in found[0]]


def test_a_stream_may_have_nothing_to_say(cloud: Cloud, data: dict) -> None:
    splits = split_inputs(find_inputs((EVENTS,), "events"), Reading("events", EVENT_COLUMNS))
    before = [batch.frame.rows() for split in splits for batch in read_batches(split, EVENT_COLUMNS)]
    cloud.bigquery.idle = True
    after = [batch.frame.rows() for split in splits for batch in read_batches(split, EVENT_COLUMNS)]
    cloud.bigquery.idle = False
    assert after == before
    cloud.bigquery._parts[splits[0].stream] = cloud.bigquery._parts[splits[0].stream].slice(0, 0)
    assert list(read_batches(splits[0], EVENT_COLUMNS)) == []


def test_a_pattern_names_all_tables_that_it_fits(cloud: Cloud) -> None:
    for day in ("20261118", "20261119"):
        cloud.bigquery.put(f"shop-project.days.events_{day}", EVENT_FIELDS, [])
    cloud.bigquery.put("shop-project.days.intraday", EVENT_FIELDS, [])
    found = find_inputs(
        ("bigquery://shop-project.days.events_*", "bigquery://shop-project.days.events_20261118"), "events"
    )
    assert [table.path.rpartition("_")[2] for table in found] == ["20261118", "20261119"]
    with pytest.raises(InputError, match=r"no table of shop-project\.days is called like 'none_\*'"):
        find_tables("bigquery://shop-project.days.none_*", "events")


def test_the_fingerprint_follows_a_table_and_what_is_read_of_it(cloud: Cloud, shop: Shop, data: dict) -> None:
    config = configured(data)
    before = fingerprint(config)
    assert fingerprint(config) == before
    assert fingerprint(configured(data | {"events": f"{EVENTS}?where=position < 3"})) != before
    cloud.bigquery.put("shop-project.logs.events", EVENT_FIELDS, event_rows(shop))
    assert fingerprint(config) != before


def test_settings_environment_or_key_name_the_project_that_pays(
    cloud: Cloud, data: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def payers(**bigquery: str) -> set[str]:
        cloud.bigquery.sessions.clear()
        plan_job(configured(data, bigquery=bigquery), "out", "work")
        return {payer for payer, _ in cloud.bigquery.sessions}

    assert payers() == {"shop-project"}
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "paying-project")
    assert payers() == {"paying-project"}
    assert payers(project="other-project") == {"other-project"}


def refused(data: dict, **settings: object) -> str:
    with pytest.raises(InputError) as caught:
        plan_job(configured(data, **settings), "out", "work")
    return str(caught.value)


def test_a_table_that_is_not_there_is_an_error(data: dict) -> None:
    said = refused(data | {"catalog": "bigquery://shop-project.logs.items"})
    assert said.startswith("`catalog`: cannot look at 'bigquery://shop-project.logs.items': there is no such thing")
    assert "Not found: Table shop-project:logs.items" in said


def test_a_missing_column_is_the_same_error_as_in_a_file(cloud: Cloud, data: dict) -> None:
    cloud.bigquery.put("shop-project.logs.catalog", CATALOG_FIELDS[1:], [{"title": "x"}])
    said = refused(data)
    assert said.startswith("`catalog`: bigquery://shop-project.logs.catalog has no column item_id. Found: title, brand")


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (Field("title", "STRING", "REPEATED"), "`title` is ARRAY<STRING>, of which only `category` may be one"),
        (Field("category", "FLOAT", "REPEATED"), "`category` is ARRAY<FLOAT>"),
        (Field("brand", "RECORD", fields=(Field("name"),)), "`brand` is RECORD; it must be a plain type"),
        (Field("shop", "GEOGRAPHY"), "`shop` is GEOGRAPHY"),
        (Field("item_id", "FLOAT"), "`item_id` is FLOAT, which holds no exact text"),
    ],
)
def test_a_column_of_a_type_that_has_no_text_is_an_error(cloud: Cloud, data: dict, field: Field, said: str) -> None:
    fields = tuple(field if field.name == known.name else known for known in CATALOG_FIELDS)
    cloud.bigquery.put("shop-project.logs.catalog", fields, [])
    assert said in refused(data)


def test_a_field_of_a_record_is_an_error(cloud: Cloud, data: dict) -> None:
    fields = (*CATALOG_FIELDS, Field("attributes", "RECORD", fields=(Field("color"),)))
    cloud.bigquery.put("shop-project.logs.catalog", fields, [])
    columns = {"catalog_columns": {"categorical": "color"}, "columns": {"catalog": {"color": "attributes.color"}}}
    assert "`attributes.color` is a field of a struct, which is read from files alone" in refused(data | columns)


def test_a_timestamp_that_is_no_moment_is_an_error(cloud: Cloud, data: dict) -> None:
    fields = tuple(Field("timestamp", "DATE") if known.name == "timestamp" else known for known in EVENT_FIELDS)
    cloud.bigquery.put("shop-project.logs.events", fields, [])
    assert "`timestamp` is DATE; it must be TIMESTAMP, DATETIME" in refused(data)


def test_a_view_is_an_error(cloud: Cloud, data: dict) -> None:
    cloud.bigquery.put("shop-project.logs.catalog", CATALOG_FIELDS, [], kind="VIEW")
    assert "is a view, which the Storage Read API does not read; keep its result in a table" in refused(data)


def test_a_table_or_a_condition_without_rows_is_an_error(cloud: Cloud, data: dict) -> None:
    assert "no row fits its condition" in refused(data | {"events": f"{EVENTS}?where=position > 1000"})
    cloud.bigquery.put("shop-project.logs.users", (Field("user_id"), Field("region"), Field("age")), [])
    assert "logs.users is empty: it has no rows" in refused(data)


def test_a_condition_that_is_no_sql_is_an_error(data: dict) -> None:
    said = refused(data | {"events": f"{EVENTS}?where=nothing = 1"})
    assert "cannot be read at the cost of project shop-project: " in said
    assert "row_restriction" in said


def test_the_error_of_a_project_that_may_not_pay_names_roles(cloud: Cloud, data: dict) -> None:
    cloud.bigquery.payers = {"another"}
    said = refused(data)
    cloud.bigquery.payers = None
    assert "the account may not (" in said
    assert "roles/bigquery.readSessionUser on the project that pays" in said


def test_without_credentials_it_says_how_to_sign_in(data: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST")
    said = refused(data)
    assert "not signed in to Google Cloud" in said
    assert "`gcloud auth application-default login`" in said


def test_an_expired_session_fails_a_broken_connection_does_not(cloud: Cloud, data: dict) -> None:
    (split, *_) = split_inputs(find_inputs((EVENTS,), "events"), Reading("events", EVENT_COLUMNS))
    cloud.bigquery.breaks = 2
    assert sum(len(batch.frame) for batch in read_batches(split, EVENT_COLUMNS)) > cloud.bigquery.page_rows
    cloud.bigquery._parts.clear()
    with pytest.raises(InputError, match=r"cannot be read to its end: there is no such thing \(.*expired"):
        list(read_batches(split, EVENT_COLUMNS))
