"""The summaries of this machine's runs, out of ML Metadata and the artifacts; written beside the runs."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pipeline.runs import collect
from pipeline.runs.collect import Found, read_local
from pipeline.runs.summary import (
    Data,
    Files,
    FoundAnomaly,
    Result,
    RunSummary,
    SchemaCheck,
    Source,
    StepSummary,
)
from pipeline.config import PipelineConfig
from pipeline.exit_codes import ExitCode
from pipeline.runs.metadata import Artifact, Run, StepRun, read_runs
from pipeline.runs.outcome import found, outcome_of
from pipeline.runs.report import read_findings, report_path
from schema.settings import InputError

SUMMARIES: Final = "summaries"
_INPUTS: Final = ("events", "ubi_queries", "catalog", "users")
_RESULTS: Final[Mapping[ExitCode, Result]] = {
    ExitCode.DONE: "pushed",
    ExitCode.REFUSED: "refused",
    ExitCode.INTERRUPTED: "interrupted",
}


def history(config: PipelineConfig) -> "History":
    """All runs of the pipeline that there are."""
    runs = read_runs(config.metadata_path, config.name)
    return History(runs, config.name, config.root, config.artifacts_root, config.metadata_path)


@dataclass(frozen=True)
class History:
    """All runs of a pipeline, and where it keeps things.

    Attributes:
      runs: oldest first.
      pipeline: its name.
      root, artifacts_root, metadata_path: as in the configuration.
    """

    runs: Sequence[Run]
    pipeline: str
    root: str
    artifacts_root: str
    metadata_path: str

    def made_by(self, artifact: Artifact) -> Run | None:
        """The run that made an artifact, rather than taking it from cache."""
        for run in self.runs:
            for step in run.steps:
                made = step.state == "done" and not step.is_lookup
                if made and any(artifact.id == other.id for others in step.outputs.values() for other in others):
                    return run
        return None

    def source(self, artifacts: Iterable[Artifact]) -> Source | None:
        """Where the first of `artifacts` comes from; None where there is none."""
        artifact = next(iter(artifacts), None)
        if artifact is None:
            return None
        run = self.made_by(artifact)
        pushed = outcome_of(run).pushed_version if run else ""
        return Source(artifact.uri, run.number if run else None, pushed)


def summary_path(root: str, number: int) -> Path:
    """Where the summary of a run is written."""
    return Path(root, SUMMARIES, f"run-{number}.json")


def write_summaries(history: History) -> None:
    """Writes the summary of the newest run, which is over, and of earlier ones that were killed before they did."""
    for run in history.runs:
        path = summary_path(history.root, run.number)
        is_newest = run is history.runs[-1]
        if is_newest or not path.exists():
            write(path, summarize(run, history, is_over=True).to_json())


def write(path: Path, text: str) -> None:
    """Puts a file in place at once: a reader finds the whole of it, or the one before.

    Raises:
      InputError: the folder cannot be written.
    """
    staged = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(text, encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); give `root` a folder that can be") from None


def summarize(run: Run, history: History, is_over: bool = False) -> RunSummary:
    """What there is to say of a run, as far as it came.

    Args:
      run: one of the history's.
      history: where what it took from earlier runs is looked up.
      is_over: its process is at its end, so a step that still counts as running was interrupted.
    """
    code = exit_code(run)
    running = run.state == "running" and not is_over
    outcome = outcome_of(run)
    evaluation_artifact = found(run.output("RecallGate", "evaluation"))
    evaluation = collect.read_evaluation(evaluation_artifact, read_local)
    servable = found(run.output("IndexBuilder", "servable"))
    card = collect.read_card(servable, evaluation, read_local)
    blessing = found(run.output("RecallGate", "blessing"))
    data = next((step for step in run.steps if step.outputs.get("examples") and not step.is_lookup), None)
    canary = found(run.output("Canary", "blessing"))
    pushed, pusher = found(run.output("Pusher", "pushed_model")), run.step("Pusher")
    ended_ms = max((step.ended_ms for step in run.steps), default=0)
    return RunSummary(
        pipeline=history.pipeline,
        run=run.number,
        run_id=run.run_id,
        result="running" if running else _result(run, code),
        exit_code=code,
        note=outcome.note.replace(" running", " interrupted") if run.state == "running" and is_over else outcome.note,
        souk=version("souk"),
        started=collect.moment(run.started_ms),
        ended="" if running else collect.moment(ended_ms),
        seconds=run.seconds,
        data=_data(data, run) if data else None,
        schema=_schema(run, history.artifacts_root),
        model=collect.model_of(
            _input(run, history, "IndexBuilder", "model") or Source(""),
            card,
            _input(run, history, "Trainer", "base_model"),
        ),
        index=collect.index_of(servable, card, evaluation) if servable else None,
        gate=collect.gate_of(
            blessing,
            evaluation,
            _input(run, history, "RecallGate", "baseline_servable"),
            evaluation_artifact.uri if evaluation_artifact else "",
        )
        if blessing
        else None,
        canary=collect.canary_of(canary, read_local) if canary else None,
        push=collect.push_of(pushed, by_this_run=pusher.state == "done") if pushed and pusher else None,
        steps=tuple(_step(step, history, is_over) for step in run.steps),
        files=Files(
            log=run.log_path,
            report=str(report_path(history.root, run.number)) if evaluation else "",
            evaluation=evaluation_artifact.uri if evaluation_artifact else "",
            metadata=history.metadata_path,
        ),
    )


def exit_code(run: Run) -> ExitCode:
    """How `souk run` ended; of a run that is still at work, how it ends if it is interrupted now."""
    if run.state == "failed":
        return ExitCode(next((step.failure_code for step in run.steps if step.failure_code), ExitCode.FAILED))
    if run.state in ("cancelled", "running", "waiting"):
        return ExitCode.INTERRUPTED
    pushed = run.output("Pusher", "pushed_model")
    refused = pushed is not None and pushed.properties.get("pushed") != 1
    return ExitCode.REFUSED if refused else ExitCode.DONE


def _result(run: Run, code: ExitCode) -> Result:
    if code is ExitCode.DONE and run.step("Pusher") is None:
        return "done"
    return _RESULTS.get(code, "failed")


def _data(step: StepRun, run: Run) -> Data:
    """What the step that reads the data read, be that all of it or the catalog alone."""
    [examples] = step.outputs["examples"]
    given: Mapping[str, Any] = run.config.get("ingest", {}).get("data", {})
    files = {name: tuple(given[name]) for name in _INPUTS if given.get(name)}
    fingerprint = str(step.parameters.get("fingerprint", ""))
    return collect.data_of(Found(examples.uri, examples.properties), files, fingerprint, read_local)


def _input(run: Run, history: History, step: str, key: str) -> Source | None:
    found = run.step(step)
    return history.source(found.inputs.get(key, ())) if found else None


def _schema(run: Run, artifacts_root: str) -> SchemaCheck | None:
    step = run.step("SchemaGate")
    if step is None or step.state not in ("done", "cached", "failed"):
        return None
    findings = read_findings(run, artifacts_root)
    return SchemaCheck(
        path=str(run.config.get("schema_gate", {}).get("schema_path", "")),
        sha256=hashlib.sha256(str(step.parameters.get("schema_text", "")).encode()).hexdigest(),
        passed=step.state != "failed",
        anomalies=None
        if findings is None
        else tuple(FoundAnomaly(f.split, f.feature, "error" if f.is_error else "warning", f.message) for f in findings),
    )


def _step(step: StepRun, history: History, is_over: bool) -> StepSummary:
    outputs = {key: artifacts[0] for key, artifacts in step.outputs.items() if artifacts}
    made_by = None
    if step.state == "cached" and outputs:
        made_by = history.made_by(next(iter(outputs.values())))
    return StepSummary(
        name=step.name,
        state="cancelled" if is_over and step.state == "running" else step.state,
        started=collect.moment(step.started_ms),
        seconds=0.0 if step.state == "cached" else step.seconds,
        failure=step.failure,
        from_run=made_by.number if made_by else None,
        outputs={key: os.path.normpath(artifact.uri) for key, artifact in outputs.items()},
    )
