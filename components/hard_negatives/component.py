"""The TFX face of the mining of hard negatives."""

import logging
from typing import Any

from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from components.hard_negatives.config import HardNegativesConfig
from components.hard_negatives.mining import mine
from evaluation.ledger import SERVABLES, latest

_logger = logging.getLogger(__name__)


class HardNegativeMinerSpec(component_spec.ComponentSpec):
    """Inputs, output and parameter of `HardNegativeMiner`."""

    PARAMETERS = {  # noqa: RUF012
        "config_json": component_spec.ExecutionParameter(type=str),
        "ledger": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {  # noqa: RUF012
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "servable": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"mined_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}  # noqa: RUF012


class Executor(base_executor.BaseExecutor):
    """Mines into the artifact's folder and describes the artifact."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Mines; called by TFX."""
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        ledger = exec_properties.get("ledger") or ""
        found = input_dict.get("servable")
        blessed = found[0] if found else latest(ledger, SERVABLES, standard_artifacts.Model)
        output = artifact_utils.get_single_instance(output_dict["mined_examples"])
        mined = mine(
            examples.uri,
            path_utils.serving_model_path(blessed.uri) if blessed else None,
            output.uri,
            HardNegativesConfig.from_json(exec_properties["config_json"], "config_json"),
        )
        output.split_names = examples.split_names
        output.span = examples.span
        examples_utils.set_payload_format(output, examples_utils.get_payload_format(examples))
        examples_utils.set_file_format(output, examples_utils.get_file_format(examples))
        for name, count in vars(mined).items():
            output.set_int_custom_property(name, count)
            _logger.info("%s: %d", name, count)


class HardNegativeMiner(base_component.BaseComponent):
    """Gives the training requests items that the last blessed model ranks well though nobody took them.

    Args:
      examples: of SoukExampleGen.
      servable: the last blessed servable, as a Resolver finds it; with none, the examples pass as they are.
      ledger: where the last blessed servable is looked up where no Resolver can; see `evaluation.ledger`.
      config_json: `HardNegativesConfig.to_json()`.
    """

    SPEC_CLASS = HardNegativeMinerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        config_json: str,
        servable: types.BaseChannel | None = None,
        ledger: str = "",
    ):
        super().__init__(
            HardNegativeMinerSpec(
                examples=examples,
                servable=servable,
                config_json=config_json,
                ledger=ledger,
                mined_examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
