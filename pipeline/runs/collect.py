"""Assembles what came of a run from its artifacts: from their properties and the files in them.

For a run on this machine and for one on a cluster alike, so files are read by the function that is given.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

from evaluation.results import CANDIDATE, Evaluation
from pipeline import DISTRIBUTION
from pipeline.exit_codes import ExitCode
from pipeline.progress import State
from pipeline.runs.outcome import (
    CanaryRun,
    Data,
    Gate,
    Index,
    InputRows,
    Model,
    Push,
    Result,
    RunOutcome,
    Source,
    StepOutcome,
    Window,
    refusals,
)
from schema.artifacts import (
    CANARY_FILE,
    CARD_FILE,
    DEAD_LETTERS_FOLDER,
    EVALUATION_FILE,
    INGESTION_FILE,
    SERVING_FOLDER,
)
from schema.features import SPLITS
from schema.settings import InputError

# The text of a file; None where it is gone, as artifacts may be removed at any time.
Read = Callable[[str], str | None]

_RESULTS: Final[Mapping[ExitCode, Result]] = {
    ExitCode.DONE: "pushed",
    ExitCode.REFUSED: "refused",
    ExitCode.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True)
class Found:
    """An artifact: where it is, and what its properties say."""

    uri: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifacts:
    """What a run has left; None for what it did not come to.

    Attributes:
      inputs: the input files that were asked for, by input.
      fingerprint: of these files.
      trained: the model in the servable.
      started_from: the model that a warm start took over.
      baseline: the servable that the candidate was compared with.
    """

    examples: Found | None = None
    servable: Found | None = None
    evaluation: Found | None = None
    blessing: Found | None = None
    canary: Found | None = None
    pushed: Found | None = None
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fingerprint: str = ""
    trained: Source | None = None
    started_from: Source | None = None
    baseline: Source | None = None


def assemble(
    made: Artifacts,
    read: Read,
    state: State = "done",
    failure_code: ExitCode = ExitCode.FAILED,
    steps: Sequence[StepOutcome] = (),
    **known: Any,
) -> RunOutcome:
    """What came of a run, as far as it came.

    Args:
      made: what it has left.
      read: reads the files in the artifacts.
      state: of the run.
      failure_code: how it ended, if it failed.
      steps: those that started.
      known: the other fields of the outcome.
    """
    evaluation = read_evaluation(made.evaluation, read)
    card = read_card(made.servable, evaluation, read)
    gate = gate_of(made.blessing, evaluation, made.baseline, made.evaluation) if made.blessing else None
    canary = canary_of(made.canary, read) if made.canary else None
    by_this_run = all(step.state == "done" for step in steps if step.name == "Pusher")
    push = push_of(made.pushed, by_this_run) if made.pushed else None
    code = _exit_code(state, failure_code, push)
    result = _RESULTS.get(code, "failed")
    if state == "running":
        result = "running"
    elif code is ExitCode.DONE and push is None:
        result = "done"
    return RunOutcome(
        result=result,
        exit_code=code,
        note=_note(steps, refusal_of(gate, canary), push),
        souk=version(DISTRIBUTION),
        state=state,
        data=data_of(made.examples, made.inputs, made.fingerprint, read) if made.examples else None,
        model=model_of(made.trained or Source(""), made.servable, card, made.started_from) if made.servable else None,
        index=index_of(made.servable, card, evaluation) if made.servable else None,
        gate=gate,
        canary=canary,
        push=push,
        steps=tuple(steps),
        **known,
    )


def _exit_code(state: State, failure_code: ExitCode, push: Push | None) -> ExitCode:
    """How `souk run` ended; for a run that is still at work, how it ends if it is interrupted now."""
    if state == "failed":
        return failure_code
    if state in ("cancelled", "running", "waiting"):
        return ExitCode.INTERRUPTED
    return ExitCode.REFUSED if push is not None and not push.pushed else ExitCode.DONE


def _note(steps: Sequence[StepOutcome], refusal: str, push: Push | None) -> str:
    for step in steps:
        if step.state in ("failed", "cancelled", "running"):
            return f"{step.name} {step.state}" + (f": {step.failure.splitlines()[0]}" if step.failure else "")
    if refusal or push is None:
        return refusal or "did not come to the push"
    return f"pushed to {push.destination}" if push.pushed else "nothing was pushed"


def moment(milliseconds: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, "" for 0."""
    if not milliseconds:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_evaluation(evaluation: Found | None, read: Read) -> Evaluation | None:
    """What the recall gate measured; None if it did not, or the file is gone."""
    text = read(os.path.join(evaluation.uri, EVALUATION_FILE)) if evaluation else None
    return Evaluation.from_json(text) if text is not None else None


def read_card(servable: Found | None, evaluation: Evaluation | None, read: Read) -> dict[str, Any]:
    """What the servable says of itself; empty where that is gone."""
    if evaluation is not None and evaluation.card:
        return evaluation.card
    text = read(os.path.join(servable.uri, SERVING_FOLDER, CARD_FILE)) if servable else None
    card: dict[str, Any] = json.loads(text) if text is not None else {}
    return card


def data_of(examples: Found, files: Mapping[str, Sequence[str]], fingerprint: str, read: Read) -> Data:
    """What ingestion read and wrote; `files` are those asked for, by input."""
    text = read(os.path.join(examples.uri, INGESTION_FILE))
    summary = json.loads(text) if text is not None else {}
    # The file has them in reading order; the properties are what is left where it is gone.
    counters = summary.get("counters") or {
        name: value for name, value in sorted(examples.properties.items()) if "." in name and isinstance(value, int)
    }
    written = {split: counters[f"examples.{split}"] for split in SPLITS if f"examples.{split}" in counters}
    names = {name.partition(".")[0] for name in counters} - {"examples"}
    inputs = {name: _rows(name, counters, files.get(name, ())) for name in sorted(names)}
    rejected = any(rows.rejected for rows in inputs.values())
    times = [int(summary.get(name) or 0) for name in ("train_start_ms", "eval_start_ms", "end_ms")]
    return Data(
        uri=examples.uri,
        window=Window(*(moment(time) for time in times)) if all(times) else None,
        inputs=inputs,
        examples=written,
        dead_letters=os.path.join(examples.uri, DEAD_LETTERS_FOLDER) if rejected else "",
        fingerprint=fingerprint,
        notes=tuple(summary.get("notes", ())),
    )


def _rows(name: str, counters: Mapping[str, int], files: Sequence[str]) -> InputRows:
    own = {key.removeprefix(f"{name}."): n for key, n in counters.items() if key.startswith(f"{name}.")}
    rejected = {key.removeprefix("dropped."): n for key, n in own.items() if key.startswith("dropped.") and n}
    other = {key: n for key, n in own.items() if key != "read" and not key.startswith("dropped.") and n}
    return InputRows(tuple(files), own.get("read", 0), rejected, other)


def model_of(trained: Source, servable: Found, card: Mapping[str, Any], started_from: Source | None) -> Model | None:
    """What was trained; without the card only its type is known, None if not even that is."""
    kind = str(card.get("model") or servable.properties.get("model", ""))
    if not kind:
        return None
    history: Mapping[str, Sequence[float]] = card.get("history", {})
    return Model(
        type=kind,
        uri=trained.uri,
        run=trained.run,
        settings=dict(card.get("trainer", {})),
        epochs=max((len(values) for values in history.values()), default=0),
        metrics={name: values[-1] for name, values in history.items() if values},
        started_from=started_from,
    )


def index_of(servable: Found, card: Mapping[str, Any], evaluation: Evaluation | None) -> Index:
    """What the catalog is searched by."""
    chosen: Mapping[str, Any] = next((point for point in card.get("index_curve", ()) if point.get("chosen")), {})
    return Index(
        kind=str(servable.properties.get("index", card.get("index", ""))),
        uri=servable.uri,
        parameters=dict(card.get("index_parameters", {})),
        indexed_items=int(servable.properties.get("indexed_items", card.get("indexed_items", 0))),
        catalog_items=card.get("catalog_items"),
        recall=chosen.get("recall"),
        latency_ms=chosen.get("latency_ms"),
        measured=evaluation.index_recall.estimate if evaluation and evaluation.index_recall else None,
        clicks=evaluation.sample.relevant_items if evaluation else None,
        left_out_clicks=evaluation.sample.left_out_clicks if evaluation else None,
    )


def gate_of(blessing: Found, evaluation: Evaluation | None, baseline: Source | None, written: Found | None) -> Gate:
    """The gate's verdict with what it rests on.

    Args:
      blessing: the gate's.
      evaluation: None where the file is gone.
      baseline: the model that the candidate was compared with.
      written: the artifact of the evaluation.
    """
    metrics = {system.key: system.metrics for system in evaluation.systems} if evaluation else {}
    properties = written.properties if written else {}
    kept = {name: value for name, value in properties.items() if isinstance(value, float) and "@" in name}
    message = str(blessing.properties.get("blessing_message", ""))
    return Gate(
        blessed=blessing.properties.get("blessed") == 1,
        reasons=tuple(message.splitlines()),
        primary_k=evaluation.primary_k if evaluation else None,
        checks=evaluation.verdict.checks if evaluation else (),
        metrics=metrics,
        requests=evaluation.sample.requests if evaluation else None,
        baseline=baseline,
        evaluation=written.uri if written else "",
        candidate=kept or {name: estimate.value for name, estimate in metrics.get(CANDIDATE, {}).items()},
    )


def canary_of(blessing: Found, read: Read) -> CanaryRun:
    """What came of serving the candidate."""
    text = read(os.path.join(blessing.uri, CANARY_FILE))
    result: dict[str, Any] = json.loads(text) if text is not None else {}
    latency = result.get("latency") or {}
    return CanaryRun(
        passed=blessing.properties.get("blessed") == 1,
        failures=tuple(result.get("failures", ())),
        load_seconds=result.get("load_seconds"),
        latency_p50_ms=latency.get("p50"),
        latency_p99_ms=latency.get("p99"),
        startup_seconds=result.get("startup_seconds"),
        requests=latency.get("requests"),
        attempts=result.get("attempts"),
        allowed_p99_ms=result.get("allowed_p99_ms"),
        slowdown=result.get("slowdown"),
        server=result.get("server", ""),
    )


def refusal_of(gate: Gate | None, canary: CanaryRun | None) -> str:
    """Who refused a model and the first reason, in one line; "" if nobody did."""
    found = refusals(gate, canary)
    if not found:
        return ""
    reasons = [reason.strip() for _, given in found for reason in given if reason.strip()]
    first = f": {reasons[0].splitlines()[0]}" if reasons else ""
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"refused by {' and '.join(who for who, _ in found)}{first}{more}"


def push_of(pushed: Found, by_this_run: bool) -> Push:
    """Whether and where a version was put."""
    is_pushed = pushed.properties.get("pushed") == 1
    return Push(
        pushed=is_pushed,
        version=str(pushed.properties.get("pushed_version", "")) if is_pushed else "",
        destination=str(pushed.properties.get("pushed_destination", "")) if is_pushed else "",
        by_this_run=is_pushed and by_this_run,
    )


def read_local(path: str) -> str | None:
    """The text of a file on this machine; None where it is not there.

    Raises:
      InputError: it is there and cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
