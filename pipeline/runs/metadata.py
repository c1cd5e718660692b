"""What ML Metadata knows of a pipeline's runs, as plain frozen data."""

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from pipeline.progress import State

# Custom property of a failed execution: why, in one message. TFX keeps no reason of an exception.
FAILURE: Final = "souk_failure"
# And the exit code that it ended the run with.
FAILURE_CODE: Final = "souk_failure_code"
# Custom properties of a run: its settings as JSON, and its log.
CONFIG: Final = "souk_config"
LOG_PATH: Final = "souk_log_path"

# Property of a blessing: which servable it is about.
_CURRENT_MODEL: Final = "current_model_id"

# What the Pusher puts out, and its property that says as what.
_PUSHED_MODEL: Final = "PushedModel"
_PUSHED_VERSION: Final = "pushed_version"

# Steps that a refresh alone has.
MODEL_TO_REFRESH: Final = "ModelToRefresh"
CATALOG_EXAMPLE_GEN: Final = "CatalogExampleGen"

Kind = Literal["run", "refresh"]

_RESOLVER: Final = "tfx.dsl.components.common.resolver.Resolver"

_Execution = metadata_store_pb2.Execution
_STATES: Final[Mapping[int, State]] = {
    _Execution.NEW: "running",
    _Execution.RUNNING: "running",
    _Execution.COMPLETE: "done",
    _Execution.CACHED: "cached",
    _Execution.FAILED: "failed",
    _Execution.CANCELED: "cancelled",
}


@dataclass(frozen=True)
class Artifact:
    """One artifact: where it is and what its properties, declared and custom, say."""

    id: int
    type_name: str
    uri: str
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class StepRun:
    """One step within one run.

    Attributes:
      name: of the step, as in the pipeline.
      execution_id: its number in ML Metadata.
      state: `cached` where the outputs are those of an earlier run.
      started_ms, ended_ms: epoch milliseconds; `ended_ms` of a running step is its last update.
      failure: why it failed, "" otherwise.
      failure_code: the exit code that it ended the run with, 0 where it did not fail or that was not kept.
      is_lookup: it only finds artifacts of earlier runs, and has no work that a cache could save.
      parameters: what it was given beside its inputs.
      inputs, outputs: artifacts by the name of the channel.
    """

    name: str
    execution_id: int
    state: State
    started_ms: int
    ended_ms: int
    failure: str
    failure_code: int = 0
    is_lookup: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, tuple[Artifact, ...]] = field(default_factory=dict)
    outputs: Mapping[str, tuple[Artifact, ...]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long the step took."""
        return (self.ended_ms - self.started_ms) / 1000


@dataclass(frozen=True)
class Run:
    """One run of the pipeline.

    Attributes:
      number: 1 for the first run in this store.
      run_id: TFX's name of the run.
      steps: those that started, in the order in which they did.
      config: the settings it ran with, nested; empty if it was killed.
      log_path: its log; "" if it was killed.
    """

    number: int
    run_id: str
    steps: tuple[StepRun, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    log_path: str = ""

    @property
    def state(self) -> State:
        """The worst state of its steps; `cached` only where every step was."""
        states = {step.state for step in self.steps if not (step.is_lookup and step.state == "done")}
        order: tuple[State, ...] = ("failed", "cancelled", "running", "done", "cached")
        return next((state for state in order if state in states), "waiting")

    @property
    def kind(self) -> Kind:
        """Whether it trained a model, or refreshed the catalog of one."""
        names = {step.name for step in self.steps}
        return "refresh" if names & {MODEL_TO_REFRESH, CATALOG_EXAMPLE_GEN} else "run"

    @property
    def started_ms(self) -> int:
        """Epoch milliseconds of its first step's start, 0 for a run without steps."""
        return min((step.started_ms for step in self.steps), default=0)

    @property
    def seconds(self) -> float:
        """From the first step's start to the last step's end."""
        return (max((step.ended_ms for step in self.steps), default=0) - self.started_ms) / 1000

    def step(self, name: str) -> StepRun | None:
        """The step of this name, None if it did not start."""
        return next((step for step in self.steps if step.name == name), None)

    def output(self, step: str, key: str) -> Artifact | None:
        """The one artifact that a step put out under `key`, None if there is none."""
        found = self.step(step)
        artifacts = found.outputs.get(key, ()) if found else ()
        return artifacts[0] if artifacts else None


def state_of(execution: metadata_store_pb2.Execution) -> State:
    """Where an execution stands, in the words that Souk shows."""
    return _STATES.get(execution.last_known_state, "waiting")


def connection_config(path: str) -> metadata_store_pb2.ConnectionConfig:
    """How to open the SQLite file at `path`."""
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = path
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return config


def read_runs(path: str, pipeline: str, last: int | None = None) -> list[Run]:
    """Every run of a pipeline, or the `last` ones, oldest first; none where there is no such file yet."""
    if not os.path.exists(path):
        return []
    store = ml_metadata.MetadataStore(connection_config(path))
    node_of = _node_names(store, pipeline)
    return [
        Run(
            number,
            context.name,
            _steps(store, context.id, node_of),
            config=json.loads(_text(context, CONFIG) or "{}"),
            log_path=_text(context, LOG_PATH),
        )
        for number, context in list(enumerate(_run_contexts(store, pipeline), start=1))[-(last or 0) :]
    ]


def count_runs(path: str, pipeline: str) -> int:
    """How many runs of a pipeline there are."""
    if not os.path.exists(path):
        return 0
    return len(_run_contexts(ml_metadata.MetadataStore(connection_config(path)), pipeline))


def sources_of_last_blessed(path: str, pipeline: str) -> Mapping[str, Artifact] | None:
    """What the servable was built of that was blessed last, by the name of the channel; None where there is none yet.

    Looked up by itself, since an hourly refresh soon has left thousands of runs.
    """
    if not os.path.exists(path):
        return None
    store = ml_metadata.MetadataStore(connection_config(path))
    contexts = [context for context in _contexts(store, "pipeline") if context.name == pipeline]
    artifacts = [artifact for context in contexts for artifact in store.get_artifacts_by_context(context.id)]
    blessings = [values for artifact in artifacts if _CURRENT_MODEL in (values := _values(artifact.custom_properties))]
    blessed = [values[_CURRENT_MODEL] for values in blessings if values.get("blessed")]
    if not blessed:
        return None
    builds = [
        event.execution_id
        for event in store.get_events_by_artifact_ids([max(blessed)])
        if event.type == metadata_store_pb2.Event.OUTPUT
    ]
    inputs = [
        event for event in store.get_events_by_execution_ids(builds[:1]) if event.type == metadata_store_pb2.Event.INPUT
    ]
    by_id = _artifacts(store, {event.artifact_id for event in inputs})
    return {event.path.steps[0].key: by_id[event.artifact_id] for event in inputs}


def servable_of_version(path: str, version: int) -> Artifact | None:
    """The servable that was pushed as a version; None where none was from here."""
    if not os.path.exists(path):
        return None
    store = ml_metadata.MetadataStore(connection_config(path))
    kinds = {kind.name for kind in store.get_artifact_types()}
    pushes = store.get_artifacts_by_type(_PUSHED_MODEL) if _PUSHED_MODEL in kinds else []
    pushed = [p.id for p in pushes if _values(p.custom_properties).get(_PUSHED_VERSION) == str(version)]
    events = store.get_events_by_artifact_ids(pushed[-1:]) if pushed else []
    executions = [event.execution_id for event in events if event.type == metadata_store_pb2.Event.OUTPUT]
    inputs = store.get_events_by_execution_ids(executions[:1]) if executions else []
    models = {
        event.artifact_id
        for event in inputs
        if event.type == metadata_store_pb2.Event.INPUT and event.path.steps[0].key == "model"
    }
    return next(iter(_artifacts(store, models).values()), None)


def describe_last_run(path: str, pipeline: str, config_json: str, log_path: str) -> None:
    """Keeps with the newest run what it ran with."""
    store = ml_metadata.MetadataStore(connection_config(path))
    runs = _run_contexts(store, pipeline)
    if runs:
        runs[-1].custom_properties[CONFIG].string_value = config_json
        runs[-1].custom_properties[LOG_PATH].string_value = log_path
        store.put_contexts([runs[-1]])


def cancel_unfinished(path: str) -> list[tuple[str, int]]:
    """Marks what a killed run left as running as cancelled; the caller holds the run lock.

    Returns:
      Step name and execution id of each.
    """
    if not os.path.exists(path):
        return []
    store = ml_metadata.MetadataStore(connection_config(path))
    unfinished = [
        execution
        for execution in store.get_executions()
        if execution.last_known_state in (_Execution.NEW, _Execution.RUNNING)
    ]
    for execution in unfinished:
        execution.last_known_state = _Execution.CANCELED
    if unfinished:
        store.put_executions(unfinished)
    node_of = _node_names(store)
    return [(node_of.get(execution.id, ""), execution.id) for execution in unfinished]


def _contexts(store: ml_metadata.MetadataStore, type_name: str) -> list[metadata_store_pb2.Context]:
    known = {context_type.name for context_type in store.get_context_types()}
    return list(store.get_contexts_by_type(type_name)) if type_name in known else []


def _run_contexts(store: ml_metadata.MetadataStore, pipeline: str) -> list[metadata_store_pb2.Context]:
    """The runs of a pipeline, oldest first."""
    kinds = {kind.id for kind in store.get_context_types() if kind.name == "pipeline_run"}
    runs = [
        child
        for context in _contexts(store, "pipeline")
        if context.name == pipeline
        for child in store.get_children_contexts_by_context(context.id)
        if child.type_id in kinds
    ]
    return sorted(runs, key=lambda context: (context.create_time_since_epoch, context.id))


def _text(context: metadata_store_pb2.Context, name: str) -> str:
    return context.custom_properties[name].string_value if name in context.custom_properties else ""


def _node_names(store: ml_metadata.MetadataStore, pipeline: str | None = None) -> dict[int, str]:
    names = {}
    for context in _contexts(store, "node"):
        # Named `<pipeline>.<node>`; a node's name has no dot.
        owner, _, node = context.name.rpartition(".")
        if pipeline in (None, owner):
            for execution in store.get_executions_by_context(context.id):
                names[execution.id] = node
    return names


def _steps(store: ml_metadata.MetadataStore, run_context: int, node_of: dict[int, str]) -> tuple[StepRun, ...]:
    executions = store.get_executions_by_context(run_context)
    lookups = {kind.id for kind in store.get_execution_types() if kind.name == _RESOLVER}
    ids = [execution.id for execution in executions]
    artifacts: dict[tuple[int, int], dict[str, list[Artifact]]] = defaultdict(lambda: defaultdict(list))
    events = store.get_events_by_execution_ids(ids) if ids else []
    by_id = _artifacts(store, {event.artifact_id for event in events})
    for event in events:
        if event.path.steps:
            artifacts[event.execution_id, event.type][event.path.steps[0].key].append(by_id[event.artifact_id])

    def channel(execution_id: int, kind: int) -> dict[str, tuple[Artifact, ...]]:
        return {key: tuple(found) for key, found in artifacts[execution_id, kind].items()}

    steps = [
        StepRun(
            name=node_of.get(execution.id, ""),
            execution_id=execution.id,
            state=state_of(execution),
            started_ms=execution.create_time_since_epoch,
            ended_ms=execution.last_update_time_since_epoch,
            failure=execution.custom_properties[FAILURE].string_value if FAILURE in execution.custom_properties else "",
            failure_code=execution.custom_properties[FAILURE_CODE].int_value
            if FAILURE_CODE in execution.custom_properties
            else 0,
            is_lookup=execution.type_id in lookups,
            parameters=_values(execution.custom_properties),
            inputs=channel(execution.id, metadata_store_pb2.Event.INPUT),
            outputs=channel(execution.id, metadata_store_pb2.Event.OUTPUT),
        )
        for execution in executions
    ]
    return tuple(sorted(steps, key=lambda step: (step.started_ms, step.execution_id)))


def _artifacts(store: ml_metadata.MetadataStore, ids: set[int]) -> dict[int, Artifact]:
    if not ids:
        return {}
    types = {kind.id: kind.name for kind in store.get_artifact_types()}
    return {
        artifact.id: Artifact(
            id=artifact.id,
            type_name=types[artifact.type_id],
            uri=artifact.uri,
            properties={**_values(artifact.properties), **_values(artifact.custom_properties)},
        )
        for artifact in store.get_artifacts_by_id(sorted(ids))
    }


def _values(properties: Mapping[str, metadata_store_pb2.Value]) -> dict[str, Any]:
    return {name: getattr(value, value.WhichOneof("value")) for name, value in properties.items()}
