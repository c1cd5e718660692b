"""The report of a run, with a real evaluation; `test_end_to_end.py` has the one of a real run."""

import dataclasses

import pytest

from components.recall_gate.config import GateConfig
from components.recall_gate.verdict import evaluate_and_judge
from pipeline.runs import outcome as parts
from pipeline.runs.report import evaluation_of, report_html, write_report
from schema.artifacts import EVALUATION_FILE
from schema.settings import InputError
from tests.evaluation import small_world as world
from tests.evaluation.report.test_render import NASTY, Page

BARE = parts.RunOutcome("shop", 3, "20260301-020000", "refused", 3, "The canary refused.", "0.1.0")
ANOMALY = parts.FoundAnomaly("eval", "stages", "warning", "odd")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    config = GateConfig(ks=(5, 20), primary_k=20, bootstrap_samples=100, latency_requests=5)
    servable = world.save_servable(folder / "servable", noise=0.10)
    return evaluate_and_judge(servable, world.write_examples(folder / "examples"), config)


def checked(*anomalies: parts.FoundAnomaly) -> parts.SchemaCheck:
    return parts.SchemaCheck("/souk.pbtxt", "ec7b", True, anomalies)


def read(**inputs: parts.InputRows) -> parts.Data:
    return parts.Data("/examples/1", None, inputs, {"train": 12_345}, "", "")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (
            {},
            (
                "Nothing was pushed. The canary refused.",
                "Run 20260301-020000 · ",
                "Retrieval report · shop",
                "&#34;gate&#34;: {",
            ),
        ),
        (
            {
                "push": parts.Push(True, "1750", "/srv", True),
                "note": "pushed to /srv",
                "schema": checked(),
                "data": read(events=parts.InputRows((), 21_395, {"empty_query": 7}, {"duplicates": 8})),
                "canary": parts.CanaryRun(True, (), 5.0, None, None),
                "settings": {"train": {"epochs": 3}},
            },
            (
                "<b>Version 1750</b> was pushed. pushed to /srv",
                "The schema gate found no anomaly.",
                "<dt>events.read</dt><dd>21,395</dd>",
                "<dt>events.dropped.empty query</dt><dd>7</dd>",
                "<dt>events.duplicates</dt><dd>8</dd>",
                "<dt>examples.train</dt><dd>12,345</dd>",
                "✓ passed",
                "&#34;epochs&#34;: 3",
            ),
        ),
        (
            {"schema": checked(ANOMALY), "canary": parts.CanaryRun(False, ("too slow",), 5.0, None, None)},
            ('<td class="status undecided">warning</td><td>odd</td>', "<dt>failure</dt><dd>too slow</dd>"),
        ),
    ],
    ids=["bare", "pushed", "refused"],
)
def test_the_report_shows_what_came_of_the_run(evaluation, known, expected):
    text = report_html(dataclasses.replace(BARE, **known), evaluation)
    assert [part for part in expected if part not in text] == []
    assert "written by the gate, before the canary" not in text
    assert Page(text).open == []


def test_what_is_not_known_of_the_schema_is_not_called_fine(evaluation):
    for check in (None, dataclasses.replace(checked(), anomalies=None)):
        assert "no anomaly" not in report_html(dataclasses.replace(BARE, schema=check), evaluation)


def test_text_of_the_run_is_escaped_wherever_it_appears(evaluation):
    outcome = parts.RunOutcome(
        NASTY,
        3,
        NASTY,
        "refused",
        3,
        NASTY,
        "0.1.0",
        settings={NASTY: NASTY},
        data=parts.Data("", None, {NASTY: parts.InputRows((), 1, {NASTY: 1}, {NASTY: 1})}, {NASTY: 1}, "", ""),
        schema=checked(parts.FoundAnomaly(NASTY, NASTY, "error", NASTY)),
        canary=parts.CanaryRun(False, (NASTY,), None, None, None),
    )
    text = report_html(outcome, evaluation)
    assert "<script" not in text
    assert text.count("</style>") == 1
    assert text.count("&lt;script&gt;") >= 14
    assert Page(text).open == []


def test_the_evaluation_is_read_and_the_report_is_written(evaluation, tmp_path):
    (tmp_path / EVALUATION_FILE).write_text(evaluation.to_json())
    path = tmp_path / "reports" / "run-3.html"
    outcome = dataclasses.replace(BARE, files=parts.Files(report=str(path), evaluation=str(tmp_path)))
    assert write_report(outcome, evaluation_of(outcome)) == path
    assert path.read_text() == report_html(outcome, evaluation)
    with pytest.raises(InputError, match=f"{tmp_path}: Is a directory; give the path of a file"):
        write_report(outcome, evaluation, tmp_path)


def test_a_run_without_an_evaluation_has_no_report():
    with pytest.raises(InputError, match=r"^run 3 has no evaluation .*\(The canary refused\.\); `souk status`"):
        evaluation_of(BARE)


def test_a_run_whose_evaluation_was_removed_has_no_report(tmp_path):
    outcome = dataclasses.replace(BARE, files=parts.Files(evaluation=str(tmp_path)))
    with pytest.raises(InputError, match="is not there; the artifacts of this run were removed, run"):
        evaluation_of(outcome)
