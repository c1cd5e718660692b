import gzip
import json

import polars as pl
import pytest

from schema.settings import InputError
from serving.item_details import ItemDetails, read_details

ROWS = [
    {"item_id": "i1", "title": 'red "shoes", size 5', "brand": "Ácme", "price": 12.5, "color": "red"},
    {"item_id": "i2", "title": "lamp", "brand": None, "price": None, "color": None},
    {"item_id": "i3", "title": "kettle", "brand": "B", "price": 3.0, "color": None},
]
EXPECTED = {
    "i1": ItemDetails('red "shoes", size 5', "Ácme", "12.5"),
    "i2": ItemDetails("lamp", None, None),
}


def write(path):
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    match "".join(path.suffixes):
        case ".jsonl" | ".ndjson" | ".json":
            path.write_text(text)
        case ".jsonl.gz":
            path.write_bytes(gzip.compress(text.encode()))
        case ".csv":
            pl.DataFrame(ROWS).write_csv(path)
        case ".csv.gz":
            path.write_bytes(gzip.compress(pl.DataFrame(ROWS).write_csv().encode()))
        case ".tsv":
            pl.DataFrame(ROWS).write_csv(path, separator="\t")
        case ".parquet":
            pl.DataFrame(ROWS).write_parquet(path)
    return path


@pytest.mark.parametrize(
    "name", ["c.jsonl", "c.ndjson", "c.json", "c.jsonl.gz", "c.csv", "c.csv.gz", "c.tsv", "c.parquet"]
)
def test_every_format_of_a_catalog_is_read(tmp_path, name):
    assert read_details([write(tmp_path / name)], ["i1", "i2", "unknown"]) == EXPECTED


def test_the_documents_in_the_hits_of_a_search_are_items(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps({"_id": str(n), "_source": row}) + "\n" for n, row in enumerate(ROWS)))
    assert read_details([path], ["i1", "i2"]) == EXPECTED


def test_numbers_as_ids_and_lines_that_are_not_json_do_no_harm(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('not json\n{"item_id": 7, "title": "seven"}\n\n{"title": "nobody"}\n')
    assert read_details([path], ["7"]) == {"7": ItemDetails("seven")}


def test_several_catalog_files_are_searched_until_all_is_found(tmp_path):
    first = write(tmp_path / "a.jsonl")
    second = tmp_path / "b.jsonl"
    second.write_text('{"item_id": "i1", "title": "another i1"}\n{"item_id": "i9", "title": "nine"}\n')
    found = read_details([first, second, tmp_path / "never needed.jsonl"], ["i1", "i9"])
    assert (found["i1"].title, found["i9"].title) == (ROWS[0]["title"], "nine")


def test_a_file_that_is_no_catalog_is_explained(tmp_path):
    with pytest.raises(InputError, match="There is no catalog file"):
        read_details([tmp_path / "missing.csv"], ["i1"])
    (tmp_path / "catalog.txt").write_text("")
    with pytest.raises(InputError, match="is not known by its name"):
        read_details([tmp_path / "catalog.txt"], ["i1"])
    (tmp_path / "other.csv").write_text("sku,title\n1,a\n")
    with pytest.raises(InputError, match=r"has no column `item_id` \(it has: sku, title\)"):
        read_details([tmp_path / "other.csv"], ["i1"])
    (tmp_path / "text.parquet").write_text("item_id")
    with pytest.raises(InputError, match="cannot be read"):
        read_details([tmp_path / "text.parquet"], ["i1"])
