"""A catalog whose columns have other names, and further columns, in every format: the same items come of it."""

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.example_gen.catalog_file import read_catalog_file
from components.example_gen.columns import EVENT_COLUMNS
from components.example_gen.config import IngestConfig
from components.example_gen.ingest import run_ingest
from schema.settings import InputError
from tests.components.example_gen import written
from tests.components.example_gen.small_shop import (
    make_shop,
    souk_rows,
    write_csv,
    write_jsonl,
    write_parquet,
    write_shop,
)

NAMES = {"item_id": "asin", "title": "Name (en)", "color": "attributes.color", "rating": "stars"}
FURTHER = {"text": ["description"], "categorical": ["color", "brand_line"], "numeric": ["rating"]}
WORDS = st.sampled_from(["", "red", "deep red", "鞋", 'a "b", c', "[x"])
ITEM = st.fixed_dictionaries(
    {
        "title": WORDS.filter(bool),
        "brand": st.none() | WORDS,
        "price": st.none() | st.sampled_from(["1.5", "20"]),
        "description": st.none() | WORDS,
        "color": st.none() | WORDS,
        "brand_line": st.none() | WORDS,
        "rating": st.none() | st.sampled_from(["4.5", "3", "nan"]),
    }
)


def _config(catalog: Path, **data: Any) -> IngestConfig:
    return IngestConfig.parse({"data": {"events": "e", "catalog": str(catalog), "catalog_columns": FURTHER, **data}})


def _renamed(row: dict[str, Any], nested: bool) -> dict[str, Any]:
    renamed = {NAMES.get(name, name): value for name, value in row.items()}
    if nested:
        renamed["attributes"] = {"color": renamed.pop("attributes.color"), "size": "5"}
    return renamed


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pl.DataFrame(rows, infer_schema_length=None).cast({pl.Null: pl.String}).write_parquet(path)
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize(("form", "nested"), [("jsonl", False), ("jsonl", True), ("parquet", True), ("csv", False)])
@given(rows=st.lists(ITEM, min_size=1, max_size=8))
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_catalog_under_other_names_gives_the_same_items(
    tmp_path: Path, form: str, nested: bool, rows: list[dict[str, Any]]
) -> None:
    items = [{"item_id": f"i{number}", **row} for number, row in enumerate(rows)]
    plain = read_catalog_file(None, _config(_write(tmp_path / "plain.jsonl", items))).catalog
    other = _write(tmp_path / f"other.{form}", [_renamed(item, nested) for item in items])
    assert read_catalog_file(None, _config(other, columns={"catalog": NAMES})).catalog == plain
    assert [written.row(example)["text_description"] for example in plain.examples] == [
        row["description"] or None for row in rows
    ]


def test_bm25_reads_every_text_and_value(tmp_path: Path) -> None:
    item = {"item_id": "i1", "title": "Shoe", "brand": "B", "description": ["Soft", "Warm"], "color": ["red", "red"]}
    catalog = read_catalog_file(None, _config(_write(tmp_path / "c.jsonl", [item | {"rating": 4, "brand_line": "X"}])))
    assert catalog.catalog.texts() == ["Shoe B X red Soft\nWarm"]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_other_names_in_log_and_profiles_give_the_same_requests(tmp_path: Path, form: str, expected) -> None:
    shop = make_shop()
    config = write_shop(tmp_path / "in", shop, form)
    write = {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}[form]
    for path in (tmp_path / "in").glob("events-*"):
        rows = pl.DataFrame(souk_rows(shop.log), infer_schema_length=None)
        write(path, rows.rename({name: name.upper() for name in EVENT_COLUMNS}).to_dicts())
    names = {name: name.upper() for name in EVENT_COLUMNS}
    data = config.data.model_dump() | {"columns": {"events": names}}
    run_ingest(IngestConfig.parse(config.model_dump() | {"data": data}), str(tmp_path / "out"))
    assert written.in_order(tmp_path / "out", "train") == expected["train"]


def test_what_is_named_is_ingested_and_what_is_not_is_told_of(tmp_path: Path) -> None:
    shop = make_shop(30)
    config = write_shop(tmp_path / "in", shop)
    rows = [row | {"about": f"About {row['item_id']}", "rating": "4", "cost": 1, "n/a": None} for row in shop.catalog]
    write_jsonl(tmp_path / "in" / "catalog.jsonl", rows)
    columns = {"text": ["description"], "numeric": ["rating"], "categorical": ["gone"]}
    names = {"catalog": {"description": "about", "gone": "n/a"}}
    data = config.data.model_dump() | {"catalog_columns": columns, "columns": names}
    summary = run_ingest(IngestConfig.parse(config.model_dump() | {"data": data}), str(tmp_path / "out"))
    items = written.rows(tmp_path / "out", "catalog")
    assert {row["text_description"] for row in items} == {f"About {row['item_id']}" for row in shop.catalog}
    assert {row["numeric_rating"] for row in items} == {4.0}
    assert summary.unused_catalog_columns == ("cost",)
    assert summary.empty_catalog_features == ("categorical_gone",)
    unused, empty = summary.notes()
    assert unused.startswith("Catalog columns that are not used: cost. Name those")
    assert empty.startswith("No item has a value of categorical_gone.")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["notes"] == [unused, empty]


def test_what_was_lost_of_further_columns_is_told(tmp_path: Path) -> None:
    shop = make_shop(30)
    config = write_shop(tmp_path / "in", shop)
    rows = [row | {"description": "x" * 11, "color": {"en": "red"}, "rating": "good"} for row in shop.catalog]
    write_jsonl(tmp_path / "in" / "catalog.jsonl", rows)
    columns = {"text": "description", "numeric": "rating", "categorical": "color"}
    values = config.model_dump() | {"max_text_characters": 10}
    values["data"] |= {"catalog_columns": columns}
    _, cut, objects, numbers = run_ingest(IngestConfig.parse(values), str(tmp_path / "out")).notes()
    assert cut == "Texts cut to `ingest.max_text_characters`: text_description 30."
    assert objects.endswith("as in `attributes.color`): categorical_color 30.")
    assert numbers == "Catalog rows whose value is no number, and absent: numeric_rating 30."
    assert {row["text_description"] for row in written.rows(tmp_path / "out", "catalog")} == {"x" * 10}


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"columns": {"catalog": {"title": "nam"}}}, r"has no column nam\. Found: .*columns\.catalog\.title.*'name'"),
        ({"columns": {"catalog": {"price": "costs"}}}, r"has no column costs.*columns\.catalog\.price. says 'costs'"),
        ({"catalog_columns": {"text": "colour"}}, r"has no column colour.*did you mean 'color'.*colour: <name>"),
        ({"columns": {"catalog": {"price": "cost.eur"}}}, r"has no column cost\.eur"),
    ],
)
def test_a_column_that_is_not_there_is_named(tmp_path: Path, form: str, data: dict[str, Any], message: str) -> None:
    row = {"item_id": "i1", "title": "Shoe", "name": "Shoe", "color": "red"}
    with pytest.raises(InputError, match=message):
        read_catalog_file(None, _config(_write(tmp_path / f"c.{form}", [row]), **{"catalog_columns": {}, **data}))


@pytest.mark.parametrize(
    ("row", "names", "message"),
    [
        ({"title": ["a"]}, {}, r'the column title of .*c\.parquet holds lists, such as \["a"\]; a text is wanted'),
        ({"title": {"en": "a"}}, {}, r"the column title of .* holds objects of en; .*Name one .*, such as title\.en"),
        ({"title": [["a"]]}, {}, r'the column title of .* holds lists, such as \[\["a"\]\]'),
        ({"title": "a", "rating": ["1"]}, {}, r"the column rating of .* holds lists"),
    ],
)
def test_a_parquet_column_of_the_wrong_kind_is_named(tmp_path: Path, row, names, message: str) -> None:
    path = _write(tmp_path / "c.parquet", [{"item_id": "i1", **row}])
    further = {"numeric": ["rating"]} if "rating" in row else {}
    with pytest.raises(InputError, match=message):
        read_catalog_file(None, _config(path, catalog_columns=further, columns={"catalog": names}))


def test_a_parquet_file_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    table = pa.Table.from_arrays([pa.array(["i1"]), pa.array(["a"]), pa.array(["b"])], ["item_id", "title", "title"])
    pa.parquet.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(InputError, match="names a column twice: item_id, title, title"):
        read_catalog_file(str(tmp_path / "c.parquet"))


def test_a_column_of_csv_has_no_fields(tmp_path: Path) -> None:
    path = _write(tmp_path / "c.csv", [{"item_id": "i1", "title": "Shoe", "attributes": '{"color": "red"}'}])
    names = {"catalog": {"color": "attributes.color"}}
    with pytest.raises(InputError, match=r"c\.csv has no column attributes\.color, and attributes has no fields"):
        read_catalog_file(None, _config(path, catalog_columns={"categorical": "color"}, columns=names))


def test_a_field_is_found_whatever_else_rows_have_in_its_place(tmp_path: Path) -> None:
    values = [{"color": "red"}, {"color": ["blue", "red"]}, "plain", None, {"color": {"en": "x"}}, ["list"], {}]
    rows = [{"item_id": f"i{n}", "title": "Shoe", "a b": value} for n, value in enumerate(values)]
    path = _write(tmp_path / "c.jsonl", [*rows, {"item_id": "i7", "title": "Shoe", "a b.color": "flat"}])
    names = {"catalog": {"color": "a b.color"}}
    found = read_catalog_file(None, _config(path, catalog_columns={"categorical": "color"}, columns=names))
    assert found.catalog.texts() == ["Shoe red", "Shoe blue red", *["Shoe"] * 5, "Shoe flat"]


def test_a_further_column_may_be_in_one_of_several_files(tmp_path: Path) -> None:
    _write(tmp_path / "a.csv", [{"item_id": "i1", "title": "A"}])
    _write(tmp_path / "b.csv", [{"item_id": "i2", "title": "B", "color": "red"}])
    found = read_catalog_file(None, _config(tmp_path / "*.csv", catalog_columns={"categorical": "color"}))
    assert found.catalog.texts() == ["A", "B red"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"columns": {"catalog": {"titel": "name"}}}, r"maps 'titel', .*did you mean 'title'.*catalog_columns. first"),
        ({"columns": {"events": {"clicked": "c"}}}, "maps 'clicked', which is no column of Souk's"),
        ({"columns": {"users": {"user_id": "id"}}}, "`columns.users` needs `users`"),
        ({"columns": {"catalog": {"title": ""}}}, "which 'title' is mapped to, is no name"),
        ({"columns": {"catalog": {"title": "a..b"}}}, "is no name of a column"),
        ({"columns": {"items": {}}}, "not a known key"),
        ({"catalog_columns": {"text": ["title"]}}, "'title' is read anyway"),
        ({"catalog_columns": {"text": ["a", "a"]}}, "'a' is named twice"),
        ({"catalog_columns": {"text": ["Farbe (Web)"]}}, r"cannot name a feature.*columns\.catalog"),
        (
            {"events_format": "ubi", "ubi_queries": "q", "columns": {"events": {"query": "text"}}},
            "is not read with `events_format: ubi`",
        ),
    ],
)
def test_settings_of_columns_that_cannot_be_are_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _config(Path("c.jsonl"), **{"catalog_columns": {}, **data})


def test_a_column_may_have_two_names_and_be_of_two_kinds(tmp_path: Path) -> None:
    path = _write(tmp_path / "c.csv", [{"item_id": "i1", "title": "Shoe", "color": "red"}])
    further = {"text": ["color", "shade"], "categorical": ["color"]}
    found = read_catalog_file(None, _config(path, catalog_columns=further, columns={"catalog": {"shade": "color"}}))
    row = written.row(found.catalog.examples[0])
    assert (row["text_color"], row["text_shade"], row["categorical_color"]) == ("red", "red", "red")
