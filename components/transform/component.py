"""TFX component for the transform."""

import os

import apache_beam as beam
from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from components.transform.config import TransformConfig
from components.transform.job import transform_splits
from schema.features import CATALOG_SPLIT, SPLITS, TRAIN_SPLIT


@component(use_beam=True)
def Transform(  # noqa: N802
    transform_graph: OutputArtifact[standard_artifacts.TransformGraph],
    transformed_examples: OutputArtifact[standard_artifacts.Examples],
    config_json: Parameter[str],
    examples: InputArtifact[standard_artifacts.Examples],
    schema: InputArtifact[standard_artifacts.Schema],
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Learns the vocabularies and turns text and ids of all splits into numbers, by a graph that is served too.

    Args:
      transform_graph: gets the graph and the vocabularies.
      transformed_examples: gets the three splits.
      config_json: a `TransformConfig`.
      examples: the three splits as they came in; the catalog and what it is trained on are learned from.
      schema: of the examples.
      beam_pipeline: whose workers do the work.
    """
    transformed_examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
    examples_utils.set_payload_format(transformed_examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(transformed_examples, "tfrecords_gzip")
    raw, transformed = (
        {split: artifact_utils.get_split_uri([artifact], split) for split in SPLITS}
        for artifact in (examples, transformed_examples)
    )
    scratch = os.path.join(transform_graph.uri, ".unfinished")
    with beam_pipeline as pipeline:
        transform_splits(
            pipeline,
            io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri)),
            TransformConfig.from_json(config_json),
            analyzed=[raw[TRAIN_SPLIT], raw[CATALOG_SPLIT]],
            splits={raw[split]: transformed[split] for split in SPLITS},
            graph_dir=transform_graph.uri,
            scratch=scratch,
        )
    fileio.rmtree(scratch)
