"""A compiled pipeline as text that a person can read and diff; run as a program, writes the one known to be right."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import PipelineConfig, load

KNOWN = {
    "run": Path(__file__).parent / "compiled_graph.txt",
    "refresh": Path(__file__).parent / "compiled_refresh.txt",
}

SETTINGS = (
    "root=gs://shop/souk",
    "image=eu.gcr.io/shop/souk:1",
    "ingest.data.events=gs://shop/events/*.jsonl.gz",
    "ingest.data.catalog='gs://shop/catalog/{date}.jsonl.gz'",
    "ingest.data.users=gs://shop/users.jsonl.gz",
    "resources.default.memory_gb=16",
    "resources.steps.Trainer={cpu: 8, memory_gb: 52, accelerator: NVIDIA_TESLA_T4, accelerators: 1}",
    "resources.steps.SchemaGate={retries: 0}",
)


def cluster_config(*overrides: str) -> PipelineConfig:
    """The preset `tiny` as it could run on a cluster."""
    return load("tiny", (*SETTINGS, *overrides))


def describe(spec: dict[str, Any]) -> str:
    """Parameters, then every step: what it waits for, is given, makes, runs and gets."""
    lines = [f"pipeline {spec['pipelineInfo']['name']}, artifacts in {spec['defaultPipelineRoot']}", ""]
    for name, parameter in sorted(spec["root"]["inputDefinitions"]["parameters"].items()):
        default = repr(parameter["defaultValue"]) if "defaultValue" in parameter else "(required)"
        lines.append(f"parameter {name}: {parameter['parameterType']} = {default}")
    for name, task in sorted(spec["root"]["dag"]["tasks"].items()):
        component = spec["components"][task["componentRef"]["name"]]
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        lines += ["", name, *(f"  {line}" for line in _step(task, component, container))]
    return "\n".join(lines) + "\n"


def _step(task: dict[str, Any], component: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    yield f"after {', '.join(task.get('dependentTasks', [])) or 'nothing'}"
    for key, value in sorted(task["inputs"].get("artifacts", {}).items()):
        source = value["taskOutputArtifact"]
        yield f"{key} <- {source['producerTask']}.{source['outputArtifactKey']}"
    for key, value in sorted(task["inputs"].get("parameters", {}).items()):
        if "componentInputParameter" in value:
            yield f"{key} <- parameter {value['componentInputParameter']}"
        else:
            constant = str(value["runtimeValue"]["constant"])
            # Settings change more often than the graph does, and are checked where they belong.
            short = len(constant) < 80 and "\n" not in constant
            yield f"{key} = {constant or repr(constant)}" if short else f"{key} = ..."
    for key, value in sorted(component["outputDefinitions"]["artifacts"].items()):
        yield f"{key} -> {yaml.safe_load(value['artifactType']['instanceSchema'])['title']}"
    arguments = container["args"]
    assert arguments[0::2][:3] == [
        "--executor_class_path",
        "--json_serialized_invocation_args",
        "--json_serialized_inputs_spec_args",
    ]
    assert arguments[3] == "{{$}}"
    yield f"runs {arguments[1]} {' '.join(arguments[6:])}"
    yield f"by {' '.join(container['command'])} in {container['image']}"
    resources = container["resources"]
    got = [f"{resources['cpuLimit']:g} CPU", f"{resources['memoryLimit']:g} GB"]
    if "accelerator" in resources:
        got.append(f"{resources['accelerator']['count']} {resources['accelerator']['type']}")
    yield f"gets {', '.join(got)}"
    tries = task.get("retryPolicy", {}).get("maxRetryCount", 0)
    yield f"{'cached' if task.get('cachingOptions', {}).get('enableCache') else 'never cached'}, {tries} retries"


if __name__ == "__main__":
    from pipeline.compilation import compile_job

    for kind, path in KNOWN.items():
        path.write_text(describe(compile_job(cluster_config(), "vertex", kind=kind)["pipelineSpec"]))
