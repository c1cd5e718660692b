import gzip
import json

import polars as pl
import pytest

from schema.settings import InputError
from serving.playground.catalog import CatalogReader, Item, read_catalog

COLUMNS = ("item_id", "title", "brand", "category", "shop", "price")
ROWS = [
    dict(zip(COLUMNS, row, strict=True))
    for row in (
        ("a", "Wool scarf", "Nord", ["Clothes", "Scarves"], "s1", 9.5),
        ("b", "Silk scarf", "Sud", ["Clothes", "Scarves"], "s2", 20),
        ("c", "Kettle", "Nord", ["Home"], None, None),
    )
]
SCARF = Item("Wool scarf", "Nord", "Clothes > Scarves", "s1", 9.5)
KETTLE = Item("Kettle", "Nord", "Home", None, None)


def _write(folder, form):
    path = folder / f"catalog.{form}"
    if form == "parquet":
        pl.DataFrame(ROWS).write_parquet(path)
    elif form == "csv":
        pl.DataFrame([{**row, "category": " > ".join(row["category"])} for row in ROWS]).write_csv(path)
    else:
        text = "".join(json.dumps(row) + "\n" for row in ROWS)
        path.write_bytes(gzip.compress(text.encode()) if form.endswith("gz") else text.encode())
    return path


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "csv", "parquet"])
def test_every_format_gives_the_same_items(tmp_path, form):
    catalog = read_catalog([_write(tmp_path, form)])
    assert catalog.items(["a", "c", "nowhere"]) == {"a": SCARF, "c": KETTLE}
    assert len(catalog) == 3


def test_brands_and_every_node_of_the_category_tree_are_counted(tmp_path):
    catalog = read_catalog([_write(tmp_path, "jsonl")])
    assert catalog.brands == [("Nord", 2), ("Sud", 1)]
    assert catalog.categories == [("Clothes", 2), ("Clothes > Scarves", 2), ("Home", 1)]


def test_the_last_row_of_an_id_counts_over_all_files(tmp_path):
    second = tmp_path / "more.jsonl"
    second.write_text('{"item_id": "c", "title": "New kettle"}\nnot json\n{"title": "no id"}\n')
    catalog = read_catalog([_write(tmp_path, "jsonl"), second])
    assert catalog.items(["c"]) == {"c": Item("New kettle")}
    assert len(catalog) == 3


def test_a_price_that_is_no_number_is_no_price(tmp_path):
    path = tmp_path / "catalog.csv"
    path.write_text("item_id,title,price,category\na,Scarf,on request,[Odd name\n")
    assert read_catalog([path]).items(["a"]) == {"a": Item("Scarf", None, "[Odd name", None, None)}


def test_a_missing_file_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match=r"no catalog file .*nowhere\.jsonl"):
        CatalogReader([tmp_path / "nowhere.jsonl"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.txt", "x", "must end in"),
        ("c.csv", "sku\n1\n", "no column `item_id`"),
        ("c.parquet", "x", "cannot be read"),
        ("c.jsonl.gz", "\x1f\x8b\x08\x00broken", "cannot be read"),
    ],
)
def test_a_file_that_is_no_catalog_is_told_of(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    reader = CatalogReader([path])
    with pytest.raises(InputError, match=message):
        reader.get(30)
    assert reader.state()["state"] == "failed"
    assert str(path) in reader.state()["error"]


def test_without_a_file_there_is_no_catalog():
    reader = CatalogReader([])
    assert (reader.get(0), reader.state()) == (None, {"state": "absent"})
