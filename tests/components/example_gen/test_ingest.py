"""Whole runs of the Beam job on small files."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.example_gen import stages, steps
from components.example_gen.config import IngestConfig
from components.example_gen.ingest import build, ingest_catalog_into, local_pipeline, run_ingest
from components.example_gen.job import plan_job
from components.example_gen.summary import Tally
from schema.settings import InputError
from tests.components.example_gen import oracle, written
from tests.components.example_gen.oracle import Event
from tests.components.example_gen.small_shop import make_shop, souk_rows, splits_of, write_jsonl, write_shop

SHOP = make_shop()
SPLITS = splits_of(SHOP)
# After the last event, which is a click on what the last search found.
LOG_END = max(event.timestamp_ms for event in SHOP.log) + 1


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "csv", "parquet", "ubi"])
def test_every_format_gives_the_oracles_examples(tmp_path, form: str, expected) -> None:
    summary = run_ingest(write_shop(tmp_path / "in", SHOP, form), str(tmp_path / "out"))
    assert len(expected["train"]) > 80
    assert len(expected["eval"]) >= 3
    assert any(row["long_term_orders"] for row in expected["train"])
    for split, rows in expected.items():
        assert written.in_order(tmp_path / "out", split) == rows
        assert summary.counters[f"examples.{split}"] == len(rows)
    catalog = {row["item_id"]: row for row in written.rows(tmp_path / "out", "catalog")}
    assert catalog.keys() == SHOP.item_ids
    assert catalog["i1"] == {
        "item_id": "i1",
        "title": "Thing 1",
        "brand": "brand 1",
        "category_path": ["Shop", "Aisle 1"],
        "leaf_category": "Shop > Aisle 1",
        "top_category": "Shop",
        "shop": "s1",
        "price": 0.25,
    }
    assert (catalog["i0"]["brand"], catalog["i7"]["price"]) == (None, None)


def test_the_catalog_alone_gives_the_same_items_and_only_them(tmp_path, done) -> None:
    config = write_shop(tmp_path / "in", SHOP)
    for path in (tmp_path / "in").glob("events*"):
        path.unlink()
    out = tmp_path / "out"
    summary = ingest_catalog_into(config, str(out), lambda: local_pipeline([]))
    whole, whole_summary, _ = done
    by_id = lambda folder: sorted(written.rows(folder, "catalog"), key=lambda row: row["item_id"])  # noqa: E731
    assert by_id(out) == by_id(whole)
    assert sorted(path.name for path in out.iterdir()) == ["Split-catalog", "summary.json"]
    catalogs = {name: n for name, n in whole_summary.counters.items() if "catalog" in name}
    assert summary.counters == json.loads((out / "summary.json").read_text())["counters"] == catalogs


def test_a_catalog_with_too_many_bad_or_no_good_rows_is_refused(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP)
    bad = [{"item_id": f"i{n}", "title": ""} for n in range(3)]
    write_jsonl(Path(config.data.catalog[0]), [*bad, {"item_id": "i9", "title": "nine"}])
    with pytest.raises(InputError, match=r"3 of 4 rows of `catalog` \(75.0%\) cannot be used"):
        ingest_catalog_into(config, str(tmp_path / "out"), lambda: local_pipeline([]))
    write_jsonl(Path(config.data.catalog[0]), bad)
    lenient = config.model_copy(update={"max_bad_fraction": 1.0})
    with pytest.raises(InputError, match="the catalog has no usable item"):
        ingest_catalog_into(lenient, str(tmp_path / "out"), lambda: local_pipeline([]))


def test_a_date_gives_the_same_examples_whatever_came_later(tmp_path) -> None:
    values = write_shop(tmp_path / "in", SHOP).model_dump(exclude={"eval_start"})
    config = IngestConfig.parse({**values, "date": "2026-04-18"})
    before = [event for event in SHOP.log if event.timestamp_ms < config.end_ms]
    assert 0 < len(before) < len(SHOP.log)
    late = run_ingest(config, str(tmp_path / "late"))
    run_ingest(config, str(tmp_path / "again"))
    write_jsonl(tmp_path / "in" / "events-0.jsonl", souk_rows(before))
    (tmp_path / "in" / "events-1.jsonl").unlink()
    in_time = run_ingest(config, str(tmp_path / "in_time"))
    for split in ("train", "eval"):
        assert written.in_order(tmp_path / "late", split) == written.in_order(tmp_path / "in_time", split)
    assert late.end_ms == in_time.end_ms == config.end_ms
    files = {path.relative_to(tmp_path / "late") for path in (tmp_path / "late").rglob("*.gz")}
    assert len(files) > 3
    for path in files:
        # Not the same rows alone: what is read by position, as in shuffling, is the same too.
        copies = [(tmp_path / run / path).read_bytes() for run in ("late", "again", "in_time")]
        assert copies == copies[:1] * 3, path
    assert late.counters["events.not_before_date"] > 0
    assert "events.not_before_date" not in in_time.counters


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One run whose outputs several tests look at."""
    folder = tmp_path_factory.mktemp("done")
    progress: list[tuple[str, int, int]] = []
    summary = run_ingest(write_shop(folder / "in", SHOP), str(folder / "out"), progress=lambda *p: progress.append(p))
    return folder / "out", summary, progress


def test_the_folder_holds_splits_and_the_rest_but_no_work_files(done) -> None:
    folder, summary, _ = done
    assert sorted(path.name for path in folder.iterdir()) == [
        "Split-catalog",
        "Split-eval",
        "Split-train",
        "dead_letters",
        "summary.json",
        "user_state.parquet",
    ]
    assert [path.name for path in folder.parent.iterdir() if ".tmp-" in path.name] == []
    assert json.loads((folder / "summary.json").read_text()) == json.loads(summary.to_json())


def test_counters_add_up(done) -> None:
    _, summary, _ = done
    unknown = sum(e.item_id not in SHOP.item_ids for e in SHOP.log if e.item_id)
    assert summary.counters["events.read"] == len(SHOP.log)
    assert summary.counters["events.dropped.unknown_item"] == unknown > 0
    assert summary.counters["catalog.read"] == summary.counters["examples.catalog"] == len(SHOP.catalog)
    assert (summary.train_start_ms, summary.eval_start_ms, summary.end_ms) == (
        SPLITS.train_start,
        SPLITS.eval_start,
        SPLITS.end,
    )


def test_progress_ends_with_every_split_and_partition_done(done) -> None:
    _, _, progress = done
    last = {step: (done, total) for step, done, total in progress}
    assert last == {"read": (4, 4), "catalog": (2, 2), "join": (2, 2), "write": (2, 2)}


def test_user_state_is_each_users_behavior_at_the_logs_end(done) -> None:
    folder, _, _ = done
    states = {row["user_id"]: row for row in pl.read_parquet(folder / "user_state.parquet").to_dicts()}
    requests, interactions = oracle.join(SHOP.log, SHOP.item_ids, SPLITS.eval_start)
    windows = IngestConfig.parse({"data": {"events": "e", "catalog": "c"}}).windows
    assert states.keys() == {f"u{n}" for n in range(6)} | {"u7"}
    for user, state in states.items():
        profile = {f"profile_{c}": SHOP.profiles.get(user, {}).get(c) for c in ("region", "age")}
        behavior = oracle.behavior(user, LOG_END, requests, interactions, windows)
        assert state == {"user_id": user, **behavior, **profile}


def one_user(event: Event) -> Event:
    """A third of the requests, and all that came of them, are one user's."""
    return dataclasses.replace(event, user_id="robot") if int(event.request_id[1:]) % 3 == 0 else event


def one_query(event: Event) -> Event:
    return dataclasses.replace(event, query="gift") if event.query and int(event.request_id[1:]) % 5 == 0 else event


def one_item(event: Event) -> Event:
    """What is first on the page is one item everywhere."""
    return dataclasses.replace(event, item_id="i1") if event.position == 1 else event


def _skewed(folder: Path, skew: Callable[[Event], Event], **settings: Any) -> tuple[list[Event], IngestConfig]:
    log = [skew(event) for event in SHOP.log]
    assert sum(one != other for one, other in zip(log, SHOP.log, strict=True)) > len(log) / 40
    return log, write_shop(folder, dataclasses.replace(SHOP, log=log), **settings)


@pytest.mark.parametrize("skew", [one_user, one_query, one_item])
def test_a_skewed_log_has_the_oracles_examples_in_even_joins(tmp_path, monkeypatch, skew) -> None:
    joined: list[int] = []
    join = steps.join_requests
    monkeypatch.setattr(steps, "join_requests", lambda events, *rest: joined.append(len(events)) or join(events, *rest))
    log, config = _skewed(tmp_path / "in", skew, partitions=4)
    run_ingest(config, str(tmp_path / "out"))
    for split, rows in oracle.examples(log, SHOP.item_ids, SHOP.profiles, config.windows, SPLITS).items():
        assert written.in_order(tmp_path / "out", split) == rows
    assert max(joined) < 1.5 * len(log) / len(joined)


def test_a_robot_keeps_its_newest_events_and_others_keep_all(tmp_path) -> None:
    log, config = _skewed(tmp_path / "in", one_user, max_user_events=70)
    summary = run_ingest(config, str(tmp_path / "out"))
    expected = oracle.examples(log, SHOP.item_ids, SHOP.profiles, config.windows, SPLITS, max_user_events=70)
    for split, rows in expected.items():
        assert written.in_order(tmp_path / "out", split) == rows
    joined = oracle.join(log, SHOP.item_ids, SPLITS.eval_start)
    kept = oracle.newest(*joined, 70)
    dropped = [len(all_) - len(newest) for all_, newest in zip(joined, kept, strict=True)]
    capped = ("users", "requests", "interactions")
    assert [summary.counters[f"events.{what}_over_max_user_events"] for what in capped] == [1, *dropped]
    assert min(dropped) > 3
    assert {request["user_id"] for request in joined[0] if request not in kept[0]} == {"robot"}
    states = {row["user_id"]: row for row in pl.read_parquet(tmp_path / "out" / "user_state.parquet").to_dicts()}
    at_end = oracle.behavior("robot", LOG_END, *kept, config.windows)
    assert {name: states["robot"][name] for name in at_end} == at_end


def test_the_order_of_rows_and_files_changes_no_shard(tmp_path, done) -> None:
    folder, _, _ = done
    config = write_shop(tmp_path / "in", SHOP)
    rows = souk_rows(SHOP.log)[::-1]
    for number in range(3):
        write_jsonl(tmp_path / "in" / f"events-{number}.jsonl", rows[number::3] + rows[: number * 5])
    run_ingest(config, str(tmp_path / "out"))
    for split in ("train", "eval", "catalog"):
        assert written.shards(tmp_path / "out", split) == written.shards(folder, split)


def test_beam_brings_a_problem_of_an_input_back(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP, "jsonl.gz")
    job = plan_job(config, str(tmp_path / "out"), str(tmp_path / "work"))
    path = tmp_path / "in" / "events-1.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with local_pipeline([]) as pipeline:
        build(pipeline, job)
    tally = Tally.from_json((tmp_path / "work" / "tally.json").read_bytes())
    assert [error.startswith(f"{path} cannot be read to its end") for error in tally.errors] == [True]
    assert stages.run_here(job, 1) == tally


@pytest.mark.parametrize("mode", ["multi_processing", "multi_threading"])
def test_two_workers_give_what_one_does(tmp_path, done, mode: str) -> None:
    folder, _, _ = done
    args = [f"--direct_running_mode={mode}", "--direct_num_workers=2"]
    run_ingest(write_shop(tmp_path / "in", SHOP), str(tmp_path / "out"), args)
    for split in ("train", "eval", "catalog"):
        assert written.shards(tmp_path / "out", split) == written.shards(folder, split)
