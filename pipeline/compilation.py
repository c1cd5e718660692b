"""The pipeline as a specification that Kubeflow Pipelines and Vertex AI run, schema 2.1.

TFX's KubeflowV2DagRunner writes steps, edges and containers. `complete` adds what it has no way to say: retries,
defaults of the parameters, and where artifacts go by default.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig

from pipeline.beam import data_paths
from pipeline.config import PipelineConfig
from pipeline.parameters import DATE, MEANINGS, PUSH_DIRECTORY
from pipeline.refresh import CREATE
from pipeline.resources import Resources
from pipeline.runs.metadata import Kind
from schema.file_errors import naming
from schema.settings import InputError

Target = Literal["kubeflow", "vertex"]
Json = dict[str, Any]

COMMAND: Final = ("python", "-m", "pipeline.step")
FIRST_RETRY: Final = "60s"
LAST_RETRY: Final = "1800s"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
_YAML: Final = (".yaml", ".yml")

_Resources = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec


def compile_job(config: PipelineConfig, target: Target, use_cache: bool = True, kind: Kind = "run") -> Json:
    """The pipeline as a `PipelineJob` in plain JSON values.

    Args:
      config: of the pipeline, with an image.
      target: where it is to run.
      use_cache: whether a step with unchanged inputs and parameters takes its outputs from an earlier run.
      kind: the whole pipeline, or the shorter one that refreshes the catalog.

    Raises:
      InputError: the configuration does not fit a cluster, or a pipeline refuses it.
    """
    check(config, target)
    pipelines = {name: create(config, use_cache, compiled=True) for name, create in CREATE.items()}
    config.resources.check(dict.fromkeys(node.id for made in pipelines.values() for node in made.components))
    pipeline = pipelines[kind]
    for node in pipeline.components:
        if isinstance(node, BaseComponent):
            node.with_platform_config(resource_spec(config.resources.of(node.id)))
    containers = KubeflowV2DagRunnerConfig(
        default_image=config.image, default_commands=list(COMMAND), use_pipeline_spec_2_1=True
    )
    job: Json = KubeflowV2DagRunner(containers).run(pipeline, write_out=False)
    complete(job["pipelineSpec"], config)
    return job


def check(config: PipelineConfig, target: Target) -> None:
    """Raises InputError where the configuration does not fit a cluster."""
    if not config.image:
        raise InputError("a compiled pipeline needs the image that its steps run in: give --image or set `image`")
    if not _NAME.fullmatch(config.name):
        raise InputError(f"`name` is {config.name!r}; on a cluster it may have small letters, digits and hyphens alone")
    for setting, path in _paths(config):
        if "://" not in path:
            raise InputError(
                f"`{setting}` is {path}, a path on this machine, which the steps on a cluster cannot see; "
                "give one that they can, such as gs://bucket/folder"
            )
    if target == "vertex" and not config.root.startswith("gs://"):
        raise InputError(f"`root` is {config.root}; Vertex keeps artifacts in Cloud Storage alone: gs://bucket/folder")


def resource_spec(
    resources: Resources,
) -> pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec:
    """Requests that are also the limits, in the fields of old backends and in those of new ones."""
    cpu, memory = f"{resources.cpu:g}", f"{resources.memory_gb:g}G"
    spec = _Resources(
        cpu_limit=resources.cpu,
        cpu_request=resources.cpu,
        memory_limit=resources.memory_gb,
        memory_request=resources.memory_gb,
        resource_cpu_limit=cpu,
        resource_cpu_request=cpu,
        resource_memory_limit=memory,
        resource_memory_request=memory,
    )
    if resources.accelerators:
        spec.accelerator.type = spec.accelerator.resource_type = resources.accelerator
        spec.accelerator.count = resources.accelerators
        spec.accelerator.resource_count = str(resources.accelerators)
    return spec


def complete(spec: Json, config: PipelineConfig) -> None:
    """Adds to a `PipelineSpec`, in place, what TFX's compiler leaves out."""
    spec["defaultPipelineRoot"] = config.artifacts_root
    defaults = dict.fromkeys(MEANINGS, "") | {PUSH_DIRECTORY: config.model_directory}
    for name, parameter in spec["root"]["inputDefinitions"]["parameters"].items():
        parameter["description"] = MEANINGS[name]
        if name != DATE:
            parameter["defaultValue"] = defaults[name]
    for name, task in spec["root"]["dag"]["tasks"].items():
        retries = config.resources.of(name).retries
        if retries:
            task["retryPolicy"] = {
                "maxRetryCount": retries,
                "backoffDuration": FIRST_RETRY,
                "backoffFactor": 2.0,
                "backoffMaxDuration": LAST_RETRY,
            }


def write_job(job: Json, path: Path, target: Target) -> None:
    """Writes a job: as YAML the pipeline's specification alone, as JSON with the job around it.

    Raises:
      InputError: the name of the file is of no form that the target's client reads.
    """
    if path.suffix in _YAML:
        text = yaml.safe_dump(job["pipelineSpec"], sort_keys=True, allow_unicode=True)
    elif path.suffix == ".json" and target == "vertex":
        text = json.dumps(job, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    else:
        forms = ".yaml" if target == "kubeflow" else ".yaml or .json"
        raise InputError(f"{path}: the client of {target} reads files that end with {forms}")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _paths(config: PipelineConfig) -> Iterator[tuple[str, str]]:
    yield "root", config.root
    yield "serving.model_dir" if config.serving.model_dir else "root", config.model_directory
    yield from data_paths(config.ingest)
