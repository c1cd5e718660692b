"""The TFX face of ingestion."""

import logging
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, component_spec, standard_artifacts

from components.example_gen.config import MILLISECONDS_PER_DAY, IngestConfig
from components.example_gen.fingerprint import catalog_fingerprint
from components.example_gen.ingest import ingest_catalog_into, ingest_into
from schema import features

# The property of examples that tells which catalog is in them, see `fingerprint.catalog_fingerprint`.
CATALOG_FINGERPRINT: Final = "catalog_fingerprint"

_logger = logging.getLogger(__name__)


class SoukExampleGenSpec(component_spec.ComponentSpec):
    """Parameters and output of `SoukExampleGen`."""

    PARAMETERS = {  # noqa: RUF012
        "config_json": component_spec.ExecutionParameter(type=str),
        "fingerprint": component_spec.ExecutionParameter(type=str),
        "date": component_spec.ExecutionParameter(type=str, optional=True),
        "overrides": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}  # noqa: RUF012
    OUTPUTS = {  # noqa: RUF012
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the ingestion job into the artifact's folder and describes the artifact."""

    splits: Sequence[str] = features.SPLITS

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Ingests; called by TFX."""
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        config = _given(exec_properties)
        examples.split_names = artifact_utils.encode_split_names(list(self.splits))
        # Before the catalog is read: one that is replaced meanwhile is then taken for a new one, never for the old.
        examples.set_string_custom_property(CATALOG_FINGERPRINT, catalog_fingerprint(config))
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        for name, count in self.ingest(config, examples).items():
            examples.set_int_custom_property(name, count)
            _logger.info("%s: %d", name, count)

    def ingest(self, config: IngestConfig, examples: types.Artifact) -> Mapping[str, int]:
        """Writes the splits; gives what was counted."""
        summary = ingest_into(config, examples.uri, self._make_beam_pipeline)
        for line in summary.action_lines():
            _logger.info("%s", line)
        # Spans of daily data are counted in days since 1970.
        examples.span = summary.end_ms // MILLISECONDS_PER_DAY
        return summary.counters


class CatalogExecutor(Executor):
    """Runs the ingestion job for the catalog alone."""

    splits = (features.CATALOG_SPLIT,)

    def ingest(self, config: IngestConfig, examples: types.Artifact) -> Mapping[str, int]:
        """Writes the catalog's split; gives what was counted."""
        return ingest_catalog_into(config, examples.uri, self._make_beam_pipeline).counters


def _given(exec_properties: Mapping[str, Any]) -> IngestConfig:
    overrides = exec_properties.get("overrides") or ""
    if date := exec_properties.get("date"):
        overrides = f"{overrides} date={shlex.quote(date)}".strip()
    return IngestConfig.from_json(exec_properties["config_json"], "config_json", overrides)


class SoukExampleGen(base_beam_component.BaseBeamComponent):
    """Turns search logs, a catalog and user profiles into one Examples artifact with three splits.

    Beside the splits the artifact holds `user_state.parquet`, `summary.json` and the dead letters; its custom
    properties are the counters of rows read, rows dropped by reason and examples written.

    Args:
      config_json: `IngestConfig.to_json()`.
      fingerprint: of the input files, see `fingerprint.fingerprint`; it only keeps stale data out of the cache.
      date: takes the place of the configuration's `date`, if not "".
      overrides: single settings to replace, see `Settings.from_json`.
    """

    SPEC_CLASS = SoukExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        config_json: str,
        fingerprint: str | RuntimeParameter,
        date: str | RuntimeParameter = "",
        overrides: str | RuntimeParameter = "",
    ):
        super().__init__(
            SoukExampleGenSpec(
                config_json=config_json,
                fingerprint=fingerprint,
                date=date,
                overrides=overrides,
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )


class CatalogExampleGen(SoukExampleGen):
    """Turns the catalog alone into an Examples artifact with the one split `catalog`.

    Beside the split it holds `summary.json` and the dead letters; for the arguments see `SoukExampleGen`, the
    fingerprint is `fingerprint.catalog_fingerprint`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(CatalogExecutor)
