"""Plays the cluster's part in a run of a compiled pipeline, on local folders.

What Kubeflow's and Vertex's drivers do is done here: parameters are put in, artifacts get a place and a name, a failed
step is tried again. Each step is the very command line of its container, in a process of its own that shares nothing
with any other but the folders.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.schedule.plan import SCHEDULED_TIME
from tests.clean_environment import Image

Json = dict[str, Any]
# What a driver puts in the place of this is all that a container learns of its step.
_EXECUTOR_INPUT = "{{$}}"


class StepError(Exception):
    """A step failed as often as it may; the message is what it printed."""


@dataclass
class Step:
    """What became of one step: how often it was tried, and its artifacts by key."""

    attempts: int
    outputs: dict[str, Json]

    def property(self, output: str, name: str) -> Any:
        """A property of one of its artifacts."""
        return self.outputs[output]["metadata"].get(name)


@dataclass
class Cluster:
    """A cluster whose buckets are folders.

    Attributes:
      buckets: local folders by their URI (`gs://shop`).
      scratch: holds the steps' metadata files and empty working folders.
      image: what the steps' containers are made of.
      moment: for which a schedule starts the runs, RFC 3339.
    """

    buckets: dict[str, Path]
    scratch: Path
    image: Image
    moment: str = ""
    _runs: int = 0
    _artifacts: int = 0

    def run(
        self, compiled: Path, parameters: dict[str, str], done: Mapping[str, Step] | None = None
    ) -> dict[str, Step]:
        """Runs a compiled pipeline, one step after another.

        Args:
          compiled: what `souk compile` wrote, as YAML.
          parameters: of the run.
          done: steps that have been run, as a cache would hand them on.

        Returns:
          What became of each step.

        Raises:
          StepError: a step failed as often as it may.
        """
        spec = yaml.safe_load(self._local(compiled.read_text()))
        self._runs += 1
        given = self._parameters(spec, parameters)
        steps = dict(done or {})
        for name in _in_order(spec["root"]["dag"]["tasks"]):
            if name not in steps:
                steps[name] = self._step(spec, name, given, steps)
        return steps

    def _local(self, text: str) -> str:
        for uri, folder in self.buckets.items():
            text = text.replace(uri, str(folder))
        return text

    def _parameters(self, spec: Json, parameters: dict[str, str]) -> dict[str, Any]:
        declared = spec["root"]["inputDefinitions"]["parameters"]
        assert set(parameters) <= set(declared), "the pipeline has no such parameter"
        given = {name: value["defaultValue"] for name, value in declared.items() if "defaultValue" in value}
        given |= {name: self._local(value) for name, value in parameters.items()}
        assert set(given) == set(declared), "a parameter without a default was not given"
        return given

    def _step(self, spec: Json, name: str, given: dict[str, Any], steps: dict[str, Step]) -> Step:
        task = spec["root"]["dag"]["tasks"][name]
        component = spec["components"][task["componentRef"]["name"]]
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        values = {
            key: given[value["componentInputParameter"]]
            if "componentInputParameter" in value
            else self._resolved(value["runtimeValue"]["constant"])
            for key, value in task["inputs"].get("parameters", {}).items()
        }
        sources = {key: value["taskOutputArtifact"] for key, value in task["inputs"].get("artifacts", {}).items()}
        inputs = {
            key: steps[source["producerTask"]].outputs[source["outputArtifactKey"]] for key, source in sources.items()
        }
        assert set(values) == set(component["inputDefinitions"].get("parameters", {}))
        assert set(inputs) == set(component["inputDefinitions"].get("artifacts", {}))
        # The folders of a step that is tried again are those of its first attempt, with what that one left there.
        outputs = self._provision(component, Path(spec["defaultPipelineRoot"]) / f"run-{self._runs}" / name)
        attempts = 1 + task.get("retryPolicy", {}).get("maxRetryCount", 0)
        for attempt in range(1, attempts + 1):
            folder = self.scratch / f"run-{self._runs}" / f"{name}-{attempt}"
            try:
                written = self._execute(container, values, inputs, outputs, folder)
            except StepError:
                if attempt == attempts:
                    raise
                continue
            for key, artifact in outputs.items():
                # A driver takes over the address and the properties that the step wrote; name and type are its own.
                artifact["uri"] = written[key].get("uri", artifact["uri"])
                artifact["metadata"] |= written[key].get("metadata", {})
            return Step(attempt, outputs)
        raise AssertionError("a step has at least one attempt")

    def _resolved(self, constant: Any) -> Any:
        return self.moment if constant == SCHEDULED_TIME else constant

    def _provision(self, component: Json, folder: Path) -> dict[str, Json]:
        outputs = {}
        for key, artifact in component["outputDefinitions"]["artifacts"].items():
            self._artifacts += 1
            outputs[key] = {
                "name": f"projects/1/locations/here/metadataStores/default/artifacts/{self._artifacts}",
                "uri": str(folder / key),
                "type": artifact["artifactType"],
                "metadata": dict(artifact.get("metadata", {})),
            }
            # As if the step were tried again: this is what Beam leaves of a step that was killed while it wrote.
            (folder / key / "Split-catalog" / "beam-temp-of-an-earlier-attempt").mkdir(parents=True)
        return outputs

    def _execute(
        self, container: Json, values: Json, inputs: dict[str, Json], outputs: dict[str, Json], folder: Path
    ) -> dict[str, Json]:
        work = folder / "work"
        work.mkdir(parents=True)
        message = {
            "inputs": {
                "parameterValues": values,
                "artifacts": {key: {"artifacts": [artifact]} for key, artifact in inputs.items()},
            },
            "outputs": {
                "artifacts": {key: {"artifacts": [artifact]} for key, artifact in outputs.items()},
                "outputFile": str(folder / "executor_output.json"),
            },
        }
        # Through the message's own type: what it cannot say, no driver could.
        executor_input = json_format.MessageToJson(json_format.ParseDict(message, pipeline_spec_pb2.ExecutorInput()))
        command = [*container["command"], *container["args"]]
        ended = subprocess.run(
            [part.replace(_EXECUTOR_INPUT, executor_input) for part in command],
            capture_output=True,
            text=True,
            cwd=work,
            env=self.image.environment,
            check=False,
        )
        (folder / "log.txt").write_text(ended.stdout + ended.stderr)
        if ended.returncode:
            raise StepError(ended.stderr[-4000:])
        output = json_format.Parse((folder / "executor_output.json").read_text(), pipeline_spec_pb2.ExecutorOutput())
        written = json_format.MessageToDict(output)["artifacts"]
        return {key: artifacts["artifacts"][0] for key, artifacts in written.items()}


def _in_order(tasks: dict[str, Json]) -> list[str]:
    done: list[str] = []
    while len(done) < len(tasks):
        ready = [name for name, task in tasks.items() if name not in done and set(needs(task)) <= set(done)]
        assert ready, "the steps wait for one another"
        done.append(sorted(ready)[0])
    return done


def needs(task: Json) -> list[str]:
    """The steps that a task waits for, sorted."""
    producers = [value["taskOutputArtifact"]["producerTask"] for value in task["inputs"].get("artifacts", {}).values()]
    return sorted({*producers, *task.get("dependentTasks", [])})
