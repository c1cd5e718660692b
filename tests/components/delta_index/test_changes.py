"""What an index lacks of a new catalog, against sets of items in plain Python."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.delta_index.changes import changes_between, content_of, read_content
from components.example_gen.catalog import item_columns, validate_items
from components.example_gen.columns import CATALOG_COLUMNS
from components.example_gen.config import CatalogColumns
from components.example_gen.encode import encode_examples
from schema import features
from schema.settings import InputError
from tests.small_shop import write_examples

COLUMNS = CatalogColumns(text=("story",), categorical=("color",), numeric=("rating",))
ROWS = st.fixed_dictionaries(
    {
        "item_id": st.sampled_from("abcdef"),
        "title": st.sampled_from(["lamp", "kettle"]),
        "brand": st.sampled_from([None, "Acme"]),
        "category": st.sampled_from([None, "Home > Light", "Home"]),
        "price": st.sampled_from([None, "1.5", "2"]),
        "available": st.sampled_from([None, "true", "false"]),
        "color": st.sampled_from([None, "red"]),
        "rating": st.sampled_from([None, "4.5"]),
    }
)
CATALOGS = st.lists(ROWS, max_size=6, unique_by=lambda row: row["item_id"])


def items_of(rows: list[dict]) -> pl.DataFrame:
    names = (*CATALOG_COLUMNS, *COLUMNS.names)
    raw = pl.DataFrame(
        [{name: row.get(name) for name in names} for row in rows], schema=dict.fromkeys(names, pl.String)
    )
    items, bad, _ = validate_items(raw, 0, COLUMNS)
    assert bad.is_empty()
    return items


def content(rows: list[dict]) -> pl.DataFrame:
    return content_of(item_columns(items_of(rows)), COLUMNS.features)


def indexed(rows: list[dict], drop_duplicates: bool) -> set[tuple]:
    """Ids and content of the items that a full index has."""
    found: dict[tuple, str] = {}
    for row in sorted(rows, key=lambda row: row["item_id"]):
        if row["available"] != "false":
            key = tuple(row[name] for name in sorted(row) if name not in ("item_id", "available"))
            found.setdefault(key if drop_duplicates else (row["item_id"], *key), row["item_id"])
    return {(item_id, key) for key, item_id in found.items()}


@settings(max_examples=60, deadline=None)
@given(CATALOGS, CATALOGS, st.booleans())
def test_an_index_with_its_changes_is_that_of_the_new_catalog(old, new, drop_duplicates):
    before, after = indexed(old, drop_duplicates), indexed(new, drop_duplicates)
    changes = changes_between(content(old), content(new), drop_duplicates)
    assert changes.added == tuple(sorted(item_id for item_id, _ in after - before))
    assert changes.left_out == tuple(sorted(item_id for item_id, _ in before - after))
    assert changes.removed == len({i for i, _ in before} - {i for i, _ in after})


def test_examples_are_read_back_as_the_content_they_were_made_of(tmp_path):
    full = {"item_id": "a", "title": "lamp", "brand": "Acme", "category": "Home > Light", "price": "0.1"}
    rows = [{**full, "shop": "s", "story": "long", "color": '["red", "blue"]', "rating": "3"}, {**full, "item_id": "b"}]
    rows.append({"item_id": "c", "title": "bare", "available": "false"})
    path = tmp_path / "catalog.gz"
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for example in (e for batch in encode_examples(item_columns(items_of(rows))) for e in batch):
            writer.write(example)
    assert read_content(str(path), COLUMNS.features).equals(content(rows))
    assert changes_between(read_content(str(path), COLUMNS.features), content(rows), True).share == 0


def test_a_catalog_that_is_gone_asks_for_a_full_refresh(tmp_path):
    with pytest.raises(InputError, match="souk refresh"):
        read_content(str(tmp_path / "*"), ())


def test_columns_that_no_example_has_are_empty(tmp_path):
    write_examples(tmp_path / "one.gz", [{"item_id": [b"a"], "title": [b"lamp"]}])
    read = read_content(str(tmp_path / "one.gz"), COLUMNS.features)
    assert read.select(features.ITEM_ID, features.TITLE, features.AVAILABLE).row(0) == ("a", "lamp", True)
    assert read.drop(features.ITEM_ID, features.TITLE, features.AVAILABLE).row(0) == (None,) * 7
