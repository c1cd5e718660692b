"""What the report shows: the gate's evaluation, and what only the end of a run knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evaluation.results import Evaluation


@dataclass(frozen=True)
class AnomalyRow:
    """One finding of the schema gate."""

    split: str
    feature: str
    is_error: bool
    message: str


@dataclass(frozen=True)
class CanaryOutcome:
    """How the candidate did when it was really served: `checks` are pairs of a name and what was found."""

    passed: bool
    checks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class RunExtras:
    """What the pipeline adds at the end of a run; everything is optional.

    Attributes:
      run_id, pipeline: which run this was.
      counters: what ingestion read, kept and dropped, by name in reading order.
      anomalies: findings of the schema gate; None if it is not known, empty if there were none.
      canary: None if the canary did not run.
      pushed_version: "" if nothing was pushed.
      push_note: where it was pushed to, or why not.
      config: the run's settings, nested.
    """

    run_id: str = ""
    pipeline: str = ""
    counters: Mapping[str, Any] = field(default_factory=dict)
    anomalies: tuple[AnomalyRow, ...] | None = None
    canary: CanaryOutcome | None = None
    pushed_version: str = ""
    push_note: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportData:
    """One report."""

    evaluation: Evaluation
    extras: RunExtras = RunExtras()
