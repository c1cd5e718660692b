"""Files that something went wrong with: they are read, counted row by row, or told in a sentence."""

import csv
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.example_gen.columns import RecordBatch
from components.example_gen.config import IngestConfig
from components.example_gen.job import plan_job
from components.example_gen.ubi import read_events, read_queries
from components.example_gen.validate import validate_events
from schema.settings import InputError
from tests.components.example_gen.read_job import read_job
from tests.components.example_gen.test_ubi import CLICK, QUERY

EVENTS = [
    {
        "event_id": f"e{n}",
        "timestamp": 1_772_323_200_000 + n,
        "request_id": "r",
        "user_id": 7.0,
        "event_type": "search",
        "query": 'a "b", c',
        "item_id": None,
    }
    for n in range(4)
]
ITEMS = [{"item_id": n, "title": "鞋", "category": ["A", "B"], "price": 1.5, "brand": {"name": "B"}} for n in range(4)]
PIECES = [
    *(
        b'"',
        b"\\",
        b"\n",
        b"\r",
        b",",
        b";",
        b"\t",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"'",
        b"\xff",
        b"\x00",
        b"\xef\xbb\xbf",
    ),
    *(b"NaN", b"-Infinity", b"1e400", b"1e+19", b"99999999999999999999999999999999999999999", b"null", b"true", b"{}"),
    *(
        b"\\ud83d",
        b"\\u0000",
        b"\xed\xa0\x80",
        b'"item_id":[[1]],',
        b'"title":{"a":1},',
        b"\x1f\x8b",
        b"_source",
        b'"hits":',
    ),
]
# Where in the file, how much is cut out, and what comes there.
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=4)
few = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _mutilated(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for where, cut, piece in changes:
        place = int(where * len(data))
        data = data[:place] + piece + data[place + cut :]
    return data


def _json(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    stream = io.BytesIO()
    pl.DataFrame(rows).write_parquet(stream)
    return stream.getvalue()


@few
@given(st.sampled_from(["jsonl", "csv", "parquet"]), CHANGES, CHANGES)
def test_a_mutilated_file_is_read_counted_or_told(tmp_path: Path, form: str, events: list, items: list) -> None:
    written = {"jsonl": _json, "csv": _csv, "parquet": _parquet}[form]
    sizes = {}
    for name, rows, changes in (("events", EVENTS, events), ("catalog", ITEMS, items)):
        data = _mutilated(written(rows), changes)
        (tmp_path / f"{name}.{form}").write_bytes(data)
        sizes[name] = sum(bool(line.strip()) for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    paths = {name: f"{tmp_path}/{name}.{form}" for name in sizes}
    with suppress(InputError):
        read = read_job(plan_job(IngestConfig.parse({"data": paths}), "out", "work"))
        counted = {kind: len(found.rows) + sum(found.reasons.values()) for kind, found in read.items()}
        assert form != "jsonl" or counted == sizes


def _events_of(batch: RecordBatch) -> int:
    good, bad, _ = validate_events(batch.frame, 0, 512, needs_query=False)
    assert len(good) + len(bad) == len(batch.frame)
    return len(batch.frame) + len(batch.rejects)


@few
@given(st.sampled_from(["jsonl", "csv", "parquet"]), CHANGES, CHANGES)
def test_a_mutilated_dump_of_ubi_is_read_counted_or_told(tmp_path: Path, form: str, events: list, asked: list) -> None:
    flat = form != "jsonl"
    written = {"jsonl": _json, "csv": _csv, "parquet": _parquet}[form]
    for name, row, changes in (("events", CLICK, events), ("queries", QUERY, asked)):
        texts = {key: json.dumps(value) if flat and not isinstance(value, str) else value for key, value in row.items()}
        (tmp_path / f"{name}.{form}").write_bytes(_mutilated(written([texts] * 3), changes))
    data = {"events": f"{tmp_path}/events.{form}", "ubi_queries": f"{tmp_path}/queries.{form}", "events_format": "ubi"}
    (tmp_path / "catalog.csv").write_text("item_id,title\ni4,shoe\n")
    with suppress(InputError):
        job = plan_job(IngestConfig.parse({"data": data | {"catalog": f"{tmp_path}/catalog.csv"}}), "out", "work")
        for split in job.input_splits:
            if split.kind == "ubi_events":
                for batch, actions in read_events(split.source, {}):
                    assert _events_of(batch) + sum(actions.values()) > 0
            elif split.kind == "ubi_queries":
                for batch in read_queries(split.source):
                    _events_of(batch)
