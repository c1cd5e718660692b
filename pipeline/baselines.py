"""What a run is compared with: the last blessed model and the last good data, never the run's own.

On this machine Resolver nodes find these in ML Metadata. On a cluster no node does: the steps that compare look into
the ledger (`evaluation.ledger` says why), and `Baselines` hands them its folder in place of a node's output.

TFX's own `LatestBlessedModelStrategy` would, in a second run over unchanged inputs, find the very model that the
run has taken from cache. The gate's input would then have changed (no baseline before, one now), nothing after it
could come from cache, and one model would be pushed twice under two versions. These strategies leave out
what the current run itself holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import ml_metadata
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import artifact_utils, standard_artifacts

from evaluation.ledger import has_splits
from pipeline.runs.metadata import MODEL_TO_REFRESH

CURRENT: Final = "current"
MODEL: Final = "model"
EXAMPLES: Final = "examples"
MODEL_BLESSING: Final = "model_blessing"
STATISTICS: Final = "statistics"

Artifacts = dict[str, list[types.Artifact]]

_GOOD: Final = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)


class LastOtherBlessedModel(LatestBlessedModelStrategy):
    """The latest blessed model other than the current run's; of a run that has none yet, the latest at all."""

    def resolve_artifacts(self, store: ml_metadata.MetadataStore, input_dict: Artifacts) -> Artifacts | None:
        """Resolves `model` and `model_blessing`; both empty where there is no such model."""
        current = {artifact.id for artifact in input_dict.get(CURRENT, [])}
        others = {
            MODEL: [artifact for artifact in input_dict[MODEL] if artifact.id not in current],
            MODEL_BLESSING: list(input_dict[MODEL_BLESSING]),
        }
        resolved = super().resolve_artifacts(store, others) or {}
        return {**{name: [] for name in input_dict}, **resolved}


class LastBlessedTraining(LastOtherBlessedModel):
    """What the latest blessed servable was built of: the Trainer's model, and the examples of its requests."""

    def resolve_artifacts(self, store: ml_metadata.MetadataStore, input_dict: Artifacts) -> Artifacts | None:
        """Resolves `model`, `model_blessing` and, if asked for, `examples`; empty where nothing is blessed."""
        resolved = super().resolve_artifacts(store, input_dict)
        if not resolved or not resolved[MODEL]:
            return resolved
        [servable] = resolved[MODEL]
        built = [
            event.execution_id
            for event in store.get_events_by_artifact_ids([servable.id])
            if event.type == metadata_store_pb2.Event.OUTPUT
        ]
        built_of = {
            event.path.steps[0].key: event.artifact_id
            for event in store.get_events_by_execution_ids(built)
            if event.type == metadata_store_pb2.Event.INPUT
        }
        sources: Artifacts = {
            key: [artifact for artifact in input_dict[key] if artifact.id == built_of.get(key)]
            for key in (MODEL, EXAMPLES)
            if key in input_dict
        }
        return {**resolved, **sources}


class LastOtherGoodStatistics(ResolverStrategy):
    """The latest statistics, other than the current run's, that the schema gate has let through."""

    def resolve_artifacts(self, store: ml_metadata.MetadataStore, input_dict: Artifacts) -> Artifacts | None:
        """Resolves `statistics`; empty where there are none."""
        current = {artifact.id for artifact in input_dict[CURRENT]}
        # Those of a refreshed catalog have one split alone.
        splits = {name for own in input_dict[CURRENT] for name in artifact_utils.decode_split_names(own.split_names)}
        others = {
            artifact.id: artifact
            for artifact in input_dict[STATISTICS]
            if artifact.id not in current and has_splits(artifact, splits)
        }
        readers = [
            event
            for event in (store.get_events_by_artifact_ids(list(others)) if others else [])
            if event.type == metadata_store_pb2.Event.INPUT and event.path.steps[0].key == STATISTICS
        ]
        states = {
            execution.id: execution.last_known_state
            for execution in store.get_executions_by_id([event.execution_id for event in readers])
        }
        good = [event.artifact_id for event in readers if states[event.execution_id] in _GOOD]
        return {CURRENT: [], STATISTICS: [others[max(good)]] if good else []}


@dataclass(frozen=True)
class Baselines:
    """How the steps of one pipeline come by what they compare with.

    Attributes:
      ledger: the folder that steps look into; "" where nodes find it.
    """

    ledger: str

    def found_by(self, make: Callable[..., Resolver], **inputs: types.BaseChannel) -> Resolver | None:
        """The node that one of this module's functions makes; None where a step looks into the ledger."""
        return None if self.ledger else make(**inputs)


def output(node: Resolver | None, key: str) -> types.BaseChannel | None:
    """What a node of `Baselines.found_by` finds; None where there is no node."""
    return node.outputs[key] if node else None


def blessed_model(current: types.BaseChannel) -> Resolver:
    """The node that finds the baseline for the model in `current`."""
    return Resolver(
        strategy_class=LastOtherBlessedModel,
        current=current,
        model=types.Channel(type=standard_artifacts.Model, producer_component_id=current.producer_component_id),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("LastBlessedModel")


def model_to_mine() -> Resolver:
    """The node that finds the blessed model of an earlier run, before this run has trained one."""
    return Resolver(
        strategy_class=LastOtherBlessedModel,
        # Of any step: a channel of the index builder's would put this node after it. Only servables are blessed.
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("ModelToMine")


def model_to_start_from() -> Resolver:
    """The node that finds the trained model of the blessed servable of an earlier run, before this run trains one."""
    return Resolver(
        strategy_class=LastBlessedTraining,
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("ModelToStartFrom")


def model_to_refresh() -> Resolver:
    """The node that finds the trained model of the last blessed servable, and the examples of its requests."""
    return Resolver(
        strategy_class=LastBlessedTraining,
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        examples=types.Channel(type=standard_artifacts.Examples),
    ).with_id(MODEL_TO_REFRESH)


def good_statistics(current: types.BaseChannel) -> Resolver:
    """The node that finds the baseline for the statistics in `current`."""
    return Resolver(
        strategy_class=LastOtherGoodStatistics,
        current=current,
        statistics=types.Channel(type=standard_artifacts.ExampleStatistics),
    ).with_id("LastGoodStatistics")
