"""What whole runs of the Beam job make of input that cannot be used, and of being stopped."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.example_gen import ingest, job
from components.example_gen.config import IngestConfig
from components.example_gen.ingest import run_ingest
from schema.settings import InputError
from tests.components.example_gen import written
from tests.components.example_gen.small_shop import make_shop, souk_rows, write_jsonl, write_shop

SHOP = make_shop()
BAD = [
    b'{"event_id":"x1","timestamp":"yesterday","event_type":"search"}\n',
    b'{"event_id":"x2","timestamp":"2026-03-02T00:00:00Z","request_id":"r","user_id":"u","event_type":"search","query":""}\n',
    b'{"event_id":"x3\xff"}\n',
    b"not json\n",
]


def _with_bad_rows(folder: Path, **settings: Any) -> IngestConfig:
    config = write_shop(folder, SHOP, **settings)
    with (folder / "events-0.jsonl").open("ab") as stream:
        stream.writelines(BAD)
    return config


def _dead_letters(folder: Path) -> list[dict[str, Any]]:
    lines = [line for path in sorted((folder / "dead_letters").iterdir()) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def test_unusable_rows_go_to_dead_letters_with_file_and_reason(tmp_path, expected) -> None:
    summary = run_ingest(_with_bad_rows(tmp_path / "in", max_bad_fraction=0.05), str(tmp_path / "out"))
    letters = [x for x in _dead_letters(tmp_path / "out") if x["reason"] != "unknown_item"]
    assert {x["reason"]: x["row"] for x in letters} == {
        "bad_timestamp": _souk_row(event_id="x1", timestamp="yesterday", event_type="search"),
        "empty_query": _souk_row(
            event_id="x2",
            timestamp="2026-03-02T00:00:00Z",
            request_id="r",
            user_id="u",
            event_type="search",
            query="",
        ),
        "not_utf8": '{"event_id":"x3\\xff"}',
        "not_json": "not json",
    }
    assert {x["file"] for x in letters} == {str(tmp_path / "in" / "events-0.jsonl")}
    assert all(x["explanation"] for x in letters)
    assert summary.counters["events.read"] == len(SHOP.log) + len(BAD)
    assert written.in_order(tmp_path / "out", "train") == expected["train"]


def _souk_row(**values: str) -> dict[str, str | None]:
    names = ("event_id", "timestamp", "request_id", "user_id", "event_type", "query", "item_id", "position")
    return {name: values.get(name) for name in names}


def test_too_many_bad_rows_fail_with_3_examples_and_no_output(tmp_path) -> None:
    config = _with_bad_rows(tmp_path / "in", max_bad_fraction=0.001)
    with pytest.raises(InputError) as caught:
        run_ingest(config, str(tmp_path / "out"))
    message = str(caught.value)
    assert f"4 of {len(SHOP.log) + 4} rows of `events`" in message
    assert message.count("events-0.jsonl: ") == 3
    assert "max_bad_fraction" in message
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_log_of_another_catalog_fails_the_run(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP)
    write_jsonl(tmp_path / "in" / "catalog.jsonl", [row | {"item_id": f"x{row['item_id']}"} for row in SHOP.catalog])
    with pytest.raises(InputError, match=r"unknown_item: the item is not in the catalog[\s\S]*max_unmatched_fraction"):
        run_ingest(config, str(tmp_path / "out"))


def test_a_repeated_item_id_is_told_of_and_one_row_is_kept(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP)
    write_jsonl(tmp_path / "in" / "catalog.jsonl", [*SHOP.catalog, SHOP.catalog[4] | {"title": "A again"}])
    summary = run_ingest(config, str(tmp_path / "out"))
    assert summary.counters["catalog.dropped.duplicate_item"] == 1
    titles = [row["title"] for row in written.rows(tmp_path / "out", "catalog") if row["item_id"] == "i4"]
    assert titles == ["A again"]
    (letter,) = [x for x in _dead_letters(tmp_path / "out") if x["reason"] == "duplicate_item"]
    assert letter["row"]["title"] == "Thing 4"


def test_an_item_of_negative_price_is_a_dead_letter_and_unknown(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP, max_bad_fraction=0.1)
    rows = [row | ({"price": -1} if row["item_id"] == "i5" else {}) for row in SHOP.catalog]
    write_jsonl(tmp_path / "in" / "catalog.jsonl", rows)
    summary = run_ingest(config, str(tmp_path / "out"))
    assert summary.counters["catalog.dropped.negative_price"] == 1
    assert not any("i5" in row["items"] for row in written.rows(tmp_path / "out", "train"))


def test_a_very_long_query_is_cut_and_counted(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP)
    rows = souk_rows(SHOP.log)
    rows[0]["query"] = "x" * 10_000
    write_jsonl(tmp_path / "in" / "events-0.jsonl", rows[::2])
    summary = run_ingest(config, str(tmp_path / "out"))
    assert summary.counters["events.queries_cut"] == 1
    assert "x" * 512 in {row["query"] for row in written.rows(tmp_path / "out", "train")}


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_missing_column_is_told_with_those_found_and_expected(tmp_path, form: str) -> None:
    log = make_shop(5)
    config = write_shop(tmp_path, log, form)
    from tests.components.example_gen import small_shop

    rows = [{k: v for k, v in row.items() if k != "query"} for row in souk_rows(log.log)]
    for path in tmp_path.glob("events-*"):
        getattr(small_shop, f"write_{form}")(path, rows)
    with pytest.raises(InputError, match=r"events-0.*has no column query\. Found: .*event_type.*Expected: event_id"):
        run_ingest(config, str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"action_name": "click", "timestamp": 1}\n', "They look like those of UBI.*events_format: ubi"),
        ("\x1e{}\nevent\n", "Found: none.*No line of its beginning is a JSON object"),
    ],
)
def test_what_is_no_log_of_souk_is_told(tmp_path, text: str, message: str) -> None:
    (tmp_path / "events.jsonl").write_text(text)
    (tmp_path / "catalog.csv").write_text("item_id,title\n1,shoe\n")
    data = {"events": f"{tmp_path}/events.jsonl", "catalog": f"{tmp_path}/catalog.csv"}
    with pytest.raises(InputError, match=message):
        job.plan_job(IngestConfig.parse({"data": data}), "out", "work")


def test_many_rows_of_one_kind_at_the_start_hide_no_column(tmp_path, expected) -> None:
    """As a dump sorted by type does, with what is null left out."""
    config = write_shop(tmp_path / "in", SHOP)
    rows = sorted(souk_rows(SHOP.log), key=lambda row: row["event_type"], reverse=True)
    searches = [{k: v for k, v in row.items() if v is not None} for row in rows]
    padding = [searches[0] | {"comment": "x" * 5000}] * 40
    write_jsonl(tmp_path / "in" / "events-0.jsonl", [*padding, *searches])
    write_jsonl(tmp_path / "in" / "events-1.jsonl", padding)
    assert "item_id" not in searches[0]
    run_ingest(config, str(tmp_path / "out"))
    assert written.in_order(tmp_path / "out", "train") == expected["train"]


def test_a_log_without_a_usable_row_is_an_error(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP, max_bad_fraction=1.0)
    for path in (tmp_path / "in").glob("events-*"):
        write_jsonl(path, [row | {"timestamp": "never"} for row in souk_rows(SHOP.log)])
    with pytest.raises(InputError, match="no usable row"):
        run_ingest(config, str(tmp_path / "out"))


def test_a_truncated_file_is_an_error_on_its_way_through_beam(tmp_path, monkeypatch) -> None:
    # So that looking for its columns does not find out already.
    monkeypatch.setattr(job, "HEAD_BYTES", 2000)
    config = write_shop(tmp_path / "in", SHOP, "jsonl.gz")
    path = tmp_path / "in" / "events-0.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"events-0\.jsonl\.gz cannot be read to its end"):
        run_ingest(config, str(tmp_path / "out"))


def test_a_failing_run_leaves_the_earlier_output_as_it_was(tmp_path, monkeypatch) -> None:
    small = make_shop(30)
    config = write_shop(tmp_path / "in", small)
    run_ingest(config, str(tmp_path / "out"))
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ingest, "merge_user_states", killed)
    with pytest.raises(KeyboardInterrupt):
        run_ingest(config, str(tmp_path / "out"))
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    monkeypatch.undo()
    later = run_ingest(config.model_copy(update={"eval_start": "2026-04-10T00:00:00Z"}), str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == json.loads(later.to_json())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_the_next_run_removes_what_a_killed_one_left(tmp_path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in (f"out.tmp-{gone.pid}", f"out.tmp-{gone.pid}-old", f"out.tmp-{os.getppid()}", "out.tmp-mine"):
        (tmp_path / name).mkdir()
    run_ingest(write_shop(tmp_path / "in", make_shop(30)), str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", f"out.tmp-{os.getppid()}", "out.tmp-mine"]


def test_a_split_without_a_row_is_an_error(tmp_path) -> None:
    config = write_shop(tmp_path / "in", SHOP, train_start="2026-04-17T23:59:59Z")
    with pytest.raises(InputError, match="the split `train` would be empty"):
        run_ingest(config, str(tmp_path / "out"))


def test_a_folder_that_no_ingestion_wrote_is_not_touched(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds files that no ingestion wrote"):
        run_ingest(write_shop(tmp_path / "in", SHOP), str(tmp_path / "out"))
    with pytest.raises(InputError, match="is a file"):
        run_ingest(write_shop(tmp_path / "in", SHOP), str(tmp_path / "out" / "thesis.tex"))
