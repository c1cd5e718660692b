"""What came of this machine's runs, out of ML Metadata and the artifacts, and the summaries written beside the runs."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from components.example_gen.config import INPUTS
from components.schema_gate.findings import find, read_anomalies, refused_directory
from pipeline.config import PipelineConfig
from pipeline.exit_codes import ExitCode
from pipeline.runs import collect
from pipeline.runs.collect import Artifacts, Found, read_local
from pipeline.runs.metadata import Artifact, Run, StepRun, read_runs
from pipeline.runs.outcome import Files, FoundAnomaly, RunOutcome, SchemaCheck, Source, StepOutcome
from schema.artifacts import CANARY_FILE
from schema.file_errors import naming
from schema.settings import InputError

SUMMARIES: Final = "summaries"


def numbered(config: PipelineConfig, number: int | None, config_name: str) -> RunOutcome:
    """What came of the run of a number, of the newest for None.

    Raises:
      InputError: there is no such run; `config_name` is for its message.
    """
    history = RunHistory.read(config)
    newest = len(history.runs)
    if not newest:
        raise InputError(
            f"no run of {config.name} is recorded in {config.root}; `souk run --config {config_name}` makes one"
        )
    if number is not None and number > newest:
        raise InputError(f"there is no run {number}; the newest is {newest}, `souk status` lists them")
    return outcome_of(history.runs[(number or newest) - 1], history)


@dataclass(frozen=True)
class RunHistory:
    """Runs of a pipeline, and where it keeps things.

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

    @classmethod
    def of(cls, config: PipelineConfig, runs: Sequence[Run]) -> "RunHistory":
        """The history of these runs alone; what they took from others is not known."""
        return cls(runs, config.name, config.root, config.artifacts_root, config.metadata_path)

    @classmethod
    def read(cls, config: PipelineConfig) -> "RunHistory":
        """All runs of the pipeline that there are."""
        with naming(config.metadata_path):
            return cls.of(config, read_runs(config.metadata_path, config.name))

    @cached_property
    def makers(self) -> Mapping[int, Run]:
        """The run that made an artifact, rather than taking it from cache, by the artifact's id."""
        made: dict[int, Run] = {}
        for run in self.runs:
            for step in run.steps:
                if step.state == "done" and not step.is_lookup:
                    for artifacts in step.outputs.values():
                        made |= {artifact.id: run for artifact in artifacts if artifact.id not in made}
        return made

    @property
    def pushed_by(self) -> dict[str, int]:
        """The number of the run that pushed a version, by version."""
        return {version: run.number for run in reversed(self.runs) if (version := _pushed_version(run))}

    def source(self, artifacts: Iterable[Artifact]) -> Source | None:
        """Where the first of `artifacts` comes from; None where there is none."""
        artifact = next(iter(artifacts), None)
        if artifact is None:
            return None
        run = self.makers.get(artifact.id)
        return Source(artifact.uri, run.number, _pushed_version(run)) if run else Source(artifact.uri)


def report_path(root: str, number: int) -> Path:
    """Where the report of a run is, unless it was written elsewhere."""
    return Path(root) / "reports" / f"run-{number}.html"


def summary_path(root: str, number: int) -> Path:
    """Where the summary of a run is written."""
    return Path(root, SUMMARIES, f"run-{number}.json")


def write_summaries(history: RunHistory) -> None:
    """Writes the summary of the newest run, which is over, and of earlier ones that were killed before they did."""
    for run in history.runs:
        path = summary_path(history.root, run.number)
        is_newest = run is history.runs[-1]
        if is_newest or not path.exists():
            write(path, outcome_of(run, history, is_over=True).to_json())


def write(path: Path, text: str) -> None:
    """Puts a file in place at once: a reader finds the whole of it, or the one before.

    Raises:
      InputError: the folder cannot be written; a `StorageError` for a full disk.
    """
    staged = path.with_suffix(".partial")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(text, encoding="utf-8")
        staged.replace(path)


def outcome_of(run: Run, history: RunHistory, is_over: bool = False, is_listed: bool = False) -> RunOutcome:
    """What came of a run, as far as it came.

    Args:
      run: one of the history's.
      history: where what it took from earlier runs is looked up.
      is_over: its process is at its end, so a step that still counts as running was interrupted.
      is_listed: it is one of many in a list; what only its files say is left out, but for why the canary refused it.
    """
    evaluation = _found(run.output("RecallGate", "evaluation"))
    data = next((step for step in run.steps if step.outputs.get("examples") and not step.is_lookup), None)
    state = "cancelled" if is_over and run.state == "running" else run.state
    given: Mapping[str, Any] = run.config.get("ingest", {}).get("data", {})
    made = Artifacts(
        examples=_found(data.outputs["examples"][0]) if data else None,
        servable=_found(run.output("IndexBuilder", "servable")),
        evaluation=evaluation,
        blessing=_found(run.output("RecallGate", "blessing")),
        canary=_found(run.output("Canary", "blessing")),
        pushed=_found(run.output("Pusher", "pushed_model")),
        inputs={name: tuple(given[name]) for name in INPUTS if given.get(name)},
        fingerprint=str(data.parameters.get("fingerprint", "")) if data else "",
        trained=_input(run, history, "IndexBuilder", "model"),
        started_from=_input(run, history, "Trainer", "base_model"),
        baseline=_input(run, history, "RecallGate", "baseline_servable"),
    )
    return collect.assemble(
        made,
        _read_listed if is_listed else read_local,
        state=state,
        failure_code=ExitCode(next((step.failure_code for step in run.steps if step.failure_code), ExitCode.FAILED)),
        steps=[_step(step, history, is_over) for step in run.steps],
        pipeline=history.pipeline,
        run=run.number,
        run_id=run.run_id,
        started=collect.moment(run.started_ms),
        ended="" if state == "running" else collect.moment(max((step.ended_ms for step in run.steps), default=0)),
        seconds=run.seconds,
        kind=run.kind,
        settings=dict(run.config),
        schema=None if is_listed else schema_check(run, history.artifacts_root),
        files=Files(
            log=run.log_path,
            report=str(report_path(history.root, run.number)) if evaluation else "",
            evaluation=evaluation.uri if evaluation else "",
            metadata=history.metadata_path,
        ),
    )


def _found(artifact: Artifact | None) -> Found | None:
    return Found(artifact.uri, artifact.properties) if artifact else None


def _read_listed(path: str) -> str | None:
    return read_local(path) if os.path.basename(path) == CANARY_FILE else None


def _pushed_version(run: Run) -> str:
    pushed = _found(run.output("Pusher", "pushed_model"))
    return collect.push_of(pushed, by_this_run=True).version if pushed else ""


def _input(run: Run, history: RunHistory, step: str, key: str) -> Source | None:
    found = run.step(step)
    return history.source(found.inputs.get(key, ())) if found else None


def schema_check(run: Run, artifacts_root: str) -> SchemaCheck | None:
    """What the schema gate found, whether the run went on or was stopped; None if the gate did not run."""
    step = run.step("SchemaGate")
    if step is None or step.state not in ("done", "cached", "failed"):
        return None
    artifact = run.output("SchemaGate", "anomalies")
    # A failed step has no outputs, so the folder is built as TFX would name it.
    outputs = os.path.join(artifacts_root, step.name, "anomalies", str(step.execution_id))
    directory = artifact.uri if artifact else refused_directory(outputs)
    anomalies = None
    if os.path.isdir(directory):
        anomalies = tuple(
            FoundAnomaly(found.split, found.feature, "error" if found.is_error else "warning", found.message)
            for found in find(read_anomalies(directory))
        )
    return SchemaCheck(
        path=str(run.config.get("schema_gate", {}).get("schema_path", "")),
        sha256=hashlib.sha256(str(step.parameters.get("schema_text", "")).encode()).hexdigest(),
        passed=step.state != "failed",
        anomalies=anomalies,
    )


def _step(step: StepRun, history: RunHistory, is_over: bool) -> StepOutcome:
    outputs = {key: artifacts[0] for key, artifacts in step.outputs.items() if artifacts}
    made_by = None
    if step.state == "cached" and outputs:
        made_by = history.makers.get(next(iter(outputs.values())).id)
    return StepOutcome(
        name=step.name,
        state="cancelled" if is_over and step.state == "running" else step.state,
        started=collect.moment(step.started_ms),
        seconds=0.0 if step.state == "cached" else step.seconds,
        failure=step.failure,
        from_run=made_by.number if made_by else None,
        outputs={key: os.path.normpath(artifact.uri) for key, artifact in outputs.items()},
    )
