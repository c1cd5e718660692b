"""A small seeded shop whose log, catalog and profiles can be written in every format that ingestion reads."""

import csv
import datetime
import gzip
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from components.example_gen.config import IngestConfig
from components.example_gen.times import TimeSplits, parse_timestamp
from tests.components.example_gen.oracle import Event

DAY = 86_400_000
START = 1_772_323_200_000  # 2026-03-01T00:00:00Z
DAYS = 50
EVAL_START = "2026-04-18T00:00:00Z"
PROFILE_COLUMNS = ("region", "age")


@dataclass(frozen=True)
class Shop:
    log: list[Event]
    catalog: list[dict[str, Any]]
    profiles: dict[str, dict[str, str]]

    @property
    def item_ids(self) -> set[str]:
        return {row["item_id"] for row in self.catalog}


def make_shop(searches: int = 120, seed: int = 0) -> Shop:
    """Every event has a millisecond of its own, except that a page's items are shown when it is searched for."""
    rng = random.Random(seed)
    catalog = [
        {
            "item_id": f"i{n}",
            "title": f"Thing {n}" if n % 3 else f"东西 {n}",
            "brand": f"brand {n % 4}" if n % 5 else None,
            "category": ["Shop", f"Aisle {n % 3}"],
            "shop": f"s{n % 2}",
            "price": n / 4 if n % 7 else None,
        }
        for n in range(30)
    ]
    log = []
    for number, time in enumerate(sorted(rng.sample(range(0, DAYS * DAY, 1000), searches))):
        moment, user, request = START + time, f"u{rng.randrange(6)}", f"r{number}"
        query = rng.choice(["red shoes", "hat, large", '"quoted"', "红色 鞋"])
        log.append(Event(f"e{len(log)}", moment, request, user, "search", query, None, None))
        shown = rng.sample(range(33), rng.randrange(6))  # i30 to i32 are not in the catalog
        for position, item in enumerate(shown, start=1):
            log.append(Event(f"e{len(log)}", moment, request, user, "impression", None, f"i{item}", position))
        for position, item in enumerate(shown, start=1):
            for kind in ("click", "add_to_cart", "order"):
                if rng.random() > 0.5:
                    break
                late = rng.choice([1, 1, 1, 3 * DAY]) + rng.randrange(900) + 1000 * position
                log.append(Event(f"e{len(log)}", moment + late, request, user, kind, None, f"i{item}", position))
    profiles = {f"u{n}": {"region": "north" if n % 2 else "south", "age": str(n)} for n in range(4)} | {
        "u7": {"age": "9"}
    }
    end = START + DAYS * DAY
    return Shop([e for e in log if e.timestamp_ms < end], catalog, profiles)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pa.parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=100)


def souk_rows(log: list[Event], text_time: bool = True) -> list[dict[str, Any]]:
    """Rows in Souk's own columns; the time as RFC 3339 text or as epoch milliseconds."""
    rows = []
    for event in log:
        row = asdict(event)
        time = row.pop("timestamp_ms")
        rows.append(row | {"timestamp": rfc3339(time) if text_time else time})
    return rows


def rfc3339(time: int) -> str:
    moment = datetime.datetime.fromtimestamp(time / 1000, datetime.timezone(datetime.timedelta(hours=2)))
    return moment.isoformat(timespec="milliseconds")


def ubi_rows(log: list[Event]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The same log as `ubi_queries` documents and as a bulk dump of `ubi_events`."""
    hits: dict[str, list[str]] = {}
    for event in log:
        if event.event_type == "impression":
            hits.setdefault(event.request_id, []).append(event.item_id)
    queries, events = [], []
    for event in log:
        common = {"query_id": event.request_id, "client_id": event.user_id, "timestamp": rfc3339(event.timestamp_ms)}
        if event.event_type == "search":
            queries.append(
                common | {"user_query": event.query, "query_response_hit_ids": hits.get(event.request_id, [])}
            )
        elif event.event_type != "impression":
            attributes = {"object": {"object_id": event.item_id}, "position": {"ordinal": event.position}}
            action = "purchase" if event.event_type == "order" else event.event_type
            events += [{"index": {}}, common | {"action_name": action, "event_attributes": attributes}]
    return queries, events


def write_shop(folder: Path, shop: Shop, form: str = "jsonl", **settings: Any) -> IngestConfig:
    """Writes a shop in one form (jsonl, jsonl.gz, csv, parquet, ubi) and gives the configuration that reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    users = [{"user_id": user, **{c: values.get(c) for c in PROFILE_COLUMNS}} for user, values in shop.profiles.items()]
    suffix = "jsonl" if form == "ubi" else form
    write = {"jsonl": write_jsonl, "jsonl.gz": write_jsonl, "csv": write_csv, "parquet": write_parquet}[suffix]
    catalog = shop.catalog
    if form == "csv":
        catalog = [row | {"category": " > ".join(row["category"])} for row in catalog]
    data: dict[str, Any] = {
        "events": f"{folder}/events-*.{suffix}",
        "catalog": f"{folder}/catalog.{suffix}",
        "users": f"{folder}/users.{suffix}",
        "profile_columns": list(PROFILE_COLUMNS),
    }
    if form == "ubi":
        queries, events = ubi_rows(shop.log)
        write_jsonl(folder / "queries.jsonl", queries)
        write_jsonl(folder / "events-0.jsonl", events)
        data |= {"events_format": "ubi", "ubi_queries": f"{folder}/queries.jsonl"}
    else:
        rows = souk_rows(shop.log, text_time=form != "parquet")
        write(folder / f"events-0.{suffix}", rows[::2])
        write(folder / f"events-1.{suffix}", rows[1::2])
    write(folder / f"catalog.{suffix}", catalog)
    write(folder / f"users.{suffix}", users)
    return IngestConfig.parse({"data": data, "eval_start": EVAL_START, "partitions": 2, **settings})


def splits_of(shop: Shop) -> TimeSplits:
    """The splits of the shop's log by an ingestion with its defaults."""
    times = [event.timestamp_ms for event in shop.log if event.event_type == "search"]
    return TimeSplits(min(times), parse_timestamp("2026-04-18T00:00:00Z"), max(times) + 1)
