"""The bulk format and the mapping of each engine that items are exported to."""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as parquet

from pipeline.export.items import Fields, Record
from schema.settings import InputError

# A bulk request of some MB is what the engines recommend.
_PER_FILE: Final = 2000
# Points of Qdrant are named by whole numbers or UUIDs alone; an item's is made of its id, so it stays the same.
_POINT_IDS: Final = uuid.UUID("6f1b6f0e-3c1d-5d5e-9a57-0a5e6c1e7a11")
_VESPA_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Write = Callable[[Iterable[list[Record]], Fields, int, Path], int]


def write_parquet(batches: Iterable[list[Record]], fields: Fields, dim: int, folder: Path) -> int:
    """`vectors.parquet`: a row per item, the vector as a list of float32 of fixed length."""
    texts = pa.list_(pa.string())
    schema = pa.schema(
        [
            ("item_id", pa.string()),
            ("title", pa.string()),
            ("vector", pa.list_(pa.float32(), dim)),
            *((name, texts) for name in fields.keywords),
            *((name, pa.float64()) for name in fields.numbers),
        ]
    )
    count = 0
    with parquet.ParquetWriter(folder / "vectors.parquet", schema) as writer:
        for batch in batches:
            rows = [{**record, "vector": record["vector"].tolist()} for record in batch]
            writer.write_table(pa.Table.from_pylist(rows, schema))
            count += len(batch)
    return count


def write_opensearch(batches: Iterable[list[Record]], fields: Fields, dim: int, folder: Path) -> int:
    """`index.json`, the settings and the mapping, and bulk requests `bulk-*.ndjson`."""
    vector = {
        "type": "knn_vector",
        "dimension": dim,
        "method": {"name": "hnsw", "engine": "faiss", "space_type": "innerproduct"},
    }
    _write_json(folder / "index.json", {"settings": {"index": {"knn": True}}, "mappings": _mapping(fields, vector)})
    return _write_bulk(batches, folder)


def write_elasticsearch(batches: Iterable[list[Record]], fields: Fields, dim: int, folder: Path) -> int:
    """`index.json`, the mapping, and bulk requests `bulk-*.ndjson`."""
    vector = {"type": "dense_vector", "dims": dim, "index": True, "similarity": "max_inner_product"}
    _write_json(folder / "index.json", {"mappings": _mapping(fields, vector)})
    return _write_bulk(batches, folder)


def write_vespa(batches: Iterable[list[Record]], fields: Fields, dim: int, folder: Path) -> int:
    """`schemas/item.sd`, the schema, and `feed.jsonl`, a put for each item.

    Raises:
      InputError: two columns would get the same name; a name in Vespa has letters, digits and `_` alone.
    """
    names = _vespa_names(fields)
    schemas = folder / "schemas"
    schemas.mkdir()
    (schemas / "item.sd").write_text(_vespa_schema(fields, names, dim))
    count = 0
    with open(folder / "feed.jsonl", "wb") as file:
        for batch in batches:
            for record in batch:
                document = {names.get(name, name): value for name, value in record.items()}
                file.write(_line({"put": f"id:souk:item::{record['item_id']}", "fields": document}))
            count += len(batch)
    return count


def write_qdrant(batches: Iterable[list[Record]], fields: Fields, dim: int, folder: Path) -> int:
    """`collection.json`, `payload_indexes.ndjson`, one index a line, and the bodies of upserts `points-*.json`."""
    _write_json(folder / "collection.json", {"vectors": {"size": dim, "distance": "Dot"}})
    kinds = {"item_id": "keyword"} | dict.fromkeys(fields.keywords, "keyword") | dict.fromkeys(fields.numbers, "float")
    indexes = [{"field_name": name, "field_schema": kind} for name, kind in kinds.items()]
    (folder / "payload_indexes.ndjson").write_bytes(b"".join(map(_line, indexes)))
    count = 0
    for number, records in enumerate(_files(batches)):
        points = [
            {
                "id": str(uuid.uuid5(_POINT_IDS, record["item_id"])),
                "vector": record["vector"],
                "payload": {name: value for name, value in record.items() if name != "vector"},
            }
            for record in records
        ]
        (folder / f"points-{number:05}.json").write_bytes(_line({"points": points}))
        count += len(points)
    return count


FORMATS: Final[Mapping[str, Write]] = {
    "parquet": write_parquet,
    "opensearch": write_opensearch,
    "elasticsearch": write_elasticsearch,
    "vespa": write_vespa,
    "qdrant": write_qdrant,
}


def export(batches: Iterable[list[Record]], fields: Fields, dim: int, to: str, folder: Path) -> int:
    """Writes items for one of `FORMATS`, as they come; gives how many.

    Args:
      batches: of the items.
      fields: what they may have.
      dim: of their vectors.
      to: the format.
      folder: is there, and empty.

    Raises:
      InputError: a vector has a value that is no number.
    """
    return FORMATS[to](map(_checked, batches), fields, dim, folder)


def _checked(batch: list[Record]) -> list[Record]:
    for record in batch:
        if not np.isfinite(record["vector"]).all():
            raise InputError(f"the vector of item {record['item_id']} has a value that is no number: train again")
    return batch


def _mapping(fields: Fields, vector: dict[str, Any]) -> dict[str, Any]:
    return {
        "properties": {
            "item_id": {"type": "keyword"},
            "title": {"type": "text"},
            "vector": vector,
            **{name: {"type": "keyword"} for name in fields.keywords},
            **{name: {"type": "float"} for name in fields.numbers},
        }
    }


def _write_bulk(batches: Iterable[list[Record]], folder: Path) -> int:
    count = 0
    for number, records in enumerate(_files(batches)):
        with open(folder / f"bulk-{number:05}.ndjson", "wb") as file:
            for record in records:
                file.write(_line({"index": {"_id": record["item_id"]}}) + _line(record))
        count += len(records)
    return count


def _files(batches: Iterable[list[Record]]) -> Iterator[list[Record]]:
    """The items of each file."""
    items = (record for batch in batches for record in batch)
    while records := list(islice(items, _PER_FILE)):
        yield records


def _vespa_names(fields: Fields) -> dict[str, str]:
    """What each field is called in Vespa."""
    names: dict[str, str] = {}
    for name in ("item_id", "title", "vector", *fields.keywords, *fields.numbers):
        changed = re.sub(r"[^A-Za-z0-9_]", "_", name)
        changed = changed if _VESPA_NAME.fullmatch(changed) else f"_{changed}"
        if changed in names.values():
            other = next(key for key, value in names.items() if value == changed)
            raise InputError(
                f"the columns {other!r} and {name!r} are both {changed!r} in Vespa, whose names have letters, digits "
                "and `_` alone; map one of them to another name in `ingest.data.columns.catalog`"
            )
        names[name] = changed
    return names


def _vespa_schema(fields: Fields, names: Mapping[str, str], dim: int) -> str:
    found = [
        _vespa_field("item_id", "string"),
        "    field title type string {\n      indexing: index | summary\n    }\n",
        *(_vespa_field(names[name], "array<string>") for name in fields.keywords),
        *(_vespa_field(names[name], "float") for name in fields.numbers),
        f"    field vector type tensor<float>(d[{dim}]) {{\n      indexing: attribute | index\n"
        "      attribute {\n        distance-metric: dotproduct\n      }\n    }\n",
    ]
    profile = (
        f"  rank-profile vectors {{\n    inputs {{\n      query(q) tensor<float>(d[{dim}])\n    }}\n"
        "    first-phase {\n      expression: closeness(field, vector)\n    }\n  }\n"
    )
    return "schema item {\n  document item {\n" + "".join(found) + "  }\n" + profile + "}\n"


def _vespa_field(name: str, kind: str) -> str:
    settings = "      indexing: attribute | summary\n      attribute: fast-search\n"
    return f"    field {name} type {kind} {{\n{settings}    }}\n"


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
