"""The TFX face of the recall gate."""

import logging
import os
from dataclasses import replace
from typing import Any

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils, path_utils

from components.recall_gate.config import GateConfig
from components.recall_gate.verdict import evaluate_and_judge
from evaluation.ledger import SERVABLES, latest, record
from evaluation.report.render import render_report
from evaluation.results import CANDIDATE, Evaluation, Verdict
from schema import lineage
from schema.artifacts import EVALUATION_FILE, EVALUATION_PROPERTY, EXAMPLES_PROPERTY

REPORT_FILE = "report.html"

_logger = logging.getLogger(__name__)


class RecallGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `RecallGate`."""

    PARAMETERS = {  # noqa: RUF012
        "config_json": component_spec.ExecutionParameter(type=str),
        "overrides": component_spec.ExecutionParameter(type=str, optional=True),
        "ledger": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {  # noqa: RUF012
        "servable": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "catalog": component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "baseline_servable": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
    }


class Executor(base_beam_executor.BaseBeamExecutor):
    """Evaluates the servable and writes the evaluation, its report and the blessing.

    A refusal is a result, not a failure: the run goes on and Pusher, which looks at the blessing, pushes
    nothing.
    """

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the gate; called by TFX."""
        servable = artifact_utils.get_single_instance(input_dict["servable"])
        ledger = exec_properties.get("ledger") or ""
        blessed = input_dict.get("baseline_servable")
        baseline = blessed[0] if blessed else latest(ledger, SERVABLES, standard_artifacts.Model, servable.uri)
        examples = input_dict.get("examples") or [lineage.requests(servable, standard_artifacts.Examples)]
        examples_uri = artifact_utils.get_single_uri(examples)
        catalog = input_dict.get("catalog")
        evaluation = evaluate_and_judge(
            path_utils.serving_model_path(servable.uri),
            examples_uri,
            GateConfig.from_json(exec_properties["config_json"], overrides=exec_properties.get("overrides") or ""),
            path_utils.serving_model_path(baseline.uri) if baseline else None,
            make_pipeline=self._make_beam_pipeline,
            part_dir=self._get_tmp_dir(),
            catalog_dir=artifact_utils.get_single_uri(catalog) if catalog else None,
            baseline_catalog_dir=(lineage.catalog(baseline) or None) if baseline else None,
        )
        if catalog and (newest := latest(ledger, SERVABLES, standard_artifacts.Model)):
            evaluation = replace(evaluation, verdict=_unless_overtaken(evaluation.verdict, servable, newest))
        written = artifact_utils.get_single_instance(output_dict["evaluation"])
        _write_evaluation(evaluation, written)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        _write_blessing(evaluation.verdict, servable, baseline, blessing)
        blessing.set_string_custom_property(EVALUATION_PROPERTY, written.uri)
        blessing.set_string_custom_property(EXAMPLES_PROPERTY, examples_uri)
        if evaluation.verdict.blessed:
            record(ledger, SERVABLES, servable)


def _unless_overtaken(verdict: Verdict, servable: types.Artifact, newest: types.Artifact) -> Verdict:
    """Refuses an older model with a new catalog if a newer model has been blessed since its index was begun."""
    if lineage.trained_model(servable).uri == lineage.trained_model(newest).uri:
        return verdict
    reason = "A newer model was blessed while this catalog was indexed; the next refresh gives the catalog to it."
    return replace(verdict, blessed=False, reasons=(reason, *(() if verdict.blessed else verdict.reasons)))


def _write_evaluation(evaluation: Evaluation, output: types.Artifact) -> None:
    io_utils.write_string_file(os.path.join(output.uri, EVALUATION_FILE), evaluation.to_json())
    report = render_report(evaluation)
    io_utils.write_string_file(os.path.join(output.uri, REPORT_FILE), report)
    candidate = evaluation.system(CANDIDATE)
    for name, estimate in candidate.metrics.items() if candidate is not None else ():
        output.set_float_custom_property(name, estimate.value)


def _write_blessing(
    verdict: Verdict, servable: types.Artifact, baseline: types.Artifact | None, blessing: types.Artifact
) -> None:
    """Writes what TFX's own Evaluator would write, so that Pusher and LatestBlessedModelStrategy read it."""
    file_name = constants.BLESSED_FILE_NAME if verdict.blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(os.path.join(blessing.uri, file_name), "")
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if verdict.blessed else constants.NOT_BLESSED_VALUE,
    )
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, servable.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, servable.id)
    if baseline is not None:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BLESSING_MESSAGE_KEY, "\n".join(verdict.reasons))
    for reason in verdict.reasons:
        _logger.info("%s: %s", "blessed" if verdict.blessed else "refused", reason)


class RecallGate(base_beam_component.BaseBeamComponent):
    """Blesses a servable that is shown to be good enough; says in a report why or why not."""

    SPEC_CLASS = RecallGateSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        servable: types.BaseChannel,
        config_json: str,
        examples: types.BaseChannel | None = None,
        catalog: types.BaseChannel | None = None,
        baseline_servable: types.BaseChannel | None = None,
        ledger: str = "",
        overrides: str | RuntimeParameter = "",
    ):
        """Builds the node.

        Args:
          servable: of IndexBuilder, the SavedModel with tower and index.
          config_json: a `GateConfig`; checked here, before anything runs.
          examples: of SoukExampleGen, with the splits `train`, `eval` and `catalog`; by default those that the servable
            says it was built of.
          catalog: examples whose catalog split was indexed in place of that of `examples`.
          baseline_servable: the latest blessed servable, as a Resolver finds it; nothing in a first run.
          ledger: where the latest blessed servable is looked up, and a newly blessed one is recorded, where no
            Resolver can; see `evaluation.ledger`.
          overrides: single settings to replace, see `Settings.from_json`.

        Raises:
          InputError: `config_json` is no `GateConfig`.
        """
        GateConfig.from_json(config_json)
        super().__init__(
            RecallGateSpec(
                servable=servable,
                examples=examples,
                catalog=catalog,
                baseline_servable=baseline_servable,
                config_json=config_json,
                overrides=overrides,
                ledger=ledger,
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
            )
        )
