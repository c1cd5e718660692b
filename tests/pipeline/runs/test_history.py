"""What came of runs that ML Metadata describes; `test_end_to_end.py` has real runs."""

import dataclasses
import hashlib
import io
from typing import get_args

import pytest
from rich.console import Console

from components.canary.result import CanaryResult, Latency
from pipeline.exit_codes import ExitCode
from pipeline.progress import STYLES, State
from pipeline.runs import page as run_page
from pipeline.runs import tables
from pipeline.runs.history import RunHistory, outcome_of, summary_path, write, write_summaries
from pipeline.runs.metadata import Artifact, Run, StepRun
from pipeline.runs.outcome import Result, RunOutcome, Source, StepOutcome
from schema.artifacts import CANARY_FILE
from schema.settings import InputError

SECOND = 1000


def step(name: str, state: str = "done", **more) -> StepRun:
    number = more.pop("number", 1)
    outputs = {key: (artifact,) for key, artifact in more.pop("outputs", {}).items()}
    return StepRun(name, number, state, SECOND, 3 * SECOND, more.pop("failure", ""), outputs=outputs, **more)


def artifact(number: int, kind: str = "Model", **properties) -> Artifact:
    return Artifact(number, kind, f"/nowhere/{kind}/{number}", properties)


def run(number: int, *steps: StepRun) -> Run:
    return Run(number, f"id-{number}", steps, log_path="/nowhere/run.log")


def history(root, *runs: Run) -> RunHistory:
    return RunHistory(runs, "shop", str(root), str(root / "artifacts"), str(root / "metadata.sqlite"))


def pushed(number: int, version: int) -> Artifact:
    return artifact(number, "PushedModel", pushed=1, pushed_version=str(version), pushed_destination=f"/v/{version}")


def blessing(number: int, blessed: int, why: str = "recall@10 is 0.1.") -> Artifact:
    return artifact(number, "ModelBlessing", blessed=blessed, blessing_message=why)


REFUSED = artifact(9, "PushedModel", pushed=0)


@pytest.mark.parametrize(
    ("steps", "result", "code"),
    [
        ([step("Pusher", outputs={"pushed_model": pushed(1, 7)})], "pushed", ExitCode.DONE),
        ([step("Pusher", "cached", outputs={"pushed_model": pushed(1, 7)})], "pushed", ExitCode.DONE),
        ([step("Pusher", outputs={"pushed_model": REFUSED})], "refused", ExitCode.REFUSED),
        ([step("Pusher", "cached", outputs={"pushed_model": REFUSED})], "refused", ExitCode.REFUSED),
        ([step("Trainer", "failed", failure="fell over")], "failed", ExitCode.FAILED),
        ([step("SoukExampleGen", "failed", failure_code=2)], "failed", ExitCode.BAD_INPUT),
        ([step("SoukExampleGen"), step("SchemaGate", "failed", failure_code=4)], "failed", ExitCode.BAD_DATA),
        ([step("Trainer", "cancelled")], "interrupted", ExitCode.INTERRUPTED),
        ([step("Trainer", "running")], "interrupted", ExitCode.INTERRUPTED),
        ([step("Transform")], "done", ExitCode.DONE),
    ],
)
def test_a_run_that_is_over_has_a_result_and_an_exit_code(tmp_path, steps, result, code):
    over = run(1, *steps)
    summary = outcome_of(over, history(tmp_path, over), is_over=True)
    assert (summary.result, summary.exit_code) == (result, code)
    assert RunOutcome.from_json(summary.to_json()) == summary
    assert "running" not in summary.to_json()


def test_a_run_at_work_is_running_and_has_not_ended(tmp_path):
    at_work = run(1, step("SoukExampleGen"), step("Trainer", "running"))
    summary = outcome_of(at_work, history(tmp_path, at_work))
    assert (summary.result, summary.ended, summary.steps[1].state) == ("running", "", "running")


def test_cached_output_names_the_run_that_made_and_pushed_it(tmp_path):
    model, version = artifact(1), pushed(2, 7)
    first = run(1, step("Trainer", outputs={"model": model}))
    second = run(
        2, step("Trainer", "cached", outputs={"model": model}), step("Pusher", outputs={"pushed_model": version})
    )
    third = run(
        3,
        step("Trainer", "cached", outputs={"model": model}),
        step("Pusher", "cached", outputs={"pushed_model": version}),
    )
    known = history(tmp_path, first, second, third)
    summaries = [outcome_of(each, known) for each in (first, second, third)]
    assert [[s.from_run for s in summary.steps] for summary in summaries] == [[None], [1, None], [1, 2]]
    assert [summary.push and summary.push.by_this_run for summary in summaries] == [None, True, False]


def test_the_baseline_names_its_run_and_its_pushed_version(tmp_path):
    servable = artifact(1)
    made = step("IndexBuilder", outputs={"servable": servable})
    first = run(1, made, step("Pusher", outputs={"pushed_model": pushed(2, 7)}))
    # A node that only finds the model is not what made it.
    lookup = step("LastBlessedModel", outputs={"model": servable}, is_lookup=True)
    gate = step("RecallGate", outputs={"blessing": blessing(3, 0)}, inputs={"baseline_servable": (servable,)}, number=8)
    second = run(2, lookup, gate, step("Pusher", outputs={"pushed_model": REFUSED}))
    found = outcome_of(second, history(tmp_path, first, second)).gate
    assert found.baseline == Source(servable.uri, 1, "7")
    assert (found.blessed, found.reasons) == (False, ("recall@10 is 0.1.",))


def test_a_model_with_a_new_index_names_the_run_that_trained_it(tmp_path):
    card = tmp_path / "Format-Serving" / "assets.extra" / "souk.json"
    card.parent.mkdir(parents=True)
    card.write_text('{"model": "dpsr", "history": {"loss": [2.0, 1.0]}}')
    trained = artifact(1)
    first = run(1, step("Trainer", outputs={"model": trained}))
    catalog = artifact(2, "Examples", **{"catalog.read": 7, "examples.catalog": 6})
    second = run(
        2,
        step("CatalogExampleGen", outputs={"examples": catalog}, parameters={"fingerprint": "f00d"}),
        step(
            "IndexBuilder",
            inputs={"model": (trained,)},
            outputs={"servable": dataclasses.replace(artifact(3), uri=str(tmp_path))},
        ),
    )
    summary = outcome_of(second, history(tmp_path, first, second))
    assert (summary.model.uri, summary.model.run, summary.model.metrics) == (trained.uri, 1, {"loss": 1.0})
    assert (summary.data.fingerprint, summary.data.window, summary.data.examples) == ("f00d", None, {"catalog": 6})


def test_the_schema_is_known_even_where_the_gate_stopped_a_run(tmp_path):
    stopped = run(1, step("SchemaGate", "failed", parameters={"schema_text": "feature {}"}, failure_code=4))
    check = outcome_of(stopped, history(tmp_path, stopped)).schema
    assert (check.passed, check.sha256) == (False, hashlib.sha256(b"feature {}").hexdigest())
    # The anomalies were removed.
    assert check.anomalies is None


def test_the_newest_run_and_those_killed_earlier_are_written(tmp_path):
    killed, failed = run(1, step("Trainer", "cancelled")), run(2, step("Trainer", "failed"))
    write_summaries(history(tmp_path, killed, failed))
    paths = [summary_path(str(tmp_path), number) for number in (1, 2)]
    assert [RunOutcome.from_json(path.read_text()).result for path in paths] == ["interrupted", "failed"]
    assert sorted(path.name for path in (tmp_path / "summaries").iterdir()) == ["run-1.json", "run-2.json"]
    # What is written stays as it was, though its artifacts may be gone by now.
    paths[0].write_text("kept")
    third = run(3, step("Trainer"))
    write_summaries(history(tmp_path, killed, failed, third))
    assert paths[0].read_text() == "kept"


def test_a_summary_that_cannot_be_written_leaves_the_last_one(tmp_path):
    path = summary_path(str(tmp_path), 1)
    write(path, "first")
    path.with_suffix(".partial").mkdir()
    with pytest.raises(InputError, match=r"run-1\.partial: Is a directory"):
        write(path, "second")
    assert path.read_text() == "first"


def refused_by_canary(root, *failures: str) -> Run:
    """A run whose gate blessed the model and whose canary wrote a real result."""
    latency = Latency.of([600.0] * 4)
    CanaryResult(failures, 2.0, 3.0, 10, latency, 3, 500.0, 1.0).write(root / "blessing")
    found = dataclasses.replace(artifact(5, "InfraBlessing", blessed=0), uri=str(root / "blessing"))
    gate = step("RecallGate", outputs={"blessing": blessing(4, 1, "recall@10 is 0.9.")})
    pusher = step("Pusher", outputs={"pushed_model": REFUSED})
    return run(1, gate, step("Canary", outputs={"blessing": found}), pusher)


def test_why_the_canary_refused_is_in_note_summary_and_page(tmp_path):
    refused = refused_by_canary(tmp_path, "p99 [is] too high", "a score is not a finite number")
    summary = outcome_of(refused, history(tmp_path, refused), is_over=True)
    assert (summary.result, summary.exit_code) == ("refused", ExitCode.REFUSED)
    assert summary.note == "refused by the canary: p99 [is] too high (and 1 more)"
    assert summary.canary.failures == ("p99 [is] too high", "a score is not a finite number")
    shown = drawn(summary)
    for text in (
        *summary.canary.failures,
        "p99 600.0 ms, allowed 500 ms",
        "4, 3 times each, the fastest counts",
        "3.0 s, of which the program took 2.0 s to start",
    ):
        assert text in shown


def test_the_screen_shows_only_the_reasons_of_who_refused(tmp_path):
    refused = refused_by_canary(tmp_path, "p99 [is] too high", "cannot load:\nno such op")
    outcome = outcome_of(refused, history(tmp_path, refused), is_listed=True)
    assert (outcome.gate.blessed, outcome.canary.passed) == (True, False)
    assert outcome.canary.failures == outcome.refusals == ("p99 [is] too high", "cannot load:\nno such op")
    assert str(tables.not_pushed(outcome)).splitlines() == [
        "Not pushed: refused by the canary: p99 [is] too high (and 1 more)",
        "  p99 [is] too high",
        "  cannot load:",
        "  no such op",
    ]
    gate = dataclasses.replace(outcome.gate, blessed=False, reasons=("recall@10 is 0.1.",))
    assert dataclasses.replace(outcome, gate=gate).refusals == ("recall@10 is 0.1.", *outcome.canary.failures)


def test_a_single_reason_is_not_shown_twice(tmp_path):
    refused = refused_by_canary(tmp_path, "too slow")
    outcome = outcome_of(refused, history(tmp_path, refused))
    assert str(tables.not_pushed(outcome)) == "Not pushed: refused by the canary: too slow"


def test_a_listed_run_opens_no_file_but_the_canarys(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("builtins.open", spy(opened, open))
    refused = refused_by_canary(tmp_path, "too slow")
    servable = artifact(6, model="dpsr", index="tree", indexed_items=9)
    evaluation = artifact(7, "ModelEvaluation", **{"recall@10": 0.9, "ndcg@10": 0.8, "span": 3})
    gate, *others = refused.steps
    gate = dataclasses.replace(gate, outputs={**gate.outputs, "evaluation": (evaluation,)})
    examples = step("SoukExampleGen", outputs={"examples": artifact(8, "Examples", **{"events.read": 4})})
    check = step("SchemaGate", outputs={"anomalies": artifact(9, "ExampleAnomalies")})
    whole = run(1, examples, check, step("IndexBuilder", outputs={"servable": servable}), gate, *others)
    opened.clear()
    listed = tables.line(outcome_of(whole, history(tmp_path, whole), is_listed=True))
    assert [path.rpartition("/")[2] for path in opened] == [CANARY_FILE]
    assert listed == {
        "number": 1,
        "run_id": "id-1",
        "state": "done",
        "started_ms": SECOND,
        "seconds": 2.0,
        "kind": "run",
        "model": "dpsr",
        "metrics": {"recall@10": 0.9, "ndcg@10": 0.8},
        "blessed": True,
        "reasons": ("recall@10 is 0.9.",),
        "canary_passed": False,
        "canary_failures": ("too slow",),
        "pushed_version": "",
        "pushed_to": "",
        "note": "refused by the canary: too slow",
    }
    # With every file that is there, the same.
    assert tables.line(outcome_of(whole, history(tmp_path, whole))) == listed


def spy(opened: list[str], real):
    def opening(path, *arguments, **options):
        opened.append(str(path))
        return real(path, *arguments, **options)

    return opening


def test_the_list_names_the_model_of_a_run_that_trained_none(tmp_path):
    failed = dataclasses.replace(run(1, step("Trainer", "failed")), config={"train": {"model": "mmse"}})
    outcome = outcome_of(failed, history(tmp_path, failed))
    assert (outcome.model, tables.line(outcome)["model"]) == (None, "mmse")


def test_the_table_of_versions_names_the_run_that_pushed_each(tmp_path):
    version = step("Pusher", outputs={"pushed_model": pushed(1, 7)})
    again = step("Pusher", "cached", outputs={"pushed_model": pushed(1, 7)})
    known = history(tmp_path, run(1, version), run(2, again), run(3, step("Trainer", "failed")))
    assert known.pushed_by == {"7": 1}
    (tmp_path / "7").mkdir()
    (tmp_path / "8").mkdir()
    console = Console(file=io.StringIO(), width=100)
    console.print(tables.versions_table(str(tmp_path), known.pushed_by))
    assert [line.split() for line in console.file.getvalue().splitlines()[-3:-1]] == [["8", "unknown"], ["7", "1"]]


def test_the_page_of_any_run_says_why_there_was_no_push(tmp_path):
    runs = [
        run(1),
        run(2, step("SchemaGate", "failed", failure="the data [does] not fit", failure_code=4)),
        run(3, step("RecallGate", outputs={"blessing": blessing(3, 0, "recall@10 [0.1] is low.")})),
        run(4, step("Canary", outputs={"blessing": artifact(5, "InfraBlessing", blessed=0)})),
    ]
    known = history(tmp_path, *runs)
    shown = [drawn(outcome_of(each, known)) for each in runs]
    assert "Run 1 of shop: interrupted, exit code 130" in shown[0]
    assert "exit code 4 (bad data)" in shown[1]
    assert "the data [does] not fit" in shown[1]
    assert "recall@10 [0.1] is low." in shown[2]
    assert "refused" in shown[3]


def drawn(summary: RunOutcome) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(run_page.page(summary))
    return console.file.getvalue()


@pytest.mark.parametrize("result", get_args(Result))
def test_every_result_is_shown(result):
    assert f"Run 1 of shop: {result}" in drawn(RunOutcome("shop", 1, "id", result, 0, "", "0.1.0"))


@pytest.mark.parametrize("state", get_args(State))
def test_every_state_of_a_step_is_shown(state):
    steps = (StepOutcome("Trainer", state, "2026-01-01T00:00:00Z", 1.0, "", None, {}),)
    line = next(
        line
        for line in drawn(RunOutcome("shop", 1, "id", "done", 0, "", "0.1.0", steps=steps)).splitlines()
        if "Trainer" in line
    )
    assert STYLES[state][0] in line
    assert state in line
