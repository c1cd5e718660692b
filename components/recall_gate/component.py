"""TFX component for the recall gate."""

import logging
import os
from dataclasses import replace

import apache_beam as beam
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import io_utils, path_utils

from components.recall_gate.config import GateConfig
from components.recall_gate.verdict import evaluate_and_judge, unless_overtaken
from evaluation.ledger import SERVABLES, latest, record
from evaluation.report.render import render_report
from evaluation.results import CANDIDATE, Evaluation, Verdict
from schema import lineage
from schema.artifacts import EVALUATION_FILE, EVALUATION_PROPERTY, EXAMPLES_PROPERTY

REPORT_FILE = "report.html"

_logger = logging.getLogger(__name__)


@component(use_beam=True)
def RecallGate(  # noqa: N802
    servable: InputArtifact[standard_artifacts.Model],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
    evaluation: OutputArtifact[standard_artifacts.ModelEvaluation],
    config_json: Parameter[str],
    examples: InputArtifact[standard_artifacts.Examples] = None,
    catalog: InputArtifact[standard_artifacts.Examples] = None,
    baseline_servable: InputArtifact[standard_artifacts.Model] = None,
    ledger: Parameter[str] = "",
    overrides: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Blesses a servable that is shown to be good enough; says in a report why or why not.

    A refusal is a result, not a failure: the run goes on and Pusher, which looks at the blessing, pushes nothing.

    Args:
      servable: of IndexBuilder, the SavedModel with tower and index.
      blessing: gets BLESSED or NOT_BLESSED, as of TFX's Evaluator.
      evaluation: gets the evaluation and its report.
      config_json: a `GateConfig`.
      examples: of SoukExampleGen, with the splits `train`, `eval` and `catalog`; by default those that the servable
        says it was built of.
      catalog: examples whose catalog split was indexed in place of that of `examples`.
      baseline_servable: the latest blessed servable, as a Resolver finds it; nothing in a first run.
      ledger: where the latest blessed servable is looked up, and a newly blessed one is recorded, where no Resolver
        can; see `evaluation.ledger`.
      overrides: single settings to replace, see `Settings.from_json`.
      beam_pipeline: whose workers ask the servables.
    """
    config = GateConfig.from_json(config_json, "config_json", overrides)
    baseline = baseline_servable or latest(ledger, SERVABLES, standard_artifacts.Model, servable.uri)
    requests = examples or lineage.requests(servable, standard_artifacts.Examples)
    evaluated = evaluate_and_judge(
        path_utils.serving_model_path(servable.uri),
        requests.uri,
        config,
        path_utils.serving_model_path(baseline.uri) if baseline else None,
        make_pipeline=lambda: beam_pipeline,
        part_dir=evaluation.uri,
        catalog_dir=catalog.uri if catalog else None,
        baseline_catalog_dir=(lineage.catalog(baseline) or None) if baseline else None,
    )
    if catalog and (newest := latest(ledger, SERVABLES, standard_artifacts.Model)):
        models = (lineage.trained_model(built).uri for built in (servable, newest))
        evaluated = replace(evaluated, verdict=unless_overtaken(evaluated.verdict, *models))
    _write_evaluation(evaluated, evaluation)
    _write_blessing(evaluated.verdict, servable, baseline, blessing)
    blessing.set_string_custom_property(EVALUATION_PROPERTY, evaluation.uri)
    blessing.set_string_custom_property(EXAMPLES_PROPERTY, requests.uri)
    if evaluated.verdict.blessed:
        record(ledger, SERVABLES, servable)


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
