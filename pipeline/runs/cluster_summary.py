"""The summary of a run on a cluster, which has no local store: what the run's last step knows of it, as a small file.

It has all that the artifacts on the way to the push tell of: data, model, index, gate, canary and push; not the steps,
which the backend shows. A run that breaks before the push, or takes even that from cache, has none.
"""

import json
import logging
import os
import re
from collections.abc import Sequence
from typing import Any, Final

import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils

from components.pusher import component as pusher
from pipeline.runs.collect import Artifacts, Found, assemble
from pipeline.runs.outcome import Files, RunOutcome, Source
from schema.artifacts import EVALUATION_PROPERTY, EXAMPLES_PROPERTY
from schema.lineage import TRAINED_MODEL

PIPELINE: Final = "pipeline"
SUMMARIES: Final = "summaries"

_logger = logging.getLogger(__name__)


def settings(pipeline: str, folder: str) -> dict[str, str]:
    """What Pusher's `custom_config` says for a summary to be written to `folder`."""
    return {PIPELINE: pipeline, SUMMARIES: folder}


class Executor(pusher.Executor):
    """Pushes, and then writes the summary of the run."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes; called by TFX. A `custom_config` of `settings` asks for the summary."""
        super().Do(input_dict, output_dict, exec_properties)
        push = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        servable, blessing, canary = (
            input_dict.get(name, [])
            for name in (
                standard_component_specs.MODEL_KEY,
                standard_component_specs.MODEL_BLESSING_KEY,
                standard_component_specs.INFRA_BLESSING_KEY,
            )
        )
        write_summary(exec_properties.get(standard_component_specs.CUSTOM_CONFIG_KEY), push, servable, blessing, canary)


class Pusher(pusher.Pusher):
    """The last step of a run on a cluster: pushes, and writes the summary of the run."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)


def write_summary(
    custom_config: str | None,
    pushed: types.Artifact,
    servable: Sequence[types.Artifact],
    blessing: Sequence[types.Artifact],
    canary: Sequence[types.Artifact],
) -> None:
    """Writes the summary of the run that `pushed` is of, where `custom_config` asks for one.

    A summary that cannot be written is logged and is no failure: by now a version may be in service, and a
    step that is tried again would push a second one.
    """
    given = json.loads(custom_config or "null") or {}
    if SUMMARIES not in given:
        return
    try:
        summary = summarize(given[PIPELINE], *(_found(each) for each in ([pushed], servable, blessing, canary)))
        fileio.makedirs(given[SUMMARIES])
        io_utils.write_string_file(os.path.join(given[SUMMARIES], f"{summary.run_id}.json"), summary.to_json())
    except Exception:
        _logger.exception("the summary of the run could not be written to %s", given[SUMMARIES])


def summarize(
    pipeline: str, pushed: Found | None, servable: Found | None, blessing: Found | None, canary: Found | None
) -> RunOutcome:
    """What came of the run that these artifacts, and the files that they name, are of."""
    assert pushed is not None
    sources = blessing.properties if blessing else {}
    evaluation, examples, baseline = (
        str(sources.get(name, "")) for name in (EVALUATION_PROPERTY, EXAMPLES_PROPERTY, "baseline_model")
    )
    made = Artifacts(
        examples=Found(examples) if examples else None,
        servable=servable,
        evaluation=Found(evaluation) if evaluation else None,
        blessing=blessing,
        canary=canary,
        pushed=pushed,
        trained=Source(str(servable.properties.get(TRAINED_MODEL, "")) if servable else ""),
        baseline=Source(baseline) if baseline else None,
    )
    return assemble(
        made, read, pipeline=pipeline, run=None, run_id=run_id_of(pushed.uri), files=Files(evaluation=evaluation)
    )


def run_id_of(uri: str) -> str:
    """The backend's name of the run whose Pusher writes to `uri`: the folder above the step's own.

    Kubeflow's are `<root>/<pipeline>/<run>/<step>/...`, Vertex' `<root>/<project>/<run>/<step>_<task>/...`.
    """
    found = re.search(r"([^/]+)/pusher[^/]*/", uri, re.IGNORECASE)
    return found[1] if found else uri.strip("/").replace("://", "-").replace("/", "-")


def read(path: str) -> str | None:
    """The text of a file in the bucket; None where there is none."""
    try:
        with fileio.open(path) as file:
            text: str = file.read()
            return text
    except (tf.errors.NotFoundError, FileNotFoundError):
        return None


def _found(artifacts: Sequence[types.Artifact]) -> Found | None:
    if not artifacts:
        return None
    [artifact] = artifacts
    held = artifact.mlmd_artifact.custom_properties
    return Found(artifact.uri, {name: _value(artifact, name, held[name]) for name in held})


def _value(artifact: types.Artifact, name: str, value: metadata_store_pb2.Value) -> Any:
    """A property of an artifact: as a step set it, or, as a cluster hands on those of earlier steps, in JSON."""
    kind = value.WhichOneof("value")
    return artifact.get_json_value_custom_property(name) if kind == "struct_value" else getattr(value, kind)
