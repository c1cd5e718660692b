"""TFX component for mining hard negatives."""

import logging

from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.hard_negatives.config import HardNegativesConfig
from components.hard_negatives.mining import mine
from evaluation.ledger import SERVABLES, latest

_logger = logging.getLogger(__name__)


@component
def HardNegativeMiner(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    mined_examples: OutputArtifact[standard_artifacts.Examples],
    config_json: Parameter[str],
    servable: InputArtifact[standard_artifacts.Model] = None,
    ledger: Parameter[str] = "",
) -> None:
    """Gives the training requests items that the last blessed model ranks well though nobody took them.

    Args:
      examples: of SoukExampleGen.
      mined_examples: gets the same splits; its custom properties count what was mined.
      config_json: a `HardNegativesConfig`.
      servable: the last blessed servable, as a Resolver finds it; with none, the examples pass as they are.
      ledger: where the last blessed servable is looked up where no Resolver can; see `evaluation.ledger`.
    """
    blessed = servable or latest(ledger, SERVABLES, standard_artifacts.Model)
    mined = mine(
        examples.uri,
        path_utils.serving_model_path(blessed.uri) if blessed else None,
        mined_examples.uri,
        HardNegativesConfig.from_json(config_json, "config_json"),
    )
    mined_examples.split_names = examples.split_names
    mined_examples.span = examples.span
    examples_utils.set_payload_format(mined_examples, examples_utils.get_payload_format(examples))
    examples_utils.set_file_format(mined_examples, examples_utils.get_file_format(examples))
    for name, count in vars(mined).items():
        mined_examples.set_int_custom_property(name, count)
        _logger.info("%s: %d", name, count)
