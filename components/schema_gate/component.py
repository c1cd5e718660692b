"""TFX component for validating data against the schema."""

import logging
import os

from tfx import types
from tfx.components.example_validator.executor import ARTIFACT_PROPERTY_BLESSED_KEY
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, writer_utils

from components.schema_gate import gate
from components.schema_gate.config import SchemaGateConfig
from components.schema_gate.findings import ANOMALIES_FILE, Anomalies, describe, find, refused_directory
from evaluation.ledger import STATISTICS, latest, record
from schema.artifacts import split_folder
from schema.settings import DataError

SCHEMA_FILE = "schema.pbtxt"

_logger = logging.getLogger(__name__)


@component
def SchemaGate(  # noqa: N802
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    schema: OutputArtifact[standard_artifacts.Schema],
    anomalies: OutputArtifact[standard_artifacts.ExampleAnomalies],
    schema_text: Parameter[str],
    config_json: Parameter[str],
    baseline_statistics: InputArtifact[standard_artifacts.ExampleStatistics] = None,
    ledger: Parameter[str] = "",
    overrides: Parameter[str] = "",
) -> None:
    """Stops the run where the data does not fit the schema; hands the schema on where it does.

    Args:
      statistics: of the splits `train`, `eval` and `catalog`, or of a refreshed `catalog` alone.
      schema: gets the file of the schema.
      anomalies: gets those of every split.
      schema_text: the schema itself, so that it is part of the cache key; see `gate.read_schema`.
      config_json: a `SchemaGateConfig`.
      baseline_statistics: of the last good run, for drift, as a Resolver finds them.
      ledger: where the last good statistics are looked up, and these are recorded, where no Resolver can; see
        `evaluation.ledger`.
      overrides: single settings to replace, see `Settings.from_json`.

    Raises:
      DataError: an error-level anomaly; the message names every one. The anomalies are then in `refused_directory`,
        because TFX removes the outputs of a step that failed.
    """
    splits = artifact_utils.decode_split_names(statistics.split_names)
    baseline = baseline_statistics or latest(
        ledger, STATISTICS, standard_artifacts.ExampleStatistics, statistics.uri, splits
    )
    found = gate.validate(
        _load(statistics),
        gate.parse_schema(schema_text, "the schema"),
        SchemaGateConfig.from_json(config_json, "config_json", overrides),
        _load(baseline) if baseline else None,
    )
    findings = find(found)
    errors = [finding for finding in findings if finding.is_error]
    io_utils.write_string_file(os.path.join(schema.uri, SCHEMA_FILE), schema_text)
    anomalies.split_names = artifact_utils.encode_split_names(list(found))
    refused = {finding.split for finding in errors}
    anomalies.set_json_value_custom_property(
        ARTIFACT_PROPERTY_BLESSED_KEY, {split: int(split not in refused) for split in found}
    )
    _write(found, anomalies.uri)
    for line in describe(findings).splitlines():
        _logger.info("%s", line)
    if errors:
        _write(found, refused_directory(anomalies.uri))
        raise DataError(
            f"the data does not fit the schema:\n{describe(errors)}\n"
            "Fix the data or, if it is right, the file `schema_gate.schema_path` (`souk schema` drafts one)."
        )
    record(ledger, STATISTICS, statistics)


def _load(statistics: types.Artifact) -> dict[str, gate.Statistics]:
    return {
        split: stats_artifact_utils.load_statistics(statistics, split).proto()
        for split in artifact_utils.decode_split_names(statistics.split_names)
    }


def _write(anomalies: dict[str, Anomalies], directory: str) -> None:
    for split, split_anomalies in anomalies.items():
        path = os.path.join(directory, split_folder(split), ANOMALIES_FILE)
        writer_utils.write_anomalies(path, split_anomalies)
