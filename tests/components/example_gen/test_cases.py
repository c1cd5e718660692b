"""Files as people really have them, out of ../shared/cases, read without Beam."""

from pathlib import Path

import pytest
import yaml

from components.example_gen.catalog_file import read_catalog_file
from components.example_gen.config import IngestConfig
from components.example_gen.job import CATALOG, EVENTS, USERS, plan_job
from schema.settings import InputError
from tests.components.example_gen.read_job import Read, read_job

CASES = Path(__file__).parents[3] / ".." / "shared" / "cases"
ITEMS, LOGGED = 30, 435


def _case(name: str) -> Path:
    if not (CASES / name).is_dir():
        pytest.skip(f"the case is not at ../shared/cases/{name}")
    return CASES / name


def _read(name: str) -> dict[str, Read]:
    folder = _case(name)
    section = yaml.safe_load((folder / "shop.yaml").read_text())["ingest"]
    for kind in {EVENTS, CATALOG, USERS} & section["data"].keys():
        section["data"][kind] = str(folder / section["data"][kind])
    return read_job(plan_job(IngestConfig.parse(section), "out", "work"))


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("cat_algolia_hierarchical", ("Home", "C1")),
        ("cat_list_of_numbers", ("12", "17")),
        ("cat_nested_lists", ("Home", "C1")),
        ("catalog_hits", ("Home", "C0")),
        ("csv_float_user_ids", ("Home", "C0")),
        ("csv_nan_price", ("Home", "C0")),
        ("gzip_without_gz", ("Home", "C0")),
        ("jsonl_nan_price", ("Home", "C0")),
        ("path_with_brackets", ("Home", "C0")),
        ("pq_float_ean_ids", ("Home", "C0")),
        ("pq_struct_category", ("Home",)),
        ("spark_folder", ("Home", "C0")),
        ("ts_fraction_of_ms", ("Home", "C0")),
        ("ts_java_zero_seconds", ("Home", "C0")),
    ],
)
def test_every_row_of_the_case_is_read(name: str, category: tuple[str, ...]) -> None:
    read = _read(name)
    assert {kind: (len(found.rows), found.reasons) for kind, found in read.items() if kind != USERS} == {
        CATALOG: (ITEMS, {}),
        EVENTS: (LOGGED, {}),
    }
    assert read[CATALOG].rows[0][3] == category
    known = {row[0] for row in read[CATALOG].rows}
    assert {row[6] for row in read[EVENTS].rows if row[6] is not None} <= known


def test_float_user_ids_are_those_of_the_profiles() -> None:
    read = _read("csv_float_user_ids")
    assert {row[3] for row in read[EVENTS].rows} - {None} <= {row[0] for row in read[USERS].rows}


def test_nan_is_an_unknown_price_and_brand() -> None:
    items = {row[0]: row for row in _read("csv_nan_price")[CATALOG].rows}
    assert (items["i2"][2], items["i2"][5]) == (None, None)
    assert items["i3"][5] == 9.5
    assert _read("jsonl_nan_price")[CATALOG].rows[0][5] is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("csv_utf16", r"catalog\.csv is UTF-16 by its first bytes"),
        ("json_array", r"catalog\.json is one JSON array.*jq -c '\.\[\]'"),
        ("pq_duplicate_columns", r"catalog\.parquet names a column twice"),
        ("pq_events_item_id_list", r"the column item_id of .*events\.parquet holds lists.*a text is wanted"),
        ("pq_list_in_text_column", r"the column brand of .*catalog\.parquet holds lists.*a text is wanted"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _read(name)


def test_microseconds_are_told_by_name() -> None:
    assert _read("ts_microseconds_hint")[EVENTS].reasons == {"timestamp_in_microseconds": LOGGED}


def test_evaluation_refuses_a_brand_of_lists_as_ingestion_does() -> None:
    with pytest.raises(InputError, match=r"the column brand of .*catalog\.parquet holds lists"):
        read_catalog_file(str(_case("list_brand_evaluate") / "catalog.parquet"))
