"""The TFX face of the schema gate."""

import logging
import os
from typing import Any

from tfx import types
from tfx.components.example_validator.executor import ARTIFACT_PROPERTY_BLESSED_KEY
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils, writer_utils

from components.schema_gate import gate
from components.schema_gate.config import SchemaGateConfig
from components.schema_gate.findings import ANOMALIES_FILE, Anomalies, describe, find, refused_directory
from evaluation.ledger import STATISTICS, latest, record
from schema.artifacts import split_folder
from schema.settings import DataError

SCHEMA_FILE = "schema.pbtxt"

_logger = logging.getLogger(__name__)


class SchemaGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `SchemaGate`."""

    PARAMETERS = {  # noqa: RUF012
        "schema_text": component_spec.ExecutionParameter(type=str),
        "config_json": component_spec.ExecutionParameter(type=str),
        "overrides": component_spec.ExecutionParameter(type=str, optional=True),
        "ledger": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {  # noqa: RUF012
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "baseline_statistics": component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
    }
    OUTPUTS = {  # noqa: RUF012
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }


class Executor(base_executor.BaseExecutor):
    """Reads statistics, asks `gate`, writes what it found."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Validates every split.

        Raises:
          DataError: an error-level anomaly; the message names every one. The anomalies are then in
            `refused_directory`, because TFX removes the outputs of a step that failed.
        """
        current = artifact_utils.get_single_instance(input_dict["statistics"])
        ledger = exec_properties.get("ledger") or ""
        good = input_dict.get("baseline_statistics")
        splits = artifact_utils.decode_split_names(current.split_names)
        baseline = (
            good[0] if good else latest(ledger, STATISTICS, standard_artifacts.ExampleStatistics, current.uri, splits)
        )
        schema_text = exec_properties["schema_text"]
        anomalies = gate.validate(
            _load(current),
            gate.parse_schema(schema_text, "the schema"),
            SchemaGateConfig.from_json(
                exec_properties["config_json"], overrides=exec_properties.get("overrides") or ""
            ),
            _load(baseline) if baseline else None,
        )
        findings = find(anomalies)

        schema_uri = artifact_utils.get_single_uri(output_dict["schema"])
        io_utils.write_string_file(os.path.join(schema_uri, SCHEMA_FILE), schema_text)
        output = artifact_utils.get_single_instance(output_dict["anomalies"])
        output.split_names = artifact_utils.encode_split_names(list(anomalies))
        output.set_json_value_custom_property(
            ARTIFACT_PROPERTY_BLESSED_KEY,
            {split: int(not any(f.is_error and f.split == split for f in findings)) for split in anomalies},
        )
        _write(anomalies, output.uri)
        for line in describe(findings).splitlines():
            _logger.info("%s", line)
        errors = [finding for finding in findings if finding.is_error]
        if errors:
            _write(anomalies, refused_directory(output.uri))
            raise DataError(
                f"the data does not fit the schema:\n{describe(errors)}\n"
                "Mend the data or, if it is right, the file `schema_gate.schema_path` (`souk schema` drafts one)."
            )
        record(ledger, STATISTICS, current)


def _load(artifact: types.Artifact) -> dict[str, gate.Statistics]:
    return {
        split: stats_artifact_utils.load_statistics(artifact, split).proto()
        for split in artifact_utils.decode_split_names(artifact.split_names)
    }


def _write(anomalies: dict[str, Anomalies], directory: str) -> None:
    for split, split_anomalies in anomalies.items():
        path = os.path.join(directory, split_folder(split), ANOMALIES_FILE)
        writer_utils.write_anomalies(path, split_anomalies)


class SchemaGate(base_component.BaseComponent):
    """Stops the run where the data does not fit the schema; hands the schema on where it does."""

    SPEC_CLASS = SchemaGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        config: SchemaGateConfig,
        baseline_statistics: types.BaseChannel | None = None,
        ledger: str = "",
        overrides: str | RuntimeParameter = "",
    ):
        """Builds the node.

        Args:
          statistics: of the splits `train`, `eval` and `catalog`, or of a refreshed `catalog` alone.
          config: its schema file is read now, so that its text is part of the cache key.
          baseline_statistics: of the last good run, for drift, as a Resolver finds them.
          ledger: where the last good statistics are looked up, and these are recorded, where no Resolver can; see
            `evaluation.ledger`.
          overrides: single settings to replace, see `Settings.from_json`.

        Raises:
          InputError: the schema file is missing or no schema.
        """
        super().__init__(
            SchemaGateSpec(
                statistics=statistics,
                baseline_statistics=baseline_statistics,
                schema_text=gate.read_schema(config.schema_path),
                config_json=config.to_json(),
                overrides=overrides,
                ledger=ledger,
                schema=types.Channel(type=standard_artifacts.Schema),
                anomalies=types.Channel(type=standard_artifacts.ExampleAnomalies),
            )
        )
