import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from tests.components.example_gen.small_shop import make_shop, write_shop

CASES = Path(__file__).parents[3] / ".." / "shared" / "cases"
FILES = "{data: {events: gone.jsonl, catalog: gone.csv}}"
FAR = "{runner: flink, job_endpoint: 'flink.example:8099', worker: {type: process, command: /souk}}"


@pytest.fixture
def section(tmp_path):
    """A file with the section `ingest` alone, its input paths relative to it."""
    config = json.loads(write_shop(tmp_path / "in", make_shop(40)).to_json())
    for name in ("events", "catalog", "users"):
        config["data"][name] = [path.removeprefix(f"{tmp_path}/") for path in config["data"][name]]
    path = tmp_path / "souk.yaml"
    path.write_text(yaml.safe_dump({"ingest": config}))
    return path


def _run(*args: object):
    return CliRunner().invoke(main, ["ingest", *map(str, args)])


def test_json_goes_to_standard_output_alone(section) -> None:
    result = _run("--config", section, "--out", section.parent / "out", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["counters"]["examples.catalog"] == 30
    assert (section.parent / "out" / "Split-train").is_dir()


def test_a_person_gets_a_table_with_the_reasons(section) -> None:
    result = _run("--config", section, "--out", section.parent / "out")
    assert result.exit_code == 0, result.output
    assert "events.dropped.unknown_item" in result.stdout
    assert "2026-04-18T00:00:00Z" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ingest: {data: {events: gone.jsonl, catalog: gone.csv}}", "no file matches"),
        ("ingest: {data: {catalog: c.csv}, evil_days: 3}", "did you mean `eval_days`"),
        ("ingest: [", "is not YAML"),
        (f"ingest: {FILES}\nbeam: {{runner: flink}}", "either `job_endpoint` or `master` must say where it is"),
        (f"ingest: {FILES}\nbeam: {FAR}", "out, a path on this machine, and `beam.runner` is flink"),
    ],
)
def test_bad_input_is_one_message_and_code_2(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "souk.yaml"
    path.write_text(text)
    result = _run("--config", path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_no_tensorflow_tfx_or_ml_metadata_is_imported(section) -> None:
    program = (
        "import sys; from pipeline.cli import main\n"
        f"main(['ingest', '--config', {str(section)!r}, '--out', {str(section.parent / 'out')!r}, '--json'], "
        "standalone_mode=False)\n"
        "heavy = {'tensorflow', 'tfx', 'ml_metadata'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def _run_case(name: str, out: Path, *more: str):
    if not (CASES / name).is_dir():
        pytest.skip(f"the case is not at ../shared/cases/{name}")
    result = _run("--config", CASES / name / "shop.yaml", "--out", out, *more)
    assert result.exit_code == 0, result.output
    return result


def _counters(name: str, out: Path) -> dict[str, int]:
    return json.loads(_run_case(name, out, "--json").stdout)["counters"]


def _dropped(counters: dict[str, int]) -> list[str]:
    return [name for name in counters if name.startswith("events.dropped.")]


def test_browse_pages_in_ubi_are_counted_and_fail_nothing(tmp_path) -> None:
    counters = _counters("ubi_null_user_query", tmp_path / "out")
    assert (counters["events.read"], counters["events.searches_without_text"]) == (445, 5)
    assert (counters["examples.train"] + counters["examples.eval"], _dropped(counters)) == (60, [])


def test_ubi_search_events_have_their_text_in_the_message(tmp_path) -> None:
    counters = _counters("ubi_on_search_message", tmp_path / "out")
    assert counters["events.read"] == 495
    assert (counters["examples.train"] + counters["examples.eval"], _dropped(counters)) == (60, [])


def test_ubi_query_response_object_ids_are_impressions(tmp_path) -> None:
    counters = _counters("ubi_query_response_object_ids", tmp_path / "out")
    assert counters["events.read"] == 435
    assert _dropped(counters) == []


def test_the_screen_names_ubi_actions_and_the_setting(tmp_path) -> None:
    lines = _run_case("ubi_ignored_actions_unnamed", tmp_path / "out").stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("UBI actions read: "))
    assert "item_click 60 as click, product_purchase 15 as order;" in line
    assert "`ingest.data.ubi_actions`" in line


def test_ids_that_restart_are_refused_with_the_cause(tmp_path) -> None:
    name = "duplicate_event_ids"
    if not (CASES / name).is_dir():
        pytest.skip(f"the case is not at ../shared/cases/{name}")
    result = _run("--config", CASES / name / "shop.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 4
    assert "217 of 435 events (49.9%) have the event_id of another event" in result.stderr
    assert "Do ids restart in every file or day, or have all items of a page one id? Ids meet in: " in result.stderr


def test_the_screen_warns_of_profiles_that_match_nobody(tmp_path) -> None:
    lines = _run_case("users_match_nobody", tmp_path / "out").stdout.splitlines()
    assert any("users.profiles_without_events" in line and " 6 " in line for line in lines)
    (note,) = (line for line in lines if line.startswith("No user of the log has a profile: "))
    assert "'xu0'" in note
    assert "`ingest.data.columns.users`" in note


def test_a_log_without_a_click_is_ingested_with_a_note(tmp_path) -> None:
    result = _run_case("no_clicks_found_late", tmp_path / "out", "--json")
    summary = json.loads(result.stdout)
    assert "examples.train.with_click" not in summary["counters"]
    (note,) = summary["notes"]
    assert note.startswith("No search of the splits `train` and `eval` led to a click, a cart or an order")


@pytest.fixture
def unknown_actions(tmp_path):
    """A configuration of UBI dumps, some of whose actions are none of Souk's."""
    shop = make_shop(40)
    config = json.loads(write_shop(tmp_path / "in", shop, "ubi").to_json())
    with (tmp_path / "in" / "events-0.jsonl").open("a", encoding="utf-8") as stream:
        for name in ["hover"] * 60 + ["[bold]"] * 15 + ["hover over the product"] * 14:
            stream.write(
                json.dumps({"action_name": name, "client_id": "u1", "timestamp": "2026-04-01T00:00:00Z"}) + "\n"
            )
    path = tmp_path / "souk.yaml"
    path.write_text(yaml.safe_dump({"ingest": config}))
    return path


def test_the_screen_names_ignored_ubi_actions(unknown_actions) -> None:
    result = _run("--config", unknown_actions, "--out", unknown_actions.parent / "out")
    assert result.exit_code == 0, result.output
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("UBI actions ignored: "))
    assert line.startswith("UBI actions ignored: hover 60, [bold] 15, hover over the product 14. ")
    assert "`ingest.data.ubi_actions`" in line


def test_json_names_ignored_ubi_actions(unknown_actions) -> None:
    result = _run("--config", unknown_actions, "--out", unknown_actions.parent / "out", "--json")
    summary = json.loads(result.stdout)
    assert summary["ubi_actions"]["hover"] == {"count": 60, "read_as": None}
    assert summary["ubi_actions"]["click"]["read_as"] == "click"
    assert summary["counters"]["events.ignored_actions"] == 89


def test_the_screen_says_what_was_dropped_over_the_cap(tmp_path) -> None:
    config = json.loads(write_shop(tmp_path / "in", make_shop(), max_user_events=40).to_json())
    (tmp_path / "souk.yaml").write_text(yaml.safe_dump({"ingest": config}))
    result = _run("--config", tmp_path / "souk.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    counters = json.loads((tmp_path / "out" / "summary.json").read_text())["counters"]
    kinds = ("users", "requests", "interactions")
    users, searches, others = (counters[f"events.{kind}_over_max_user_events"] for kind in kinds)
    assert (
        f"Users with more events than `ingest.max_user_events`: {users}. Of these users the oldest {searches} searches "
        f"and {others} clicks, carts and orders were dropped."
    ) in result.stdout


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("csv_utf16", 2, "is UTF-16 by its first bytes"),
        ("pq_events_item_id_list", 2, "holds lists"),
        ("ts_microseconds_hint", 4, "435 timestamp_in_microseconds: timestamp is epoch microseconds by its size"),
    ],
)
def test_a_case_that_cannot_be_read_is_a_sentence_and_a_code(tmp_path, name: str, code: int, message: str) -> None:
    if not (CASES / name).is_dir():
        pytest.skip(f"the case is not at ../shared/cases/{name}")
    result = _run("--config", CASES / name / "shop.yaml", "--out", tmp_path / "out")
    assert (result.exit_code, message in result.stderr) == (code, True), result.output
    assert "Traceback" not in result.output


def test_float_user_ids_have_their_profiles(tmp_path) -> None:
    from tests.components.example_gen import written

    _run_case("csv_float_user_ids", tmp_path / "out")
    rows = [row for split in ("train", "eval") for row in written.rows(tmp_path / "out", split)]
    assert all(("profile_gender" in row) == (row["user_id"] is not None) for row in rows)
    assert any("profile_gender" in row for row in rows)
