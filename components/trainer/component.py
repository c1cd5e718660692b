"""TFX component for training: TFX's Trainer, given Souk's settings and the model to start from."""

from typing import Any, Final

from tfx import types
from tfx.components.trainer import executor as stock_executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import trainer_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from evaluation.ledger import SERVABLES, latest
from schema import features
from schema.lineage import trained_model
from trainer.config import CUSTOM_CONFIG_KEY, TrainerConfig

RUN_FN: Final = "trainer.run_fn.run_fn"


class TrainerSpec(standard_component_specs.TrainerSpec):
    """The stock inputs, outputs and parameters, and Souk's settings."""

    PARAMETERS = {  # noqa: RUF012
        **standard_component_specs.TrainerSpec.PARAMETERS,
        "config_json": component_spec.ExecutionParameter(type=str),
        "overrides": component_spec.ExecutionParameter(type=str, optional=True),
        "ledger": component_spec.ExecutionParameter(type=str, optional=True),
    }


class Executor(stock_executor.GenericExecutor):
    """Hands the settings to the stock executor as it wants them."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains; called by TFX."""
        config = TrainerConfig.from_json(
            exec_properties["config_json"], "config_json", exec_properties.get("overrides") or ""
        )
        inputs = dict(input_dict)
        key = standard_component_specs.BASE_MODEL_KEY
        if not inputs.get(key) and (earlier := earlier_training(exec_properties.get("ledger") or "")):
            inputs[key] = [earlier]
        custom = {standard_component_specs.CUSTOM_CONFIG_KEY: json_utils.dumps({CUSTOM_CONFIG_KEY: config.to_json()})}
        super().Do(inputs, output_dict, {**exec_properties, **custom})


def earlier_training(ledger: str) -> types.Artifact | None:
    """What the Trainer had made of which the last blessed servable in `ledger` was built; None where there is none."""
    servable = latest(ledger, SERVABLES, standard_artifacts.Model)
    return None if servable is None else trained_model(servable)


class Trainer(base_component.BaseComponent):
    """Trains by `trainer.run_fn`.

    Args:
      examples: of Transform.
      transform_graph: of Transform.
      schema: of SchemaGate.
      config_json: a `TrainerConfig`.
      base_model: the model to start from, as a Resolver finds it.
      ledger: where the model to start from is looked up where no Resolver can; see `evaluation.ledger`.
      overrides: single settings to replace, see `Settings.from_json`.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        schema: types.BaseChannel,
        config_json: str,
        base_model: types.BaseChannel | None = None,
        ledger: str = "",
        overrides: str | RuntimeParameter = "",
    ):
        super().__init__(
            TrainerSpec(
                examples=examples,
                transform_graph=transform_graph,
                schema=schema,
                base_model=base_model,
                run_fn=RUN_FN,
                train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN_SPLIT]),
                eval_args=trainer_pb2.EvalArgs(splits=[features.EVAL_SPLIT]),
                config_json=config_json,
                overrides=overrides,
                ledger=ledger,
                model=types.Channel(type=standard_artifacts.Model),
                model_run=types.Channel(type=standard_artifacts.ModelRun),
            )
        )
