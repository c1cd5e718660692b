"""What came of a run, read off its artifacts: measured, blessed, pushed, and if not, why not."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.runs import collect
from pipeline.runs.collect import Found, read_local
from pipeline.runs.metadata import Artifact, Kind, Run
from pipeline.progress import State


@dataclass(frozen=True)
class Outcome:
    """One line of `souk status`.

    Attributes:
      number: of the run.
      run_id: TFX's name of it.
      state: `cached` if nothing had changed, `failed` if a step failed.
      started_ms: epoch milliseconds.
      seconds: how long it took.
      kind: `refresh` if the model is that of an earlier run, with a new catalog.
      model: type of the model.
      metrics: of the candidate on the eval split, by name; empty if the gate did not run.
      blessed: by the recall gate; None if it did not run.
      reasons: the gate's, in sentences.
      canary_passed: None if the canary did not run.
      canary_failures: what the canary found wrong, in sentences.
      pushed_version: "" if nothing was pushed.
      pushed_to: the version's folder.
      note: where it was pushed to, or why it was not.
    """

    number: int
    run_id: str
    state: State
    started_ms: int
    seconds: float
    kind: Kind = "run"
    model: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    blessed: bool | None = None
    reasons: tuple[str, ...] = ()
    canary_passed: bool | None = None
    canary_failures: tuple[str, ...] = ()
    pushed_version: str = ""
    pushed_to: str = ""
    note: str = ""

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why the model was refused, in sentences: the gate's reasons, then what the canary found wrong."""
        return (*(self.reasons if self.blessed is False else ()), *self.canary_failures)


def outcome_of(run: Run) -> Outcome:
    """The outcome of a run, as far as it came."""
    servable = run.output("IndexBuilder", "servable")
    evaluation = run.output("RecallGate", "evaluation")
    blessing, canary_blessing = (found(run.output(step, "blessing")) for step in ("RecallGate", "Canary"))
    gate = collect.gate_of(blessing, None, None, "") if blessing else None
    canary = collect.canary_of(canary_blessing, read_local) if canary_blessing else None
    pushed = run.output("Pusher", "pushed_model")
    is_pushed = pushed is not None and pushed.properties.get("pushed") == 1
    return Outcome(
        number=run.number,
        run_id=run.run_id,
        state=run.state,
        started_ms=run.started_ms,
        seconds=run.seconds,
        kind=run.kind,
        model=str(servable.properties.get("model", "") if servable else run.config.get("train", {}).get("model", "")),
        metrics={
            name: value
            for name, value in (evaluation.properties if evaluation else {}).items()
            if isinstance(value, float) and "@" in name
        },
        blessed=gate.blessed if gate else None,
        reasons=gate.reasons if gate else (),
        canary_passed=canary.passed if canary else None,
        canary_failures=canary.failures if canary else (),
        pushed_version=str(pushed.properties["pushed_version"]) if pushed and is_pushed else "",
        pushed_to=str(pushed.properties["pushed_destination"]) if pushed and is_pushed else "",
        note=_note(run, collect.refusal_of(gate, canary)),
    )


def found(artifact: Artifact | None) -> Found | None:
    """An artifact as `collect` takes it."""
    return Found(artifact.uri, artifact.properties) if artifact else None


def _note(run: Run, refusal: str) -> str:
    for step in run.steps:
        if step.state in ("failed", "cancelled", "running"):
            return f"{step.name} {step.state}" + (f": {step.failure.splitlines()[0]}" if step.failure else "")
    if refusal:
        return refusal
    pushed = run.output("Pusher", "pushed_model")
    if pushed is None:
        return "did not come to the push"
    return f"pushed to {pushed.properties.get('pushed_destination', '')}"
