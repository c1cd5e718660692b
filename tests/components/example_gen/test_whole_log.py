"""What only the whole log tells: ids that meet, where it ends, whose the profiles are."""

import dataclasses
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.example_gen.config import IngestConfig
from components.example_gen.ingest import run_ingest
from components.example_gen.times import parse_timestamp
from schema.settings import DataError
from serving.user_state.parquet import read_behavior
from tests.components.example_gen import oracle, written
from tests.components.example_gen.small_shop import DAY, make_shop, souk_rows, splits_of, write_jsonl, write_shop

SHOP = make_shop()
LOG_END = max(event.timestamp_ms for event in SHOP.log) + 1
LATE = parse_timestamp("2099-01-01T00:00:00Z")


def _examples(out: Path) -> dict[str, list[dict[str, Any]]]:
    return {split: written.in_order(out, split) for split in ("train", "eval")}


def test_poorer_deliveries_of_an_event_change_nothing(tmp_path, expected) -> None:
    """Without their request they are in another partition than the event, without the rest they come first."""
    config = write_shop(tmp_path / "in", SHOP, partitions=5)
    acted = [event for event in SHOP.log if event.event_type in ("click", "add_to_cart", "order")]
    again = [dataclasses.replace(event, request_id=None) for event in acted]
    again += [dataclasses.replace(event, user_id=None, position=None) for event in acted]
    write_jsonl(tmp_path / "in" / "events-2.jsonl", souk_rows(again))
    summary = run_ingest(config, str(tmp_path / "out"))
    assert _examples(tmp_path / "out") == expected
    assert summary.counters["events.duplicates"] == 2 * len(acted)
    assert "events.reused_event_ids" not in summary.counters


def test_ids_that_restart_in_every_file_are_refused(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP)
    halves = SHOP.log[::2], SHOP.log[1::2]
    for number, half in enumerate(halves):
        rows = [dataclasses.replace(event, event_id=str(n)) for n, event in enumerate(half)]
        write_jsonl(tmp_path / "in" / f"events-{number}.jsonl", souk_rows(rows))
    with pytest.raises(DataError, match=r"have the event_id of another event.*Do ids restart in every file") as caught:
        run_ingest(config, str(tmp_path / "out"))
    assert f"{tmp_path}/in/events-0.jsonl and {tmp_path}/in/events-1.jsonl" in str(caught.value)


def test_few_events_with_the_id_of_another_are_used_and_told(tmp_path, expected) -> None:
    config = write_shop(tmp_path / "in", SHOP)
    first, *_, last = SHOP.log
    shared = [dataclasses.replace(event, event_id="same") if event in (first, last) else event for event in SHOP.log]
    write_jsonl(tmp_path / "in" / "events-0.jsonl", souk_rows(shared))
    write_jsonl(tmp_path / "in" / "events-1.jsonl", souk_rows(shared[:1]))
    summary = run_ingest(config, str(tmp_path / "out"))
    assert _examples(tmp_path / "out") == expected
    assert summary.counters["events.reused_event_ids"] == summary.counters["events.duplicates"] == 1
    assert any(note.startswith("1 events have the event_id of another event.") for note in summary.notes())


def test_one_wrong_clock_moves_neither_splits_nor_states(tmp_path) -> None:
    values = write_shop(tmp_path / "in", SHOP).model_dump(exclude={"eval_start"})
    config = IngestConfig.parse({**values, "eval_days": 2})
    search = next(event for event in SHOP.log if event.event_type == "search")
    wrong = [
        dataclasses.replace(search, event_id="w1", request_id="w", timestamp_ms=LATE),
        dataclasses.replace(
            search, event_id="w2", request_id="w", timestamp_ms=LATE + 9, event_type="click", query=None, item_id="i1"
        ),
    ]
    write_jsonl(tmp_path / "in" / "events-2.jsonl", souk_rows(wrong))
    summary = run_ingest(config, str(tmp_path / "out"))
    end = splits_of(SHOP).end
    assert (summary.eval_start_ms, summary.end_ms) == (end - 2 * DAY, end)
    assert summary.counters["events.after_the_end"] == 2
    assert any("wrong clock: the log ends at 2026-04-" in note for note in summary.notes())
    requests, interactions = oracle.join(SHOP.log, SHOP.item_ids, end - 2 * DAY)
    for state in pl.read_parquet(tmp_path / "out" / "user_state.parquet").to_dicts():
        behavior = oracle.behavior(state["user_id"], LOG_END, requests, interactions, config.windows)
        assert {name: state[name] for name in behavior} == behavior


def test_a_second_ingestion_knows_the_new_catalog(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP)
    run_ingest(config, str(tmp_path / "out"))
    write_jsonl(tmp_path / "in" / "catalog.jsonl", SHOP.catalog[:15])
    run_ingest(config, str(tmp_path / "out"))
    known = {row["item_id"] for row in SHOP.catalog[:15]}
    seen = {item for row in written.rows(tmp_path / "out", "train") for item in row["items"]}
    assert seen <= known


def test_profiles_that_match_nobody_are_counted_and_told(tmp_path) -> None:
    strangers = {f"cust-{user}": values for user, values in SHOP.profiles.items()}
    config = write_shop(tmp_path / "in", dataclasses.replace(SHOP, profiles=strangers))
    summary = run_ingest(config, str(tmp_path / "out"))
    assert summary.counters["users.profiles_without_events"] == len(strangers) == 5
    (note,) = (note for note in summary.notes() if "profile" in note)
    assert note.startswith("No user of the log has a profile: all 5 are of no user of the log.")
    assert "'cust-u0', 'cust-u1', 'cust-u2', while the log has 'u0', 'u1', 'u2'" in note


def test_a_log_without_users_has_states_of_nobody(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP)
    nobody = [dataclasses.replace(event, user_id=None) for event in SHOP.log]
    write_jsonl(tmp_path / "in" / "events-0.jsonl", souk_rows(nobody[::2]))
    write_jsonl(tmp_path / "in" / "events-1.jsonl", souk_rows(nobody[1::2]))
    run_ingest(config.model_copy(update={"data": config.data.model_copy(update={"users": ()})}), str(tmp_path / "out"))
    assert read_behavior(tmp_path / "out" / "user_state.parquet", "u1") is None
