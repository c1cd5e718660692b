"""TFX component for building the index."""

import os
from dataclasses import dataclass
from typing import Final

import apache_beam as beam
from tfx import types
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from components.index_builder.build import build_servable
from components.index_builder.config import IndexConfig
from evaluation.ledger import SERVABLES, latest
from schema import lineage
from schema.artifacts import DELTA_BASIS_FOLDER
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


@component(use_beam=True)
def IndexBuilder(  # noqa: N802
    servable: OutputArtifact[standard_artifacts.Model],
    config_json: Parameter[str],
    model: InputArtifact[standard_artifacts.Model] = None,
    examples: InputArtifact[standard_artifacts.Examples] = None,
    catalog: InputArtifact[standard_artifacts.Examples] = None,
    ledger: Parameter[str] = "",
    overrides: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Embeds the catalog, chooses the index and writes the servable that is gated, pushed and served.

    Args:
      servable: gets the SavedModel with tower and index; its custom properties say what it was built of.
      config_json: an `IndexConfig`.
      model: the Trainer's output; by default what the servable was built of that was blessed last.
      examples: that the model was trained on; by default those of that servable.
      catalog: examples whose catalog split is indexed in place of that of `examples`.
      ledger: where the servable that was blessed last is looked up where no Resolver can; see `evaluation.ledger`.
      overrides: single settings to replace, see `Settings.from_json`.
      beam_pipeline: whose workers embed the catalog.
    """
    sources = find_sources(model, examples, catalog, ledger)
    part_dir = os.path.join(servable.uri, "embedded_catalog")
    fileio.makedirs(part_dir)
    summary = build_servable(
        model_dir=path_utils.serving_model_path(sources.model.uri, path_utils.is_old_model_artifact(sources.model)),
        catalog_pattern=_split_pattern(sources.catalog, CATALOG_SPLIT),
        request_pattern=_split_pattern(sources.requests, TRAIN_SPLIT),
        output_dir=path_utils.serving_model_path(servable.uri),
        part_dir=part_dir,
        config=IndexConfig.from_json(config_json, "config_json", overrides),
        make_pipeline=lambda: beam_pipeline,
        basis_dir=os.path.join(servable.uri, DELTA_BASIS_FOLDER),
    )
    fileio.rmtree(part_dir)
    lineage.describe(servable, sources.model, sources.requests, sources.catalog.uri)
    servable.set_string_custom_property("model", summary.model)
    servable.set_string_custom_property("index", summary.index)
    servable.set_int_custom_property("indexed_items", summary.indexed_items)


def find_sources(
    model: types.Artifact | None, requests: types.Artifact | None, catalog: types.Artifact | None, ledger: str
) -> Sources:
    """The inputs, or in the place of the model and its requests those of the servable that was blessed last.

    Raises:
      InputError: there is neither.
    """
    if model is None and (blessed := latest(ledger, SERVABLES, standard_artifacts.Model)):
        model, requests = lineage.trained_model(blessed), lineage.requests(blessed, standard_artifacts.Examples)
    if model is None or requests is None:
        raise InputError(NOTHING_BLESSED)
    return Sources(model, requests, catalog or requests)


def _split_pattern(examples: types.Artifact, split: str) -> str:
    return os.path.join(artifact_utils.get_split_uri([examples], split), "*")
