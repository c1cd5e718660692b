"""TFX component for the canary."""

import logging
import tempfile
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts
from tfx.utils import io_utils, path_utils

from components.canary.config import CanaryConfig
from components.canary.probe import probe
from components.canary.result import CanaryResult
from schema import lineage

# The property that TFX's Pusher reads.
BLESSED_PROPERTY = "blessed"

_logger = logging.getLogger(__name__)


@component
def Canary(  # noqa: N802
    servable: InputArtifact[standard_artifacts.Model],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    config_json: Parameter[str],
    examples: InputArtifact[standard_artifacts.Examples] = None,
    catalog: InputArtifact[standard_artifacts.Examples] = None,
    overrides: Parameter[str] = "",
) -> None:
    """Blesses a servable that answers well in the real serving program; one that does not is not pushed.

    Args:
      servable: the candidate, its SavedModel at Format-Serving.
      blessing: gets INFRA_BLESSED or INFRA_NOT_BLESSED, and canary.json with what was found.
      config_json: a `CanaryConfig`.
      examples: Souk's examples; requests are taken from `eval`, known ids from `catalog`. By default those that the
        servable says it was built of.
      catalog: examples whose `catalog` takes the place of that of `examples`.
      overrides: single settings to replace, see `Settings.from_json`.
    """
    config = CanaryConfig.from_json(config_json, "config_json", overrides)
    with tempfile.TemporaryDirectory(prefix="souk-canary-model-") as scratch:
        folder = _local(path_utils.serving_model_path(servable.uri), Path(scratch) / "model")
        requests = examples or lineage.requests(servable, standard_artifacts.Examples)
        result = probe(folder, requests.uri, config, (catalog or requests).uri)
        written = Path(scratch) / "blessing"
        result.write(written)
        io_utils.copy_dir(str(written), blessing.uri)
    blessing.set_int_custom_property(BLESSED_PROPERTY, int(result.blessed))
    _log(result)


def _local(uri: str, folder: Path) -> Path:
    """The local folder of a model; one that lies in remote storage is copied to `folder`."""
    if fileio.exists(uri) and not Path(uri).exists():
        io_utils.copy_dir(uri, str(folder))
        return folder
    return Path(uri)


def _log(result: CanaryResult) -> None:
    for failure in result.failures:
        _logger.error("canary: %s", failure)
    if result.latency is not None:
        _logger.info("canary: asked %s", result.server)
        _logger.info("canary: latency p50 %.1f ms, p99 %.1f ms", result.latency.p50, result.latency.p99)
    _logger.info("canary: the candidate is %s", "blessed" if result.blessed else "not blessed")
