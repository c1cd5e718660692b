"""The same facts as pandas, Spark, Python, databases and search engines write them, read without Beam."""

import csv
import gzip
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from components.example_gen.columns import CATALOG_COLUMNS
from components.example_gen.config import IngestConfig
from components.example_gen.job import CATALOG, plan_job
from tests.components.example_gen.read_job import read_job

Rows = list[dict[str, Any]]
READ_EVENTS = ("event_id", "timestamp", "request_id", "user_id", "event_type", "query", "item_id", "position")
IDS = st.integers(0, 2**53 - 1)
QUERIES = st.sampled_from(
    ["red, shoes", '"quoted"', '19" tv', 'tv 19"', "[new] shoe", "nan", "Null", "鞋", "N/A", "5.0"]
)
NAMES = st.sampled_from(["Null", "None", "[sale] lamp", "Home & C", "it's", 'lamp "XL"', "鞋 子"])
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "event_id": IDS,
            "timestamp": st.integers(1_700_000_000_000, 1_800_000_000_000),
            "request_id": IDS,
            "user_id": st.none() | IDS,
            "event_type": st.sampled_from(["search", "click"]),
            "query": QUERIES,
            "item_id": IDS,
            "position": st.none() | st.integers(0, 100),
        }
    ),
    min_size=1,
    max_size=5,
)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "item_id": IDS,
            "title": NAMES,
            "brand": st.none() | NAMES,
            "category": st.lists(NAMES, min_size=1, max_size=3),
            "shop": st.none() | NAMES,
            "price": st.none() | st.integers(0, 99),
        }
    ),
    min_size=1,
    max_size=5,
)


def _json(path: Path, rows: Rows, missing: object = math.nan, pack: bool = False, mark: bool = False) -> None:
    lines = [json.dumps({name: missing if value is None else value for name, value in row.items()}) for row in rows]
    data = (b"\xef\xbb\xbf" if mark else b"") + "\n".join(lines).encode()
    path.write_bytes(gzip.compress(data) if pack else data)


def _hits(path: Path, rows: Rows) -> None:
    _json(path, [{"_index": "shop", "_id": str(n), "_source": row} for n, row in enumerate(rows)])


def _spark(path: Path, rows: Rows) -> None:
    path.mkdir()
    for name in ("_SUCCESS", ".part-00000.json.crc", "part-00002.json"):
        (path / name).touch()
    some = [{name: value for name, value in row.items() if value is not None} for row in rows]
    # A column that no row names is missing.
    some[0] = rows[0]
    for number, part in enumerate((some[::2], some[1::2])):
        (path / f"part-0000{number}").write_text("".join(json.dumps(row) + "\n" for row in part))


def _partitions(path: Path, rows: Rows) -> None:
    by = "event_type" if "event_type" in rows[0] else "brand"
    for value in {row[by] for row in rows}:
        folder = path / f"{by}={'__HIVE_DEFAULT_PARTITION__' if value is None else quote(value)}"
        folder.mkdir(parents=True)
        (folder / "_committed_1").write_text("{}")
        part = [{name: one for name, one in row.items() if name != by} for row in rows if row[by] == value]
        pd.DataFrame(part).to_parquet(folder / "part-0.snappy.parquet")


def _pandas_csv(missing: str, printed: Callable[[list[str]], object]) -> Callable[[Path, Rows], None]:
    def write(path: Path, rows: Rows) -> None:
        frame = pd.DataFrame(rows)
        if "category" in frame:
            frame["category"] = [printed(value) for value in frame["category"]]
        frame.to_csv(path, na_rep=missing, encoding="utf-8-sig")

    return write


def _with_times(rows: Rows) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    if "timestamp" in frame:
        frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="ms", utc=True)
    return frame


def _spaced_csv(path: Path, rows: Rows) -> None:
    names = list(rows[0])
    lines = [" , ".join(names)]
    for row in rows:
        values = ["" if row[name] is None else row[name] for name in names]
        texts = [" > ".join(value) if isinstance(value, list) else str(value) for value in values]
        lines.append(",".join('"' + f" {text} ".replace('"', '""') + '"' for text in texts))
    path.write_text("\n".join(lines), encoding="utf-8")


def _spreadsheet_csv(path: Path, rows: Rows) -> None:
    """As Excel does where numbers have a comma."""
    names = list(rows[0])
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        stream.write("sep=;\r\n")
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(names)
        for row in rows:
            texts = row | ({} if row.get("price") is None else {"price": f"{row['price']},0"})
            values = [texts[name] for name in names]
            writer.writerow([" > ".join(value) if isinstance(value, list) else value for value in values])


def _spark_csv(path: Path, rows: Rows) -> None:
    names = list(rows[0])
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL, escapechar="\\", doublequote=False)
        writer.writerow(names)
        for row in rows:
            values = [row[name] for name in names]
            writer.writerow([json.dumps(value) if isinstance(value, list) else value for value in values])


DIALECTS: dict[str, tuple[str, Callable[[Path, Rows], None]]] = {
    "python": ("jsonl", _json),
    "python, packed without .gz": ("ndjson", lambda path, rows: _json(path, rows, pack=True)),
    "byte order mark": ("json", lambda path, rows: _json(path, rows, None, mark=True)),
    "solr": (
        "jsonl",
        lambda path, rows: _json(path, [{k: v if k == "category" else [v] for k, v in row.items()} for row in rows]),
    ),
    "search engine": ("json", _hits),
    "spark": ("json", _spark),
    "spark, partitions": ("parquet", _partitions),
    "pandas, JSON": ("json", lambda path, rows: _with_times(rows).to_json(path, orient="records", lines=True)),
    "pandas, CSV": ("csv", _pandas_csv("", str)),
    "pandas, CSV of a database": ("csv", _pandas_csv("\\N", np.array)),
    "pandas, CSV with NaN": ("csv", _pandas_csv("NaN", " > ".join)),
    "pandas, CSV with NULL": ("csv", _pandas_csv("NULL", json.dumps)),
    "pandas, CSV with times": ("csv", lambda path, rows: _with_times(rows).to_csv(path, index=False)),
    "pandas, Parquet": ("parquet", lambda path, rows: _with_times(rows).to_parquet(path)),
    "spaces": ("csv", _spaced_csv),
    "spreadsheet": ("csv", _spreadsheet_csv),
    "spark, CSV": ("csv", _spark_csv),
    "tabs": ("tsv", lambda path, rows: pd.DataFrame(rows).to_csv(path, sep="\t", index=False)),
}


def _read_as(rows: Rows, columns: tuple[str, ...]) -> Counter[tuple[object, ...]]:
    def value(row: dict[str, Any], name: str) -> object:
        if isinstance(row[name], list):
            return tuple(row[name])
        return str(row[name]) if name.endswith("_id") and row[name] is not None else row[name]

    return Counter(tuple(value(row, name) for name in columns) for row in rows)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(
    max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=EVENTS, items=ITEMS)
def test_the_same_facts_in_any_dialect_are_the_same_rows(
    tmp_path: Path, dialect: str, events: Rows, items: Rows
) -> None:
    suffix, write = DIALECTS[dialect]
    folder = tmp_path / "in [1]"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, rows in (("events", events), ("catalog", items)):
        write(folder / f"{name}.{suffix}", rows)
    data = {name: f"{folder}/{name}.{suffix}" for name in ("events", "catalog")}
    read = read_job(plan_job(IngestConfig.parse({"data": data}), "out", "work"))
    assert (read["events"].reasons, read[CATALOG].reasons) == ({}, {})
    assert Counter(read["events"].rows) == _read_as(events, READ_EVENTS)
    assert Counter(read[CATALOG].rows) == _read_as([{**item, "available": True} for item in items], CATALOG_COLUMNS)


SEVERAL = st.sampled_from([[1, 2], {"en": "x"}, ["a", "b"], [{"id": 1}]])


@given(
    items=ITEMS, wrong=st.lists(st.tuples(st.sampled_from(["item_id", "title", "brand", "price"]), SEVERAL), max_size=4)
)
@settings(
    max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_row_is_used_or_counted(tmp_path: Path, items: Rows, wrong: list[tuple[str, Any]]) -> None:
    rows = [*items, *({**items[0], name: value} for name, value in wrong)]
    _json(tmp_path / "rows.jsonl", [*rows, {**items[0], "category": {"en": "Shoes"}}])
    event = dict.fromkeys(("event_id", "timestamp", "request_id", "user_id", "event_type", "query", "item_id"))
    _json(tmp_path / "events.jsonl", [event], None)
    data = {"events": f"{tmp_path}/events.jsonl", "catalog": f"{tmp_path}/rows.jsonl"}
    read = read_job(plan_job(IngestConfig.parse({"data": data}), "out", "work"))
    assert Counter(read[CATALOG].rows) == _read_as([{**item, "available": True} for item in items], CATALOG_COLUMNS)
    expected = {"several_values": len(wrong), "bad_category": 1}
    assert read[CATALOG].reasons == {reason: count for reason, count in expected.items() if count}
    assert read["events"].reasons == {"missing_event_id": 1}
