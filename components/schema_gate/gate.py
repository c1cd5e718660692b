"""Holds each split's statistics against the schema, in its environment, and against the last good data."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from google.protobuf import text_format
from tensorflow_data_validation.anomalies.proto import validation_config_pb2
from tensorflow_data_validation.api import validation_api
from tensorflow_data_validation.api.validation_options import ValidationOptions
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.schema_gate.config import SchemaGateConfig
from components.schema_gate.findings import Anomalies
from schema import features
from schema.settings import InputError

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList

_DRIFT_KINDS = (
    anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_CONTROL_DATA_MISSING,
    anomalies_pb2.AnomalyInfo.COMPARATOR_TREATMENT_DATA_MISSING,
)


def environment_of(split: str) -> str:
    """The schema environment in which a split is validated."""
    return features.CATALOG_ENVIRONMENT if split == features.CATALOG_SPLIT else features.SEARCH_ENVIRONMENT


def parse_schema(text: str, source: str) -> schema_pb2.Schema:
    """A schema out of the text form of its protocol buffer.

    Raises:
      InputError: the text is no schema, or lacks an environment that the splits are validated in.
    """
    schema = schema_pb2.Schema()
    try:
        text_format.Parse(text, schema)
    except text_format.ParseError as error:
        raise InputError(
            f"{source} is not a TFDV schema in text form: {error}. "
            "Mend that line, or write a new draft with `souk schema`."
        ) from None
    needed = {features.SEARCH_ENVIRONMENT, features.CATALOG_ENVIRONMENT}
    missing = sorted(needed - set(schema.default_environment))
    if missing:
        lines = " ".join(f'default_environment: "{name}"' for name in missing)
        raise InputError(f"{source} lacks the environment {' and '.join(missing)}; add the line {lines}")
    return schema


def read_schema(path: str) -> str:
    """The text of the schema file at `path`, checked.

    Raises:
      InputError: there is no such file, or it is no schema.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the schema file {path} cannot be read ({error}); give `schema_gate.schema_path` the path of a "
            "TFDV schema in text form, or write one with `souk schema`"
        ) from None
    parse_schema(text, path)
    return text


def validate(
    statistics: Mapping[str, Statistics],
    schema: schema_pb2.Schema,
    config: SchemaGateConfig,
    baseline: Mapping[str, Statistics] | None = None,
) -> dict[str, Anomalies]:
    """Anomalies of each split.

    Args:
      statistics: by split, over the whole split.
      schema: with the SEARCH and the CATALOG environment.
      config: what counts as an error.
      baseline: statistics of the last good run by split; those of `train` and `catalog` are the ones that
        drift is measured against. `eval` is short and its days of the week change, so it is left out.
    """
    options = ValidationOptions(
        new_features_are_warnings=config.new_features == "warning",
        severity_overrides=_drift_severity(config),
    )
    drifting = (features.TRAIN_SPLIT, features.CATALOG_SPLIT) if config.drift != "off" else ()
    return {
        split: validation_api.validate_statistics_internal(
            split_statistics,
            schema,
            environment=environment_of(split),
            previous_span_statistics=(baseline or {}).get(split) if split in drifting else None,
            validation_options=options,
        )
        for split, split_statistics in statistics.items()
    }


def _drift_severity(config: SchemaGateConfig) -> list[validation_config_pb2.SeverityOverride]:
    level = anomalies_pb2.AnomalyInfo.ERROR if config.drift == "error" else anomalies_pb2.AnomalyInfo.WARNING
    return [validation_config_pb2.SeverityOverride(type=kind, severity=level) for kind in _DRIFT_KINDS]
