"""The TFX face of the index builder."""

import os
import tempfile
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from components.index_builder.build import build_servable
from components.index_builder.config import IndexConfig
from schema.features import CATALOG_SPLIT, TRAIN_SPLIT

# The property of a servable that says where the trained model is that it was built of.
TRAINED_MODEL = "trained_model"


class IndexBuilderSpec(component_spec.ComponentSpec):
    """Inputs, parameters and output of `IndexBuilder`."""

    PARAMETERS = {  # noqa: RUF012
        "config_json": component_spec.ExecutionParameter(type=str),
        "overrides": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {  # noqa: RUF012
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
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
        model = artifact_utils.get_single_instance(input_dict["model"])
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        servable = artifact_utils.get_single_instance(output_dict["servable"])
        part_dir = os.path.join(self._get_tmp_dir() or tempfile.mkdtemp(), "embedded_catalogue")
        fileio.makedirs(part_dir)
        summary = build_servable(
            model_dir=path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)),
            catalog_pattern=_split_pattern(examples, CATALOG_SPLIT),
            request_pattern=_split_pattern(examples, TRAIN_SPLIT),
            output_dir=path_utils.serving_model_path(servable.uri),
            part_dir=part_dir,
            config=IndexConfig.from_json(
                exec_properties["config_json"], "config_json", exec_properties.get("overrides") or ""
            ),
            make_pipeline=self._make_beam_pipeline,
        )
        fileio.rmtree(part_dir)
        servable.set_string_custom_property(TRAINED_MODEL, model.uri)
        servable.set_string_custom_property("model", summary.model)
        servable.set_string_custom_property("index", summary.index)
        servable.set_int_custom_property("indexed_items", summary.indexed_items)


class IndexBuilder(base_beam_component.BaseBeamComponent):
    """Embeds the catalogue, chooses the index and writes the servable that is gated, pushed and served.

    Args:
      model: the Trainer's output.
      examples: the example generator's output; its catalog split is indexed.
      config_json: `IndexConfig.to_json()`.
      overrides: single settings to replace, see `Settings.from_json`.
    """

    SPEC_CLASS = IndexBuilderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        config_json: str,
        overrides: str | RuntimeParameter = "",
    ):
        super().__init__(
            IndexBuilderSpec(
                config_json=config_json,
                overrides=overrides,
                model=model,
                examples=examples,
                servable=types.Channel(type=standard_artifacts.Model),
            )
        )


def _split_pattern(examples: types.Artifact, split: str) -> str:
    return os.path.join(artifact_utils.get_split_uri([examples], split), "*")
