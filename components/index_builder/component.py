"""The TFX face of the index builder."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tfx import types
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from components.index_builder.build import build_servable
from components.index_builder.config import IndexConfig
from evaluation.ledger import SERVABLES, latest
from schema import lineage
from schema.features import CATALOG_SPLIT, TRAIN_SPLIT
from schema.settings import InputError

NOTHING_BLESSED: Final = (
    "no model has been blessed yet whose catalog could be refreshed; run `souk run` first, which trains, gates and "
    "pushes one"
)


@dataclass(frozen=True)
class Sources:
    """What a servable is built of: the trained model, the examples of its requests, and those of its catalog."""

    model: types.Artifact
    requests: types.Artifact
    catalog: types.Artifact


class IndexBuilderSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of `IndexBuilder`."""

    PARAMETERS = {  # noqa: RUF012
        "config_json": component_spec.ExecutionParameter(type=str),
        "overrides": component_spec.ExecutionParameter(type=str, optional=True),
        "ledger": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {  # noqa: RUF012
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "catalog": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    OUTPUTS = {"servable": component_spec.ChannelParameter(type=standard_artifacts.Model)}  # noqa: RUF012


class Executor(base_beam_executor.BaseBeamExecutor):
    """Builds the servable into the artifact's folder and describes it."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Builds; called by TFX."""
        sources = find_sources(input_dict, exec_properties.get("ledger") or "")
        model = sources.model
        servable = artifact_utils.get_single_instance(output_dict["servable"])
        part_dir = os.path.join(self._get_tmp_dir() or tempfile.mkdtemp(), "embedded_catalog")
        fileio.makedirs(part_dir)
        summary = build_servable(
            model_dir=path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)),
            catalog_pattern=_split_pattern(sources.catalog, CATALOG_SPLIT),
            request_pattern=_split_pattern(sources.requests, TRAIN_SPLIT),
            output_dir=path_utils.serving_model_path(servable.uri),
            part_dir=part_dir,
            config=IndexConfig.from_json(
                exec_properties["config_json"], "config_json", exec_properties.get("overrides") or ""
            ),
            make_pipeline=self._make_beam_pipeline,
        )
        fileio.rmtree(part_dir)
        lineage.describe(servable, model, sources.requests, sources.catalog.uri)
        servable.set_string_custom_property("model", summary.model)
        servable.set_string_custom_property("index", summary.index)
        servable.set_int_custom_property("indexed_items", summary.indexed_items)


def find_sources(input_dict: Mapping[str, Sequence[types.Artifact]], ledger: str) -> Sources:
    """The inputs, or in the place of the model and its requests those of the servable that was blessed last.

    Raises:
      InputError: there is neither.
    """
    model, requests, catalog = (next(iter(input_dict.get(key) or ()), None) for key in ("model", "examples", "catalog"))
    if model is None and (servable := latest(ledger, SERVABLES, standard_artifacts.Model)):
        model, requests = lineage.trained_model(servable), lineage.requests(servable, standard_artifacts.Examples)
    if model is None or requests is None:
        raise InputError(NOTHING_BLESSED)
    return Sources(model, requests, catalog or requests)


class IndexBuilder(base_beam_component.BaseBeamComponent):
    """Embeds the catalog, chooses the index and writes the servable that is gated, pushed and served.

    Args:
      model: the Trainer's output; by default what the servable was built of that was blessed last.
      examples: that the model was trained on; by default those of that servable.
      config_json: `IndexConfig.to_json()`.
      catalog: examples whose catalog split is indexed in place of that of `examples`.
      ledger: where the servable that was blessed last is looked up where no Resolver can; see `evaluation.ledger`.
      overrides: single settings to replace, see `Settings.from_json`.
    """

    SPEC_CLASS = IndexBuilderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        config_json: str,
        model: types.BaseChannel | None = None,
        examples: types.BaseChannel | None = None,
        catalog: types.BaseChannel | None = None,
        ledger: str = "",
        overrides: str | RuntimeParameter = "",
    ):
        super().__init__(
            IndexBuilderSpec(
                config_json=config_json,
                overrides=overrides,
                ledger=ledger,
                model=model,
                examples=examples,
                catalog=catalog,
                servable=types.Channel(type=standard_artifacts.Model),
            )
        )


def _split_pattern(examples: types.Artifact, split: str) -> str:
    return os.path.join(artifact_utils.get_split_uri([examples], split), "*")
