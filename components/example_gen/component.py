"""TFX components for ingestion."""

import logging
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

import apache_beam as beam
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import BeamComponentParameter, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.example_gen.config import MILLISECONDS_PER_DAY, IngestConfig
from components.example_gen.fingerprint import catalog_fingerprint
from components.example_gen.ingest import ingest_catalog_into, ingest_into
from components.example_gen.labels import check_labels
from schema import features

# The property of examples that identifies the catalog in them, see `fingerprint.catalog_fingerprint`.
CATALOG_FINGERPRINT: Final = "catalog_fingerprint"

_logger = logging.getLogger(__name__)


@component(use_beam=True)
def SoukExampleGen(  # noqa: N802
    examples: OutputArtifact[standard_artifacts.Examples],
    config_json: Parameter[str],
    fingerprint: Parameter[str],
    date: Parameter[str] = "",
    overrides: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Turns search logs, a catalog and user profiles into one Examples artifact with three splits.

    Args:
      examples: gets the splits, `user_state.parquet`, `summary.json` and the dead letters; its custom properties are
        the counters of rows read, rows dropped by reason and examples written.
      config_json: an `IngestConfig`.
      fingerprint: of the input files, see `fingerprint.fingerprint`; it only keeps stale data out of the cache.
      date: takes the place of the configuration's `date`, if not "".
      overrides: single settings to replace, see `Settings.from_json`.
      beam_pipeline: that ingests.

    Raises:
      DataError: nobody clicked in a split, so that later steps would fail or refuse.
    """
    config = _describe(examples, features.SPLITS, config_json, date, overrides)
    summary = ingest_into(config, examples.uri, lambda: beam_pipeline)
    for line in summary.notes():
        _logger.info("%s", line)
    check_labels(summary.counters)
    # Spans of daily data are counted in days since 1970.
    examples.span = summary.end_ms // MILLISECONDS_PER_DAY
    _count(examples, summary.counters)


@component(use_beam=True)
def CatalogExampleGen(  # noqa: N802
    examples: OutputArtifact[standard_artifacts.Examples],
    config_json: Parameter[str],
    fingerprint: Parameter[str],
    date: Parameter[str] = "",
    overrides: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Turns the catalog alone into an Examples artifact with the one split `catalog`.

    Beside the split it holds `summary.json` and the dead letters; for the arguments see `SoukExampleGen`, the
    fingerprint is `fingerprint.catalog_fingerprint`.
    """
    config = _describe(examples, (features.CATALOG_SPLIT,), config_json, date, overrides)
    summary = ingest_catalog_into(config, examples.uri, lambda: beam_pipeline)
    for line in summary.notes():
        _logger.info("%s", line)
    _count(examples, summary.counters)


def _describe(
    examples: types.Artifact, splits: Sequence[str], config_json: str, date: str, overrides: str
) -> IngestConfig:
    """Says of the artifact what is in it before it is written; gives the configuration that the parameters make."""
    if date:
        overrides = f"{overrides} date={shlex.quote(date)}".strip()
    config = IngestConfig.from_json(config_json, "config_json", overrides)
    examples.split_names = artifact_utils.encode_split_names(list(splits))
    # Before the catalog is read: one that is replaced meanwhile is then taken for a new one, never for the old.
    examples.set_string_custom_property(CATALOG_FINGERPRINT, catalog_fingerprint(config))
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    return config


def _count(examples: types.Artifact, counters: Mapping[str, int]) -> None:
    for name, count in counters.items():
        examples.set_int_custom_property(name, count)
        _logger.info("%s: %d", name, count)
