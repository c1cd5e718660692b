"""The preset `tiny`, from simulated logs to a pushed version, by the commands that a user types."""

import hashlib
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from components.schema_gate.config import DEFAULT_SCHEMA
from pipeline.config import PipelineConfig, load
from pipeline.runs import metadata
from pipeline.runs.history import summary_path
from pipeline.runs.outcome import RunOutcome
from pipeline.runs.tables import pushed_versions
from tests.conftest import souk_here


@pytest.fixture(scope="module")
def first_run(tiny_shop) -> metadata.Run:
    config = load(tiny_shop.config)
    return metadata.read_runs(config.metadata_path, config.name)[0]


def test_the_run_is_blessed_and_pushed(tiny_shop):
    outcome = tiny_shop.outcome
    assert outcome["blessed"] is True
    assert outcome["canary_passed"] is True
    assert outcome["note"] == f"pushed to {outcome['pushed_to']}"
    version = Path(outcome["pushed_to"])
    assert version == tiny_shop.root / "serving" / "souk" / outcome["pushed_version"]
    assert {"saved_model.pb", "variables", "assets.extra"} <= {path.name for path in version.iterdir()}
    assert (version / "assets.extra" / "tf_serving_warmup_requests").stat().st_size > 0
    assert [path.name for path in version.parent.iterdir()] == [outcome["pushed_version"]]


def test_every_step_left_the_artifact_that_tfx_knows(first_run):
    found = {
        (step.name, key): artifact.type_name
        for step in first_run.steps
        for key, artifacts in step.outputs.items()
        for artifact in artifacts
    }
    assert found == {
        ("SoukExampleGen", "examples"): "Examples",
        ("StatisticsGen", "statistics"): "ExampleStatistics",
        ("SchemaGate", "schema"): "Schema",
        ("SchemaGate", "anomalies"): "ExampleAnomalies",
        ("Transform", "transform_graph"): "TransformGraph",
        ("Transform", "transformed_examples"): "Examples",
        ("Trainer", "model"): "Model",
        ("Trainer", "model_run"): "ModelRun",
        ("IndexBuilder", "servable"): "Model",
        ("RecallGate", "blessing"): "ModelBlessing",
        ("RecallGate", "evaluation"): "ModelEvaluation",
        ("Canary", "blessing"): "InfraBlessing",
        ("Pusher", "pushed_model"): "PushedModel",
    }


def test_the_model_beats_popularity_on_the_same_requests(tiny_shop):
    from evaluation.results import BM25, CANDIDATE, POPULARITY, Evaluation

    written = next((tiny_shop.root / "artifacts" / "RecallGate" / "evaluation").glob("*/evaluation.json"))
    evaluation = Evaluation.from_json(written.read_text())
    recall = {system.key: system.metrics["recall@100"].value for system in evaluation.systems}
    assert recall[CANDIDATE] > recall[POPULARITY]
    assert recall[CANDIDATE] == pytest.approx(tiny_shop.outcome["metrics"]["recall@100"])
    assert BM25 in recall


def test_the_report_loads_nothing_and_has_what_the_run_added(tiny_shop):
    page = Path(tiny_shop.outcome["report"]).read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert tiny_shop.outcome["pushed_version"] in page
    assert "simulated logs" in page
    assert "catalog.read" in page or "catalog read" in page.lower()


def test_the_summary_tells_the_runs_inputs_and_outcome(tiny_shop, first_run):
    written = Path(tiny_shop.outcome["summary"])
    assert written == tiny_shop.root / "summaries" / "run-1.json"
    summary = RunOutcome.from_json(written.read_text())
    assert (summary.result, summary.exit_code, summary.note) == ("pushed", 0, tiny_shop.outcome["note"])
    assert summary.push.version == tiny_shop.outcome["pushed_version"]
    assert summary.push.by_this_run
    candidate = {name: estimate.value for name, estimate in summary.gate.metrics["candidate"].items()}
    assert candidate == pytest.approx(tiny_shop.outcome["metrics"])
    assert {check.status for check in summary.gate.checks} <= {"passed", "skipped"}
    assert summary.gate.baseline is None
    events = summary.data.inputs["events"]
    properties = first_run.output("SoukExampleGen", "examples").properties
    assert events.read == properties["events.read"]
    assert {f"events.dropped.{reason}": n for reason, n in events.rejected.items()}.items() <= properties.items()
    assert Path(summary.data.dead_letters).is_dir()
    assert summary.data.window.eval_start < summary.data.window.end
    assert summary.schema.sha256 == hashlib.sha256(Path(DEFAULT_SCHEMA).read_bytes()).hexdigest()
    assert (summary.model.type, summary.model.run, summary.index.kind) == (tiny_shop.outcome["model"], 1, "exact")
    assert summary.index.measured.value == pytest.approx(1.0, abs=0.05)
    assert summary.canary.passed
    assert {step.name: step.seconds > 0 for step in summary.steps}["Trainer"]
    assert all(Path(path).exists() for path in vars(summary.files).values())
    # The command says the same of it, at any later time.
    told = souk_here("status", "--config", tiny_shop.config, "--run", "1", "--json").stdout
    assert RunOutcome.from_json(told) == summary


def test_one_run_is_shown_on_one_page(tiny_shop):
    shown = souk_here("status", "--config", tiny_shop.config, "--run", "1").stdout
    for text in ("exit code 0", tiny_shop.outcome["pushed_version"], "Thresholds", "rejected", "RecallGate"):
        assert text in shown
    refused = souk_here("status", "--config", tiny_shop.config, "--run", "99", expect=2)
    assert "there is no run 99" in refused.stderr


def test_a_second_run_is_wholly_cached_and_pushes_nothing(tiny_shop):
    again = json.loads(souk_here("run", "--config", tiny_shop.config, "--json").stdout)
    assert again["state"] == "cached"
    assert again["pushed_version"] == tiny_shop.outcome["pushed_version"]
    status = json.loads(souk_here("status", "--config", tiny_shop.config, "--json").stdout)
    states = {step["name"]: step["state"] for step in status["runs"][-1]["steps"]}
    lookups = {"LastGoodStatistics", "LastBlessedModel"}
    assert {state for name, state in states.items() if name not in lookups} == {"cached"}
    assert {states[name] for name in lookups} == {"done"}
    assert status["versions"] == [tiny_shop.outcome["pushed_version"]]
    assert [run["exit_code"] for run in status["runs"]] == [0, 0]
    summary = RunOutcome.from_json(Path(again["summary"]).read_text())
    assert (summary.result, summary.exit_code, summary.push.by_this_run) == ("pushed", 0, False)
    assert {step.from_run for step in summary.steps if step.name not in lookups} == {1}


def test_a_copied_folder_comes_from_cache_and_names_itself(tiny_shop, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_shop.folder, copy, symlinks=True)
    ended = souk_here("run", "--config", str(copy / "souk.yaml"), "--json")
    assert f"{copy / 'run'} was {tiny_shop.root} in earlier runs" in ended.stderr
    again = json.loads(ended.stdout)
    assert (again["state"], again["pushed_version"]) == ("cached", tiny_shop.outcome["pushed_version"])
    assert Path(again["pushed_to"]).is_relative_to(copy)
    with closing(sqlite3.connect(copy / "run" / "metadata.sqlite")) as store:
        assert str(tiny_shop.root) not in "\n".join(store.iterdump())


def test_status_shows_the_run_its_steps_and_the_version(tiny_shop):
    shown = souk_here("status", "--config", tiny_shop.config).stdout
    assert tiny_shop.outcome["pushed_version"] in shown
    for step in ("SoukExampleGen", "Transform", "Trainer", "IndexBuilder", "RecallGate", "Canary", "Pusher"):
        assert step in shown
    assert f"{tiny_shop.outcome['metrics']['recall@100']:.3f}" in shown


def test_report_writes_any_runs_page_and_refuses_a_missing_run(tiny_shop, tmp_path):
    out = tmp_path / "page.html"
    printed = souk_here("report", "--config", tiny_shop.config, "--run", "1", "--out", str(out)).stdout
    assert printed.strip() == str(out)
    assert out.read_text() == Path(tiny_shop.outcome["report"]).read_text()
    refused = souk_here("report", "--config", tiny_shop.config, "--run", "99", expect=2)
    assert "there is no run 99" in refused.stderr


@pytest.mark.slow
def test_a_killed_training_leaves_no_version_and_is_resumed(tiny_shop, tmp_path):
    copy = continued(tiny_shop, tmp_path)
    config = load(copy)
    # Another type of model than the blessed one: the gate compares servables, whatever is in them.
    changes = ("train.model=two_tower", "train.heads=1", "train.epochs=3", "train.checkpoint_steps=5")
    warm = ("train.warm_start=true",)
    lenient = ("gate.min_recall=0.0", "gate.max_relative_drop=1.0", "gate.must_beat=[]")
    arguments = [
        "run",
        "--config",
        copy,
        "--json",
        *(a for change in changes + warm + lenient for a in ("--set", change)),
    ]
    with subprocess.Popen([sys.executable, "-m", "pipeline.cli", *arguments], stderr=subprocess.DEVNULL) as running:
        while not list(tmp_path.glob("run/artifacts/Trainer/unfinished/*/chief/checkpoint")):
            assert running.poll() is None, "the run ended before its training saved anything"
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
    killed = metadata.read_runs(config.metadata_path, config.name)[-1]
    assert states_of(killed)["Trainer"] == "running"
    assert pushed_versions(config.push_directory) == []

    outcome = json.loads(souk_here(*arguments).stdout)
    killed, finished = metadata.read_runs(config.metadata_path, config.name)[-2:]
    assert killed.state == "cancelled"
    of_killed, of_finished = (summary_of(config, run) for run in (killed, finished))
    assert (of_killed.result, of_killed.exit_code) == ("interrupted", 130)
    baseline, started_from = of_finished.gate.baseline, of_finished.model.started_from
    assert (baseline.run, baseline.pushed_version) == (1, tiny_shop.outcome["pushed_version"])
    assert started_from.run == 1
    assert states_of(finished)["Transform"] == "cached"
    assert states_of(finished)["Trainer"] == "done"
    log = Path(outcome["log"]).read_text()
    assert "warm start from dpsr: " in log
    assert "going on where an earlier run stopped: epoch" in log
    assert not (tmp_path / "run" / "artifacts" / "Trainer" / "unfinished").exists()
    assert pushed_versions(config.push_directory) == [outcome["pushed_version"]]
    assert (tiny_shop.outcome["model"], outcome["model"]) == ("dpsr", "two_tower")
    assert "against the blessed servable" in " ".join(outcome["reasons"])

    # The new servable was gated against the one that the first run had blessed.
    first = metadata.read_runs(config.metadata_path, config.name)[0]
    candidate, blessed = finished.output("IndexBuilder", "servable"), first.output("IndexBuilder", "servable")
    properties = finished.output("RecallGate", "blessing").properties
    assert candidate.id != blessed.id
    assert (properties["current_model_id"], properties["baseline_model_id"]) == (candidate.id, blessed.id)


def test_a_refused_model_is_not_pushed_with_code_and_reason(tiny_shop, tmp_path):
    copy = continued(tiny_shop, tmp_path)
    config = load(copy)
    arguments = ["run", "--config", copy, "--set", "gate.min_recall=1.0", "--json"]
    outcome = json.loads(souk_here(*arguments, expect=3).stdout)
    assert outcome["blessed"] is False
    assert outcome["pushed_version"] == ""
    assert outcome["note"].startswith("refused by the recall gate: ")
    assert "recall@100" in " ".join(outcome["reasons"])
    assert pushed_versions(config.push_directory) == []
    assert outcome["note"] in Path(outcome["report"]).read_text()
    assert "refused" in souk_here("status", "--config", copy).stdout
    summary = RunOutcome.from_json(Path(outcome["summary"]).read_text())
    assert (summary.result, summary.exit_code, summary.gate.reasons) == ("refused", 3, tuple(outcome["reasons"]))
    assert "failed" in {check.status for check in summary.gate.checks}


def test_why_the_canary_refused_is_told_wherever_one_looks(tiny_shop, tmp_path):
    copy = continued(tiny_shop, tmp_path)
    config = load(copy)
    strict = ("canary.p99_limit_ms=0.001", "canary.attempts=1", "canary.requests=4")
    run = ["run", "--config", copy, *(a for change in strict for a in ("--set", change))]
    screen = souk_here(*run, expect=3).stdout
    found = metadata.read_runs(config.metadata_path, config.name)[-1]
    assert {name for name, state in states_of(found).items() if state == "done"} >= {"Canary", "Pusher"}
    assert (states_of(found)["Trainer"], states_of(found)["RecallGate"]) == ("cached", "cached")
    summary = summary_of(config, found)
    (failure,) = summary.canary.failures
    assert failure.startswith("the 99th percentile of the latency is too high (")
    assert "allowed 0.001 ms" in failure or "0.001 ms times" in failure
    assert summary.note == f"refused by the canary: {failure}"
    assert (summary.gate.blessed, summary.result, summary.exit_code) == (True, "refused", 3)
    status = ("status", "--config", copy)
    page = (*status, "--run", str(found.number))
    listed = json.loads(souk_here(*status, "--json").stdout)["runs"][-1]
    assert (listed["canary_failures"], listed["exit_code"]) == ([failure], 3)
    assert json.loads(souk_here(*page, "--json").stdout)["canary"]["failures"] == [failure]
    # Where a line ends depends on the width of the screen.
    for shown in (screen, souk_here(*status).stdout, souk_here(*page).stdout):
        assert "".join(failure.split()) in "".join(shown.split())
    # The same once more is all from cache, and is refused for the same reason.
    again = json.loads(souk_here(*run, "--json", expect=3).stdout)
    assert (again["state"], again["canary_failures"], again["pushed_version"]) == ("cached", [failure], "")
    assert pushed_versions(config.push_directory) == []


def test_data_unlike_the_schema_stops_the_run_before_training(tiny_shop, tmp_path):
    copy = continued(tiny_shop, tmp_path)
    schema = Path(DEFAULT_SCHEMA).read_text()
    strict = tmp_path / "strict.pbtxt"
    strict.write_text(schema.replace('name: "profile_gender"', 'name: "profile_sex"'))
    stopped = souk_here("run", "--config", copy, "--set", f"schema_gate.schema_path={strict}", expect=4)
    assert "Error: the data does not fit the schema" in stopped.stderr
    assert "profile_gender" in stopped.stderr
    config = load(copy)
    run = metadata.read_runs(config.metadata_path, config.name)[-1]
    assert states_of(run)["SchemaGate"] == "failed"
    assert run.step("Transform") is None
    summary = summary_of(config, run)
    assert (summary.result, summary.exit_code, summary.schema.passed) == ("failed", 4, False)
    assert "profile_gender" in {anomaly.feature for anomaly in summary.schema.anomalies}
    assert summary.schema.sha256 == hashlib.sha256(strict.read_bytes()).hexdigest()
    assert summary.data.examples["train"] > 0
    report = souk_here("report", "--config", copy, expect=2)
    assert "has no evaluation to report on (SchemaGate failed" in report.stderr
    assert "SchemaGate failed" in souk_here("status", "--config", copy).stdout


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=1", "`train.epoch` is not a known key; did you mean `epochs`?"),
        ("index.k=0", "`index.k`: Input should be greater than or equal to 1"),
        ("ingest.data.events=nowhere/*.jsonl", "nowhere"),
        ("schema_gate.schema_path=no.pbtxt", "no.pbtxt cannot be read"),
    ],
)
def test_bad_settings_end_with_a_message_and_code_2(tiny_shop, tmp_path, override, message):
    copy = continued(tiny_shop, tmp_path)
    assert message in souk_here("run", "--config", copy, "--set", override, expect=2).stderr


def summary_of(config: PipelineConfig, run: metadata.Run) -> RunOutcome:
    return RunOutcome.from_json(summary_path(config.root, run.number).read_text())


def states_of(run: metadata.Run) -> dict[str, str]:
    return {step.name: step.state for step in run.steps}


def continued(tiny_shop, folder: Path, pushed: bool = False) -> str:
    """A configuration whose runs go on in `folder` from where the shop's run ended, with or without what it pushed."""
    settings = yaml.safe_load(Path(tiny_shop.config).read_text())
    data = settings["ingest"]["data"]
    for key in ("events", "catalog", "users"):
        data[key] = str(tiny_shop.folder / data[key])
    shutil.copytree(tiny_shop.root, folder / "run", ignore=shutil.ignore_patterns(*[] if pushed else ["serving"]))
    (folder / "souk.yaml").write_text(yaml.safe_dump(settings))
    return str(folder / "souk.yaml")
