"""The report of a run: the gate's page with what only the whole run knows."""

import json
import os
from pathlib import Path
from typing import Final

from evaluation.report.data import AnomalyRow, CanaryOutcome, ReportData, RunExtras
from evaluation.report.render import render_report
from evaluation.results import Evaluation
from pipeline.runs import collect
from pipeline.runs.collect import Found
from components.schema_gate.findings import Finding, find, read_anomalies, refused_directory
from pipeline.runs.metadata import CATALOG_EXAMPLE_GEN, Artifact, Run
from pipeline.runs.outcome import outcome_of
from pipeline.runs.page import canary_facts
from schema.artifacts import CANARY_FILE, EVALUATION_FILE, INGESTION_FILE
from schema.settings import InputError



def read_evaluation(run: Run) -> Evaluation | None:
    """What the recall gate measured in this run, None if it did not come to that."""
    artifact = run.output("RecallGate", "evaluation")
    return Evaluation.from_json(_read(artifact, EVALUATION_FILE)) if artifact else None


def read_findings(run: Run, artifacts_root: str) -> list[Finding] | None:
    """What the schema gate found, be it that the run went on or that it was stopped; None if the gate did not run."""
    artifact = run.output("SchemaGate", "anomalies")
    step = run.step("SchemaGate")
    if artifact is not None:
        directory = artifact.uri
    elif step is not None:
        # A failed step has no outputs, so the folder is built as TFX would name it.
        outputs = os.path.join(artifacts_root, step.name, "anomalies", str(step.execution_id))
        directory = refused_directory(outputs)
    else:
        return None
    return find(read_anomalies(directory)) if os.path.isdir(directory) else None


def report_html(run: Run, artifacts_root: str, pipeline: str) -> str:
    """The report as one HTML page.

    Raises:
      InputError: the run did not come to its evaluation.
    """
    evaluation = read_evaluation(run)
    if evaluation is None:
        raise InputError(
            f"run {run.number} has no evaluation to report on ({outcome_of(run).note}); "
            "`souk status` lists the runs, `souk report --run N` takes another one"
        )
    outcome = outcome_of(run)
    findings = read_findings(run, artifacts_root)
    extras = RunExtras(
        run_id=run.run_id,
        pipeline=pipeline,
        counters=_counters(run),
        anomalies=None
        if findings is None
        else tuple(AnomalyRow(f.split, f.feature, f.is_error, f.message) for f in findings),
        canary=_canary(run),
        pushed_version=outcome.pushed_version,
        push_note=outcome.note,
        config=run.config,
    )
    return render_report(ReportData(evaluation, extras))


def report_path(root: str, number: int) -> Path:
    """Where the report of a run is, unless it was written elsewhere."""
    return Path(root) / "reports" / f"run-{number}.html"


def write_report(run: Run, root: str, artifacts_root: str, pipeline: str, out: Path | None = None) -> Path:
    """Writes the report to `out`, or to its place in the pipeline's root; returns the path."""
    html = report_html(run, artifacts_root, pipeline)
    path = out or report_path(root, run.number)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise InputError(f"the report cannot be written to {path} ({error}); give --out another path") from None
    return path


def _counters(run: Run) -> dict[str, int]:
    """Ingestion's counters in reading order, which ML Metadata does not keep."""
    examples = run.output("SoukExampleGen", "examples") or run.output(CATALOG_EXAMPLE_GEN, "examples")
    counters: dict[str, int] = json.loads(_read(examples, INGESTION_FILE))["counters"] if examples else {}
    return counters


def _canary(run: Run) -> CanaryOutcome | None:
    artifact = run.output("Canary", "blessing")
    if artifact is None:
        return None
    canary = collect.canary_of(Found(artifact.uri, artifact.properties), lambda _: _read(artifact, CANARY_FILE))
    return CanaryOutcome(canary.passed, tuple(canary_facts(canary)))


def _read(artifact: Artifact, name: str) -> str:
    path = Path(artifact.uri) / name
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error}); the artifacts of this run were removed, run the pipeline again"
        ) from None
