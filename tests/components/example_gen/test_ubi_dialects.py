"""Whole ingestions of UBI dumps: whatever dialect a collector writes, the same facts give the same examples."""

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.example_gen.config import IngestConfig
from components.example_gen.ingest import run_ingest
from components.example_gen.summary import IngestSummary
from schema.settings import DataError
from tests.components.example_gen import oracle, written
from tests.components.example_gen.small_shop import make_shop, splits_of, ubi_rows, write_jsonl, write_shop
from tests.components.example_gen.test_ubi import CLICK, FOUND, QUERY, answer, bulk, hits, plain

SHOP = make_shop(40)
NAMES = {
    "click": ["click", "click_through", "item_click"],
    "add_to_cart": ["add_to_cart", "addToCart"],
    "purchase": ["purchase", "product_purchase", "bought"],
}


def _states(folder: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(folder / "user_state.parquet").to_dicts()


def _log() -> tuple[list[dict], list[dict]]:
    queries, dump = ubi_rows(SHOP.log)
    return queries, [row for row in dump if "index" not in row]


def _ingest(
    folder: Path, queries: list[dict], events: list[dict], form: str = "jsonl", **limits: float
) -> tuple[IngestConfig, IngestSummary]:
    """Ingests the small shop with another log."""
    config = write_shop(folder / "in", SHOP, "ubi", **limits)
    for name, documents in (("queries", queries), ("events-0", events)):
        _write(folder / "in" / f"{name}.{form}", documents)
    own = {
        "ubi_actions": {"bought": "order"},
        "events": (str(folder / "in" / f"events-0.{form}"),),
        "ubi_queries": (str(folder / "in" / f"queries.{form}"),),
    }
    config = config.model_copy(update={"data": config.data.model_copy(update=own)})
    return config, run_ingest(config, str(folder / "out"))


def _write(path: Path, documents: list[dict]) -> None:
    """Documents as tools write them that know no others than flat ones: a nested field as its JSON, as what Python
    prints, as columns, or as a struct.
    """
    if path.suffix == ".jsonl":
        write_jsonl(path, documents)
        return
    rows = [dict(document) for document in documents]
    for row in rows:
        if "event_attributes" not in row:
            continue
        attributes = row.pop("event_attributes")
        ordinal = attributes["position"]["ordinal"]
        row["event_attributes.position.ordinal"] = None if ordinal is None else str(ordinal)
        if len(rows) % 2:
            row["event_attributes.object.object_id"] = attributes["object"]["object_id"]
        else:
            inner = {"object": attributes["object"]}
            row["event_attributes"] = str(inner) if len(inner["object"]["object_id"]) % 2 else json.dumps(inner)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    texts = {
        name: [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
        for name, values in columns.items()
    }
    if path.suffix == ".csv":
        pl.DataFrame(texts).write_csv(path, null_value=["", "NULL", "\\N", "NaN"][len(rows) % 4])
        return
    structs = [
        None if row.get("event_attributes.object.object_id") is None else {"object": {"object_id": id_}}
        for row, id_ in zip(rows, columns.get("event_attributes.object.object_id", [None] * len(rows)), strict=True)
    ]
    if any(structs):
        del texts["event_attributes.object.object_id"]
        texts["event_attributes"] = structs
    pl.DataFrame(texts).write_parquet(path)


def _search(document: dict, **fields: object) -> dict:
    """What the page's script logs of the search that `document` is the engine's record of."""
    return (
        {key: document[key] for key in ("query_id", "client_id", "timestamp")} | {"action_name": "on_search"} | fields
    )


def _in_dialects(rng: random.Random, first_ordinal: int) -> tuple[list[dict], list[dict]]:
    """The shop's log, each document in a dialect of its own, among pages that nobody typed anything for."""
    queries, events = _log()
    said: list[dict] = []
    _name_users(rng, queries, events)
    for number, document in enumerate(queries):
        ids = document.pop("query_response_hit_ids")
        document[rng.choice(FOUND)] = rng.choice([ids, json.dumps(ids), str(ids)])
        text = document["user_query"]
        match rng.randrange(4):
            case 0:
                document["user_query"] = rng.choice([None, ""])
                said.append(_search(document, message_type="QUERY", message=text))
            case 1:
                said.append(_search(document, message_type="INFO", message="searched"))
            case 2:
                shown = {"user_query": rng.choice([None, ""]), rng.choice(FOUND): ["i1", "i2"]}
                browsed = document | {"query_id": f"b{number}", "client_id": "browser"} | shown
                queries = [*queries, browsed]
                said.append(CLICK | {"query_id": f"b{number}", "client_id": "browser"})
    for event in events:
        event["action_name"] = rng.choice(NAMES[event["action_name"]])
        position = event["event_attributes"]["position"]
        position["ordinal"] += first_ordinal - 1
        position["ordinal"] = rng.choice(
            [position["ordinal"], {"index": position["ordinal"]}, str(position["ordinal"])]
        )
    # In CSV and Parquet an even or odd number of rows decides how nested fields are written.
    said += [_search(queries[0])] * rng.randrange(2)
    both = [*said, *events, *(event | {"action_name": "hover"} for event in events[:3])]
    rng.shuffle(both)
    return queries, both


def _name_users(rng: random.Random, queries: list[dict], events: list[dict]) -> None:
    """Of some requests the engine knows the browser alone, and one event at least the user."""
    for query in queries:
        same = [event for event in events if event["query_id"] == query["query_id"]]
        if not same or rng.random() < 0.5:
            continue
        user = query["client_id"]
        browser = f"browser of {user}"
        query["client_id"] = browser
        for event in same:
            event["client_id"] = browser
            event["user_id"] = rng.choice([user, "", None])
        rng.choice(same)["user_id"] = user


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.integers(0, 1), st.sampled_from(["jsonl", "csv", "parquet"]))
def test_the_same_facts_in_any_dialect_give_the_same_examples(rng: random.Random, first: int, form: str) -> None:
    queries, events = _in_dialects(rng, first)
    if form == "jsonl":
        queries = [row for d in queries for row in rng.choice([plain, bulk, hits])([d])]
        events = rng.choice([plain, bulk, hits, answer])(events)
    with tempfile.TemporaryDirectory() as folder:
        config, summary = _ingest(Path(folder), queries, events, form)
        expected = oracle.examples(SHOP.log, SHOP.item_ids, SHOP.profiles, config.windows, splits_of(SHOP))
        assert len(expected["train"]) > 20
        assert {split: written.in_order(Path(folder) / "out", split) for split in expected} == expected
        assert summary.counters["events.ignored_actions"] == summary.ubi_actions["hover"].count == 3
        assert (summary.ubi_first_ordinal, "begin at 0" in str(summary.notes())) == (first, first == 0)


def test_browse_pages_fail_nothing_however_many_they_are(tmp_path) -> None:
    queries, events = _log()
    pages = [QUERY | {"query_id": f"b{n}", "user_query": None} for n in range(1000)]
    clicks = [CLICK | {"query_id": f"b{n}", "timestamp": "2026-04-10T00:00:00Z"} for n in range(1000)]
    _, summary = _ingest(tmp_path, queries + pages, events + clicks, max_bad_fraction=0.0)
    assert summary.counters["events.searches_without_text"] == 1000
    assert summary.counters["events.of_searches_without_text"] == 3000
    # What they clicked is what the user is interested in all the same.
    (state,) = (row for row in _states(tmp_path / "out") if row["user_id"] == "c1")
    assert "i4" in str(state)


def test_searches_of_unknown_queries_are_unmatched(tmp_path) -> None:
    queries, events = _log()
    lost = [_search(QUERY | {"query_id": f"lost{n}"}, message_type="QUERY", message=None) for n in range(9)]
    _, summary = _ingest(tmp_path, queries, events + lost, max_bad_fraction=0.0)
    assert summary.counters["events.dropped.request_without_query"] == 9
    with pytest.raises(DataError, match="9 request_without_query: no event of the request holds its query"):
        _ingest(tmp_path, queries, events + lost, max_unmatched_fraction=0.01)


def test_text_of_another_search_of_the_query_is_enough(tmp_path) -> None:
    queries, events = _log()
    named = _search(QUERY | {"query_id": "q9"}, message_type="QUERY", message="red shoes")
    silent = _search(QUERY | {"query_id": "q9", "timestamp": "2026-03-01T11:00:00Z"})
    _, summary = _ingest(tmp_path, queries, [*events, silent, named], max_bad_fraction=0.0, max_unmatched_fraction=0.2)
    (row,) = (row for row in written.rows(tmp_path / "out", "train") if row["request_id"] == "q9")
    assert (row["query"], row["timestamp_ms"]) == ("red shoes", 1_772_366_400_000)
    assert "events.dropped.request_without_query" not in summary.counters


def test_at_one_moment_the_engines_record_decides(tmp_path) -> None:
    queries, events = _log()
    typed = [_search(d, message_type="QUERY", message="typed") | {"client_id": "page"} for d in queries]
    _, summary = _ingest(tmp_path, queries, events + typed)
    assert {row["query"] for row in written.rows(tmp_path / "out", "train")} == {
        event.query for event in SHOP.log if event.query
    }
    assert "events.of_another_user" not in summary.counters


def test_actions_are_told_with_their_counts(tmp_path) -> None:
    queries, events = _log()
    more = [CLICK | {"action_name": name} for name in ["hover"] * 3 + ["log\nin"] * 2 + [f"x{n}" for n in range(150)]]
    _, summary = _ingest(tmp_path, queries, events + more)
    clicks = sum(event.event_type == "click" for event in SHOP.log)
    read, ignored = summary.notes()
    assert f"click {clicks} as click" in read
    assert ignored.startswith("UBI actions ignored: hover 3, 'log\\nin' 2, x0 1, ")
    assert "`ingest.data.ubi_actions`" in ignored
    assert len(summary.ubi_actions) == 100
    assert summary.counters["events.ignored_actions"] == 155
    assert json.loads(summary.to_json())["ubi_actions"]["hover"] == {"count": 3, "read_as": None}


def test_a_search_without_query_id_is_a_request_of_its_own(tmp_path) -> None:
    queries, events = _log()
    typed = _search(QUERY, query_id=None, message_type="QUERY", message="lonely", client_id="c9")
    lost = [_search(QUERY, query_id=None), CLICK | {"action_name": "impression", "query_id": ""}]
    _, summary = _ingest(tmp_path, queries, [*events, typed, *lost], max_bad_fraction=0.0)
    (row,) = (row for row in written.rows(tmp_path / "out", "train") if row["query"] == "lonely")
    assert (row["user_id"], row["items"]) == ("c9", [])
    assert summary.counters["events.without_query_id"] == 2


def test_the_client_is_the_user_where_a_setting_says_so(tmp_path) -> None:
    _, events = _log()
    named = [event | {"user_id": f"name of {event['client_id']}"} for event in events]
    config = write_shop(tmp_path / "in", SHOP, "ubi")
    write_jsonl(tmp_path / "in" / "events-0.jsonl", named)
    for field, users in (("client_id", 0), ("user_id", 1)):
        data = config.data.model_copy(update={"ubi_user": field})
        run_ingest(config.model_copy(update={"data": data}), str(tmp_path / field))
        found = {row["user_id"] for row in written.rows(tmp_path / field, "train")}
        assert any(user.startswith("name of") for user in found) == bool(users)
