"""What is written for each engine, read back as the engine's documentation says that it is read."""

import json
import re
import uuid
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

from pipeline.commands.export import make_new
from pipeline.export.formats import FORMATS, export
from pipeline.export.items import Fields, fields_of
from schema.settings import InputError

DIM = 4
FIELDS = fields_of(("categorical_color", "numeric_rating", "categorical_rating", "text_story"))
ITEMS = [
    {
        "item_id": f"id {n}/ü",
        "title": f'a "lamp" {n}',
        "vector": np.arange(n, n + DIM, dtype=np.float32) / 7,
        "brand": ["Acme" if n % 2 else "Nord"],
        "category": ["Home", f"Home > {n}"],
        **({"price": n + 0.5} if n != 3 else {}),
        "color": ["red", "blue"],
    }
    for n in range(5)
]
BATCHES = [ITEMS[:2], [], ITEMS[2:]]


def written(to: str, folder: Path, batches=BATCHES, fields: Fields = FIELDS) -> Path:
    make_new(folder / "out")
    assert export(iter(batches), fields, DIM, to, folder / "out") == sum(map(len, batches))
    return folder / "out"


def plain(record: dict) -> dict:
    return {**record, "vector": record["vector"].tolist()}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_fields_are_named_as_columns_each_once():
    assert FIELDS.keywords == ("brand", "category", "color", "rating")
    assert FIELDS.numbers == ("price", "rating_")


def test_parquet_has_a_row_for_each_item(tmp_path):
    table = parquet.read_table(written("parquet", tmp_path) / "vectors.parquet")
    assert table.schema.field("vector").type.list_size == DIM
    rows = [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
    assert rows == [plain(record) for record in ITEMS]


@pytest.mark.parametrize(
    ("to", "vector"),
    [
        (
            "opensearch",
            {
                "type": "knn_vector",
                "dimension": DIM,
                "method": {"name": "hnsw", "engine": "faiss", "space_type": "innerproduct"},
            },
        ),
        (
            "elasticsearch",
            {"type": "dense_vector", "dims": DIM, "index": True, "similarity": "max_inner_product"},
        ),
    ],
)
def test_bulk_requests_name_each_item_before_its_document(to, vector, tmp_path):
    folder = written(to, tmp_path)
    index = json.loads((folder / "index.json").read_text())
    properties = index["mappings"]["properties"]
    assert properties["vector"] == vector
    assert {properties[name]["type"] for name in FIELDS.keywords} == {"keyword"}
    assert {properties[name]["type"] for name in FIELDS.numbers} == {"float"}
    assert index.get("settings") == ({"index": {"knn": True}} if to == "opensearch" else None)
    body = (folder / "bulk-00000.ndjson").read_text()
    # The last line of a bulk request must end in a newline.
    assert body.endswith("\n")
    read = lines(folder / "bulk-00000.ndjson")
    assert read[::2] == [{"index": {"_id": record["item_id"]}} for record in ITEMS]
    for document, record in zip(read[1::2], ITEMS, strict=True):
        assert set(document) <= set(properties)
        np.testing.assert_array_equal(np.float32(document.pop("vector")), record["vector"])
        assert document == {name: value for name, value in record.items() if name != "vector"}


def test_large_exports_are_cut_into_requests(tmp_path):
    many = [[{**ITEMS[0], "item_id": str(n)} for n in range(2100)]]
    folder = written("opensearch", tmp_path, many)
    sizes = [len(lines(path)) // 2 for path in sorted(folder.glob("bulk-*.ndjson"))]
    assert sizes == [2000, 100]


def test_vespa_gets_a_schema_and_a_put_for_each_item(tmp_path):
    folder = written("vespa", tmp_path)
    schema = (folder / "schemas" / "item.sd").read_text()
    kinds = dict(re.findall(r"field (\w+) type (\S+) \{", schema))
    assert kinds == {
        "item_id": "string",
        "title": "string",
        "vector": f"tensor<float>(d[{DIM}])",
        **dict.fromkeys(FIELDS.keywords, "array<string>"),
        **dict.fromkeys(FIELDS.numbers, "float"),
    }
    assert schema.count("{") == schema.count("}")
    assert f"query(q) tensor<float>(d[{DIM}])" in schema
    read = lines(folder / "feed.jsonl")
    assert [put["put"] for put in read] == [f"id:souk:item::{record['item_id']}" for record in ITEMS]
    assert all(set(put["fields"]) <= set(kinds) and len(put["fields"]["vector"]) == DIM for put in read)


def test_two_columns_of_one_name_in_vespa_are_refused(tmp_path):
    fields = fields_of(("categorical_a-b", "categorical_a.b"))
    with pytest.raises(InputError, match=r"'a-b' and 'a\.b' are both 'a_b' in Vespa"):
        export([], fields, DIM, "vespa", tmp_path)


def test_qdrant_finds_items_by_vectors_and_filters(tmp_path):
    from qdrant_client import QdrantClient, models

    folder = written("qdrant", tmp_path)
    client = QdrantClient(":memory:")
    client.create_collection(
        "items", vectors_config=models.VectorParams(**json.loads((folder / "collection.json").read_text())["vectors"])
    )
    [path] = folder.glob("points-*.json")
    client.upsert("items", [models.PointStruct(**point) for point in json.loads(path.read_text())["points"]])
    assert client.count("items").count == len(ITEMS)
    query = [1.0, 0.5, -0.25, 0.0]
    acme = models.FieldCondition(key="brand", match=models.MatchValue(value="Acme"))
    cheap = models.FieldCondition(key="price", range=models.Range(lte=3.0))
    found = client.query_points("items", query, query_filter=models.Filter(must=[acme, cheap])).points
    # Of Acme are 1 and 3, and 3 has no price.
    assert [(point.payload["item_id"], point.score) for point in found] == [
        ("id 1/ü", pytest.approx(float(ITEMS[1]["vector"] @ np.array(query))))
    ]
    best = max(ITEMS, key=lambda record: record["vector"] @ np.array(query))
    assert client.query_points("items", query, limit=1).points[0].payload["title"] == best["title"]
    kinds = {one["field_name"]: one["field_schema"] for one in lines(folder / "payload_indexes.ndjson")}
    assert all(isinstance(models.PayloadSchemaType(kind), models.PayloadSchemaType) for kind in kinds.values())
    assert uuid.UUID(json.loads(path.read_text())["points"][0]["id"]).version == 5


@pytest.mark.parametrize("to", FORMATS)
def test_a_vector_that_is_no_number_is_refused(to, tmp_path):
    broken = {**ITEMS[0], "vector": np.array([0, np.nan, 0, 0], np.float32)}
    with pytest.raises(InputError, match="no number"):
        export([[broken]], FIELDS, DIM, to, tmp_path)


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not empty"):
        make_new(tmp_path)
    make_new(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
