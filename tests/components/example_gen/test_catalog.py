import polars as pl
import pytest

from components.example_gen.catalog import item_columns, one_row_per_item, validate_items
from components.example_gen.columns import CATALOG, CATALOG_COLUMNS
from tests.components.example_gen.columnar import plain_rows

GOOD = {
    "item_id": "i1",
    "title": "Red shoe",
    "brand": "Zentek",
    "category": "Shoes > Red",
    "shop": "s1",
    "price": "9.5",
    "available": "True",
}


def _validate(*rows: dict) -> tuple[pl.DataFrame, pl.DataFrame]:
    raw = pl.DataFrame(
        [[row.get(name) for name in CATALOG_COLUMNS] for row in rows],
        schema=dict.fromkeys(CATALOG_COLUMNS, pl.String),
        orient="row",
    )
    items, bad, _ = validate_items(raw, 0)
    return items, bad


def test_an_item_becomes_the_features_that_it_has() -> None:
    items, bad = _validate(GOOD, {"item_id": "i2", "title": "Bare"})
    assert items.schema == CATALOG
    assert bad.is_empty()
    columns = item_columns(items)
    assert [column.to_pylist() for column in columns.values()] == [
        [[b"i1"], [b"i2"]],
        [[b"Red shoe"], [b"Bare"]],
        [[b"Zentek"], None],
        [[b"Shoes > Red"], None],
        [[b"Shoes"], None],
        [[b"s1"], None],
        [[9.5], None],
        [[b"Shoes", b"Red"], []],
    ]
    assert list(columns) == [
        "item_id",
        "title",
        "brand",
        "leaf_category",
        "top_category",
        "shop",
        "price",
        "category_path",
    ]


@pytest.mark.parametrize(
    ("category", "path"),
    [
        ("A > B > C", ["A", "B", "C"]),
        ("A>B", ["A", "B"]),
        ('["A", "B & C", ""]', ["A", "B & C"]),
        ('["家居", "灯 > 台灯"]', ["家居", "灯 > 台灯"]),
        ("[sale] shoes", ["[sale] shoes"]),
        (" > A > ", ["A"]),
        ("", []),
        ("[]", []),
        (None, []),
    ],
)
def test_a_category_is_a_list_or_names_joined_by_an_arrow(category: str | None, path: list[str]) -> None:
    items, _ = _validate(GOOD | {"category": category})
    assert items["category_path"].to_list() == [path]


def test_a_category_column_may_hold_lists() -> None:
    raw = pl.DataFrame({**{name: [GOOD[name]] * 2 for name in CATALOG_COLUMNS}, "category": [[" A ", None, "B"], None]})
    items, _, _ = validate_items(raw, 0)
    assert items["category_path"].to_list() == [["A", "B"], []]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (GOOD | {"item_id": " "}, "missing_item_id"),
        (GOOD | {"title": None}, "missing_title"),
        (GOOD | {"price": "-0.01"}, "negative_price"),
        (GOOD | {"price": "cheap"}, "bad_price"),
        (GOOD | {"price": "1,299.00"}, "bad_price"),
        (GOOD | {"title": '["A", "B"]'}, "several_values"),
        (GOOD | {"brand": '{"id": 1}'}, "several_values"),
        (GOOD | {"item_id": "4.00638E+12"}, "rounded_id"),
        (GOOD | {"category": '{"en": "Shoes"}'}, "bad_category"),
        (GOOD | {"available": "soon"}, "bad_available"),
    ],
)
def test_an_unusable_item_comes_back_with_its_reason(row: dict, reason: str) -> None:
    items, bad = _validate(GOOD, row)
    assert len(items) == 1
    assert bad.to_dicts() == [row | {"reason": reason}]


@pytest.mark.parametrize("reverse", [False, True])
def test_of_rows_of_one_item_the_same_one_is_kept_in_any_order(reverse: bool) -> None:
    rows = [GOOD, GOOD | {"title": "Another shoe"}, GOOD | {"item_id": "i0"}]
    items, _ = _validate(*(rows[::-1] if reverse else rows))
    kept, repeated = one_row_per_item(items)
    assert kept.select("item_id", "title").rows() == [("i0", "Red shoe"), ("i1", "Another shoe")]
    assert repeated.select("item_id", "title", "reason").rows() == [("i1", "Red shoe", "duplicate_item")]


def test_every_row_keeps_its_own_values_when_encoded() -> None:
    items, _ = _validate(
        *({"item_id": f"i{n}", "title": f"t{n}", "price": str(n) if n % 2 else None} for n in range(9))
    )
    rows = plain_rows(item_columns(items))
    assert [(row["item_id"], row["title"], row["price"]) for row in rows] == [
        (f"i{n}", f"t{n}", float(n) if n % 2 else None) for n in range(9)
    ]


def test_only_items_that_are_not_available_say_so() -> None:
    said = [None, "", "true", "1", "Yes", "false", "0", "no"]
    items, bad = _validate(*({"item_id": str(n), "title": "t", "available": text} for n, text in enumerate(said)))
    assert bad.is_empty()
    assert items["available"].to_list() == [True] * 5 + [False] * 3
    assert item_columns(items)["available"].to_pylist() == [None] * 5 + [[b"false"]] * 3
    assert "available" not in item_columns(items.filter("available"))
