"""What came of a run: what went in, what was decided, and why. `docs/runs.md` explains every field.

Tables, page, report and JSON are made from this.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from evaluation.bootstrap import Estimate
from evaluation.results import Check
from pipeline.progress import State
from pipeline.runs.metadata import Kind
from schema.settings import InputError, kind_of

# Raised when a field changes its meaning or goes; fields may be added under the same number.
VERSION: Final = 2

Result = Literal["pushed", "refused", "failed", "interrupted", "running", "done"]


@dataclass(frozen=True)
class Window:
    """The time that the log covers, RFC 3339: train from the first to the second moment, eval from there to the end."""

    train_start: str
    eval_start: str
    end: str


@dataclass(frozen=True)
class InputRows:
    """What became of the rows of one input.

    Attributes:
      files: what was asked for: paths, patterns or tables.
      read: rows that were there.
      rejected: rows that could not be used, by reason; they are in `dead_letters`.
      other: further counts, such as duplicates.
    """

    files: tuple[str, ...]
    read: int
    rejected: dict[str, int] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """What ingestion read and wrote.

    Attributes:
      uri: of the examples.
      inputs: `events`, `catalog`, `users` and whatever else was read.
      examples: written, by split.
      dead_letters: the folder of the rejected rows, "" if there are none.
      fingerprint: of the input files, or the `data_version` of a compiled run.
      notes: what ingestion says to a person, such as which columns of the catalog are not used.
    """

    uri: str
    window: Window | None
    inputs: dict[str, InputRows]
    examples: dict[str, int]
    dead_letters: str
    fingerprint: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundAnomaly:
    """One thing that does not fit the schema, or has drifted."""

    split: str
    feature: str
    level: Literal["error", "warning"]
    message: str


@dataclass(frozen=True)
class SchemaCheck:
    """What the schema gate said.

    Attributes:
      path: of the schema's file when the run was started, "" if that is not known.
      sha256: of the schema's text.
      anomalies: errors first; None if they can no longer be read.
    """

    path: str
    sha256: str
    passed: bool
    anomalies: tuple[FoundAnomaly, ...] | None


@dataclass(frozen=True)
class Source:
    """Something of an earlier run: where it is, which run made it, and as which version it was pushed."""

    uri: str
    run: int | None = None
    pushed_version: str = ""


@dataclass(frozen=True)
class Model:
    """What was trained.

    Attributes:
      settings: those of the training.
      run: that trained it; an earlier one where it comes from cache or is only given a new index. None on a cluster.
      epochs: that were trained.
      metrics: of the last epoch, on the trainer's own validation.
      started_from: the model that a warm start took over.
    """

    type: str
    uri: str
    settings: dict[str, Any]
    run: int | None
    epochs: int
    metrics: dict[str, float]
    started_from: Source | None = None


@dataclass(frozen=True)
class Index:
    """What the catalog is searched by.

    Attributes:
      recall: share of the exact nearest items that it finds, as the index builder measured it; None if it did not.
      measured: the same, measured by the recall gate through the whole servable.
      latency_ms: of one search of the index alone.
      clicks: clicked, carted and ordered items of the eval requests.
      left_out_clicks: those of them that are not in the index, since they are alike to others.
    """

    kind: str
    uri: str
    parameters: dict[str, Any]
    indexed_items: int
    catalog_items: int | None = None
    recall: float | None = None
    latency_ms: float | None = None
    measured: Estimate | None = None
    clicks: int | None = None
    left_out_clicks: int | None = None


@dataclass(frozen=True)
class Gate:
    """What the recall gate measured and decided.

    Attributes:
      metrics: of every system on the same requests, by the system's key (`candidate`, `baseline`, `bm25`, ...).
      checks: every threshold: what was found, what was wanted, whether it passed.
      baseline: the blessed model that the candidate was compared with, None if there was none yet.
      candidate: the candidate's metrics without intervals, which ML Metadata keeps when the evaluation is removed.
    """

    blessed: bool
    reasons: tuple[str, ...]
    primary_k: int | None
    checks: tuple[Check, ...]
    metrics: dict[str, dict[str, Estimate]]
    requests: int | None
    baseline: Source | None
    evaluation: str
    candidate: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CanaryRun:
    """What came of serving the candidate; times in seconds and milliseconds.

    Attributes:
      failures: why it was refused, in sentences.
      load_seconds: from the start of the serving program until the candidate was ready.
      startup_seconds: the part of it until the program opened its ports.
      requests: how many requests the latency is of.
      attempts: how often they were asked; the latency of each is its lowest.
      allowed_p99_ms: largest allowed 99th percentile, with the slowdown taken into account.
      slowdown: how many times longer a computation took than its processor time, because of other work.
      server: which server was asked; "" if that was not written.
    """

    passed: bool
    failures: tuple[str, ...]
    load_seconds: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    startup_seconds: float | None = None
    requests: int | None = None
    attempts: int | None = None
    allowed_p99_ms: float | None = None
    slowdown: float | None = None
    server: str = ""


@dataclass(frozen=True)
class Push:
    """Whether and where a version was put for servers; `by_this_run` is false where the cache remembers it."""

    pushed: bool
    version: str
    destination: str
    by_this_run: bool


@dataclass(frozen=True)
class StepOutcome:
    """One step; `from_run` is the run that made what this one took from cache."""

    name: str
    state: State
    started: str
    seconds: float
    failure: str
    from_run: int | None
    outputs: dict[str, str]


@dataclass(frozen=True)
class Files:
    """Where to read more; "" for what there is not."""

    log: str = ""
    report: str = ""
    evaluation: str = ""
    metadata: str = ""


@dataclass(frozen=True)
class RunOutcome:
    """One run. What it did not come to is None.

    Attributes:
      pipeline: its name.
      run: its number in the local store, None on a cluster.
      run_id: TFX's, Kubeflow's or Vertex's name of it.
      result: what came of it in one word; `exit_code` says more of failures.
      exit_code: that of `souk run`.
      note: the result in one sentence.
      started, ended: RFC 3339, "" if not known.
      kind: `refresh` if the model is that of an earlier run, with a new catalog; None on a cluster.
      state: the worst state of its steps; `cached` if nothing had changed.
      settings: the configuration that it ran with, nested; empty if it was killed, and on a cluster.
    """

    pipeline: str
    run: int | None
    run_id: str
    result: Result
    exit_code: int
    note: str
    souk: str
    started: str = ""
    ended: str = ""
    seconds: float | None = None
    kind: Kind | None = None
    state: State = "done"
    settings: dict[str, Any] = field(default_factory=dict)
    data: Data | None = None
    schema: SchemaCheck | None = None
    model: Model | None = None
    index: Index | None = None
    gate: Gate | None = None
    canary: CanaryRun | None = None
    push: Push | None = None
    steps: tuple[StepOutcome, ...] = ()
    files: Files = Files()
    version: int = VERSION

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why the model was refused, in sentences: the gate's reasons, then what the canary found wrong."""
        return tuple(reason for _, reasons in refusals(self.gate, self.canary) for reason in reasons)

    def to_json(self) -> str:
        """The summary of the run: JSON that `from_json` reads back into an equal outcome."""
        return _ADAPTER.dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, text: str, source: str = "the summary") -> "RunOutcome":
        """An outcome out of the JSON that `to_json` wrote, also by a newer Souk that adds fields.

        Raises:
          InputError: the text is not such JSON, or of another version.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise InputError(f"{source} is no summary of a run, it is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise InputError(f"{source} is no summary of a run, it holds {kind_of(values)}")
        if values.get("version") != VERSION:
            found = values.get("version")
            raise InputError(f"{source} is a summary of version {found}; this Souk reads version {VERSION}")
        try:
            return _ADAPTER.validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(
                f"{source} is no summary of a run: {'.'.join(map(str, first['loc']))}: {first['msg']}"
            ) from None


def refusals(gate: Gate | None, canary: CanaryRun | None) -> list[tuple[str, tuple[str, ...]]]:
    """Who refused a model, with the reasons."""
    found = [("the recall gate", gate.reasons)] if gate is not None and not gate.blessed else []
    return found + ([("the canary", canary.failures)] if canary is not None and not canary.passed else [])


_ADAPTER: Final = TypeAdapter(RunOutcome)
