import decimal

import polars as pl
import pytest

from components.example_gen.catalog import validate_items
from components.example_gen.clean import as_text, cleaned
from components.example_gen.columns import CATALOG_COLUMNS, EVENT_COLUMNS
from components.example_gen.validate import validate_events, validate_users
from schema.settings import InputError

SEARCH = ("e1", "2026-03-01T00:00:00Z", "r1", "u1", "search", "red shoes", None, None)


def _flags(*texts: str | None) -> tuple[list[str | None], list[bool]]:
    frame = cleaned(pl.DataFrame({"c": texts}, schema={"c": pl.String}), (), names=("c",))
    return frame["c"].to_list(), frame["_several"].to_list()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["a"]', "a"),
        ("['a']", "a"),
        ('[" a "]', "a"),
        ('[["a"]]', "a"),
        ("[5.0]", "5"),
        ('[{"id": 1, "name": "a"}]', "a"),
        ("[]", None),
        ("[null]", None),
        ('{"en": null}', None),
        ("[new] shoe", "[new] shoe"),
        ("{odd}", "{odd}"),
        (" x ", "x"),
        (None, None),
    ],
)
def test_a_list_of_one_value_is_that_value(text: str | None, value: str | None) -> None:
    assert _flags(text, '["x"]', "y") == ([value, "x", "y"], [False] * 3)
    assert _flags(text, "[0] z") == ([value, "[0] z"], [False] * 2)


@pytest.mark.parametrize("text", ['["a", "b"]', "['a', 'b']", "['a' 'b']", '{"en": "a"}', '{1,"a"}', '[{"id": 1}]'])
def test_several_values_and_objects_are_flagged(text: str) -> None:
    assert _flags("x", text, None, '["y"]') == (["x", text, None, "y"], [False, True, False, False])
    assert _flags(text, "[0] z")[1] == [True, False]


def _events(**values: str) -> dict[str, str | None]:
    row = dict(zip(EVENT_COLUMNS, SEARCH, strict=True)) | values
    good, bad, _ = validate_events(pl.DataFrame([row], schema=dict.fromkeys(EVENT_COLUMNS, pl.String)), 0, 512)
    return (good if len(good) else bad).row(0, named=True)


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ({"user_id": "5.0", "request_id": "1.0", "item_id": "4006381333953.0"}, ("5", "1", "4006381333953")),
        ({"user_id": "NaN", "item_id": "\\N"}, (None, "r1", None)),
        ({"user_id": '["u1"]', "event_type": " search", "position": "NaN"}, ("u1", "r1", None)),
        ({"query": "nan"}, ("u1", "r1", None)),
    ],
)
def test_events_are_cleaned(values: dict[str, str], read: tuple[str | None, ...]) -> None:
    row = _events(**values)
    assert "reason" not in row
    assert (row["user_id"], row["request_id"], row["item_id"]) == read


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"item_id": '["i1", "i2"]'}, "several_values"),
        ({"query": '{"text": "x"}'}, "several_values"),
        ({"item_id": '{"id": 5, "name": "Shoe"}'}, "several_values"),
        ({"user_id": "1.23E+15"}, "rounded_id"),
        ({"query": "NaN"}, "empty_query"),
        ({"request_id": "null"}, "missing_request_id"),
        ({"timestamp": "1767225600"}, "timestamp_in_seconds"),
        ({"timestamp": "1767225600000000"}, "timestamp_in_microseconds"),
        ({"timestamp": "1767225600000000000"}, "timestamp_in_nanoseconds"),
        ({"timestamp": "5"}, "timestamp_out_of_range"),
    ],
)
def test_what_cannot_be_cleaned_comes_back_as_it_was(values: dict[str, str], reason: str) -> None:
    assert _events(**values) == dict(zip(EVENT_COLUMNS, SEARCH, strict=True)) | values | {"reason": reason}


def test_profiles_are_cleaned_and_bad_ones_told() -> None:
    rows = [("5.0", " m "), ("NULL", "f"), ("6", '["m", "f"]'), ("7", "NaN"), ("8", "None"), ('["9"]', "[]")]
    raw = pl.DataFrame(rows, schema=["user_id", "gender"], orient="row")
    good, bad = validate_users(raw, ("gender",), 0)
    assert good.rows() == [("5", "m", 0), ("7", None, 0), ("8", "None", 0), ("9", None, 0)]
    assert bad.rows() == [("NULL", "f", "missing_user_id"), ("6", '["m", "f"]', "several_values")]


def test_items_are_cleaned() -> None:
    row = {"item_id": "22.0", "title": "Null", "brand": "nan", "category": "['A' 'B']", "shop": "None", "price": "NaN"}
    row["available"] = "N/A"
    items, bad, _ = validate_items(pl.DataFrame([row]).select(CATALOG_COLUMNS), 0)
    assert items.row(0) == ("22", "Null", None, ["A", "B"], "None", None, True, 0)
    assert bad.is_empty()


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("c", [[["A", "B"], ["C"]], None], dtype=pl.List(pl.List(pl.String))),
        pl.Series("c", [{"lvl0": "A", "lvl1": "A > B"}, None]),
        pl.Series("c", [[{"id": 1, "name": "A"}, {"id": 2, "name": "B"}], []]),
        pl.Series("c", [[{"id": decimal.Decimal(1), "raw": b"\xff", "name": "A"}, {"id": None, "name": "B"}], None]),
        pl.Series("c", [[["A", "B"]], None], dtype=pl.Array(pl.List(pl.String), 1)),
        pl.Series("c", [["A", "B"], None]),
    ],
)
def test_nested_categories_are_read_as_of_json(column: pl.Series) -> None:
    rows = {name: ["x", "y"] for name in CATALOG_COLUMNS}
    raw = pl.DataFrame(rows | {"category": as_text(column, True, "c")}).with_columns(
        pl.lit(None, pl.String).alias(name) for name in ("price", "available")
    )
    items, bad, _ = validate_items(raw.select(CATALOG_COLUMNS), 0)
    assert items["category_path"].to_list() == [["A", "B"], []]
    assert bad.is_empty()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series("c", [None, ["a", "b"]]), r'^here holds lists, such as \["a","b"\]; a text is wanted$'),
        (pl.Series("c", [["x" * 99]]), r"x\.\.\.; a text is wanted"),
        (pl.Series("c", [[{"a": b"\xff"}]]), r"such as \[\{.*a text is wanted"),
        (pl.Series("c", [{"en": 1, "de": 2}]), r"holds objects of en, de; .* Name one of its fields, such as c\.en"),
    ],
)
def test_a_nested_column_where_a_text_is_wanted_is_refused(column: pl.Series, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_text(column, False, "here")
