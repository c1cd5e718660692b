"""The small shop of the ingestion's tests, put into buckets and tables."""

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from components.example_gen.config import IngestConfig
from tests.cloud.bigquery import BigQuery, Field
from tests.cloud.storage import Storage
from tests.components.example_gen.small_shop import EVAL_START, PROFILE_COLUMNS, Shop, souk_rows, ubi_rows

EVENT_FIELDS = (
    Field("event_id", "STRING", "REQUIRED"),
    Field("timestamp", "TIMESTAMP"),
    Field("request_id"),
    Field("user_id"),
    Field("event_type"),
    Field("query"),
    Field("item_id"),
    Field("position", "INTEGER"),
    Field("device", "RECORD", fields=(Field("os"),)),
)
CATALOG_FIELDS = (
    Field("item_id"),
    Field("title"),
    Field("brand"),
    Field("category", "STRING", "REPEATED"),
    Field("shop"),
    Field("price", "NUMERIC"),
)
USER_FIELDS = (Field("user_id"), Field("region"), Field("age", "INTEGER"))


def moment(milliseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)


def event_rows(shop: Shop) -> list[dict[str, Any]]:
    return [row | {"timestamp": moment(row["timestamp"])} for row in souk_rows(shop.log, text_time=False)]


def put_shop(bigquery: BigQuery, shop: Shop, dataset: str = "shop-project.logs") -> dict[str, Any]:
    """Makes the tables events, catalog and users; gives the section `data` that reads them."""
    bigquery.put(f"{dataset}.events", EVENT_FIELDS, event_rows(shop))
    items = [row | {"price": None if row["price"] is None else Decimal(str(row["price"]))} for row in shop.catalog]
    bigquery.put(f"{dataset}.catalog", CATALOG_FIELDS, items)
    users = [
        {"user_id": user, "region": row.get("region"), "age": int(row["age"]) if "age" in row else None}
        for user, row in shop.profiles.items()
    ]
    bigquery.put(f"{dataset}.users", USER_FIELDS, users)
    return {
        "events": f"bigquery://{dataset}.events",
        "catalog": f"bigquery://{dataset}.catalog",
        "users": f"bigquery://{dataset}.users",
        "profile_columns": list(PROFILE_COLUMNS),
    }


def put_ubi(bigquery: BigQuery, shop: Shop, as_json: bool, dataset: str = "shop-project.ubi") -> None:
    """Makes the tables queries and events: what is nested as structs and lists, or as JSON in a JSON column and a text;
    then the texts of queries are in messages of events.
    """
    queries, dump = ubi_rows(shop.log)
    documents: list[dict[str, Any]] = [row for row in dump if "index" not in row]
    found = Field("query_response_hit_ids", "STRING", "REPEATED")
    if as_json:
        found = Field("query_response_object_ids")
        for row in queries:
            row["query_response_object_ids"] = json.dumps(row.pop("query_response_hit_ids"))
            typed = {"action_name": "on_search", "message_type": "QUERY", "message": row["user_query"]}
            same = {name: row[name] for name in ("query_id", "client_id", "timestamp")}
            documents.append(same | typed | {"event_attributes": {}})
            row["user_query"] = None
    bigquery.put(
        f"{dataset}.queries",
        (
            Field("query_id"),
            Field("client_id"),
            Field("timestamp", "TIMESTAMP"),
            Field("user_query"),
            found,
        ),
        [row | {"timestamp": datetime.datetime.fromisoformat(row["timestamp"])} for row in queries],
    )
    attributes = Field(
        "event_attributes",
        "RECORD",
        fields=(
            Field("object", "RECORD", fields=(Field("object_id"),)),
            Field("position", "RECORD", fields=(Field("ordinal", "INTEGER"),)),
        ),
    )
    if as_json:
        attributes = Field("event_attributes", "JSON")
        documents = [row | {"event_attributes": json.dumps(row["event_attributes"])} for row in documents]
    bigquery.put(
        f"{dataset}.events",
        (
            Field("query_id"),
            Field("client_id"),
            Field("timestamp", "TIMESTAMP"),
            Field("action_name"),
            Field("message_type"),
            Field("message"),
            attributes,
        ),
        [row | {"timestamp": datetime.datetime.fromisoformat(row["timestamp"])} for row in documents],
    )


def configured(data: dict[str, Any], **settings: Any) -> IngestConfig:
    """As `small_shop.write_shop` configures a shop in files."""
    return IngestConfig.parse({"data": data, "eval_start": EVAL_START, "partitions": 2, **settings})


def upload(storage: Storage, folder: Path, bucket: str, prefix: str) -> None:
    """Puts the files of a folder into a bucket."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            storage.put(bucket, f"{prefix}/{path.relative_to(folder)}", path.read_bytes())


def download(storage: Storage, bucket: str, prefix: str, folder: Path) -> None:
    """Puts what a bucket has below a prefix into a folder."""
    for name in storage.names(bucket):
        if name.startswith(f"{prefix}/"):
            path = folder / name.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(storage.buckets[bucket][name].data)
