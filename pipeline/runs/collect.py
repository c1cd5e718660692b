"""The parts of a run's summary, each out of the artifact that tells of it: by its properties and the files in it.

For a run on this machine and for one on a cluster alike, so files are read by the function that is given.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from evaluation.results import Evaluation
from pipeline.runs.summary import CanaryRun, Data, Gate, Index, InputRows, Model, Push, Source, Window
from schema.artifacts import CANARY_FILE, CARD_FILE, DEAD_LETTERS_FOLDER, EVALUATION_FILE, INGESTION_FILE, SERVING_FOLDER
from schema.features import SPLITS
from schema.settings import InputError

# The text of a file; None where it is gone, as artifacts may be removed at any time.
Read = Callable[[str], str | None]


@dataclass(frozen=True)
class Found:
    """An artifact: where it is, and what its properties say."""

    uri: str
    properties: Mapping[str, Any] = field(default_factory=dict)


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
    names = [name.removesuffix(".read") for name in counters if name.endswith(".read")]
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
    )


def _rows(name: str, counters: Mapping[str, int], files: Sequence[str]) -> InputRows:
    own = {key.removeprefix(f"{name}."): n for key, n in counters.items() if key.startswith(f"{name}.")}
    rejected = {key.removeprefix("dropped."): n for key, n in own.items() if key.startswith("dropped.") and n}
    other = {key: n for key, n in own.items() if key != "read" and not key.startswith("dropped.") and n}
    return InputRows(tuple(files), own["read"], rejected, other)


def model_of(trained: Source, card: Mapping[str, Any], started_from: Source | None) -> Model | None:
    """What was trained, by what the servable's card says; None where that is gone."""
    if "model" not in card:
        return None
    history: Mapping[str, Sequence[float]] = card.get("history", {})
    return Model(
        type=card["model"],
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
    )


def gate_of(blessing: Found, evaluation: Evaluation | None, baseline: Source | None, evaluation_uri: str) -> Gate:
    """The gate's verdict with what it rests on.

    Args:
      blessing: the gate's.
      evaluation: None where the file is gone.
      baseline: the model that the candidate was compared with.
      evaluation_uri: where the evaluation is, or was.
    """
    message = str(blessing.properties.get("blessing_message", ""))
    return Gate(
        blessed=blessing.properties.get("blessed") == 1,
        reasons=tuple(message.splitlines()),
        primary_k=evaluation.primary_k if evaluation else None,
        checks=evaluation.verdict.checks if evaluation else (),
        metrics={s.key: s.metrics for s in evaluation.systems} if evaluation else {},
        requests=evaluation.sample.requests if evaluation else None,
        baseline=baseline,
        evaluation=evaluation_uri,
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
    )


def refusal_of(gate: Gate | None, canary: CanaryRun | None) -> str:
    """Who refused a model and the first reason, in one line; "" if nobody did."""
    who: list[str] = []
    reasons: list[str] = []
    if gate is not None and not gate.blessed:
        who.append("the recall gate")
        reasons += gate.reasons
    if canary is not None and not canary.passed:
        who.append("the canary")
        reasons += canary.failures
    if not who:
        return ""
    reasons = [reason.strip() for reason in reasons if reason.strip()]
    first = f": {reasons[0].splitlines()[0]}" if reasons else ""
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"refused by {' and '.join(who)}{first}{more}"


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
