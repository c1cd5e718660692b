"""A Beam worker of Souk: `python -m pipeline.beam_worker` with what a runner gives the program that starts a worker.

Flink and Spark start one for `beam.worker.type: process`. It does, in an environment that has Souk and its locked
dependencies, what the program `boot` of Beam's own container does: asks the runner for the job's options and files,
then hands over to Beam's Python worker. Packages are not installed: what this environment lacks is missing.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from schema.settings import InputError

# What Beam stages of the program that hands in a job, by the name that it is staged under.
_MAIN_SESSION: Final = "pickled_main_session"
_INFORMATION: Final = "submission_environment_dependencies.txt"


def main(arguments: Sequence[str] | None = None) -> None:
    """Works until the runner is done with it."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.beam_worker", allow_abbrev=False)
    parser.add_argument("--id", required=True, help="of this worker, given by the runner")
    parser.add_argument("--provision_endpoint", required=True, help="host:port that knows the job")
    for name in ("logging", "artifact", "control"):
        parser.add_argument(f"--{name}_endpoint", default="", help="host:port, if not what the former says")
    given, _ = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory(prefix="souk-worker-") as folder:
        os.environ.update(environment(given, Path(folder)))

        from apache_beam.runners.worker import sdk_worker_main

        sdk_worker_main.main([])


def environment(given: argparse.Namespace, folder: Path) -> dict[str, str]:
    """The variables by which Beam's worker learns of its job; the job's files are put into `folder`.

    Raises:
      InputError: the job wants packages to be installed.
    """
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, endpoints_pb2
    from google.protobuf import json_format, text_format

    metadata = [("worker_id", given.id)]
    with grpc.insecure_channel(given.provision_endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        info = service.GetProvisionInfo(beam_provision_api_pb2.GetProvisionInfoRequest(), metadata=metadata).info
    _fetch(info.dependencies, given.artifact_endpoint or info.artifact_endpoint.url, metadata, folder / "staged")

    def endpoint(name: str) -> str:
        url = getattr(given, f"{name}_endpoint") or getattr(info, f"{name}_endpoint").url
        return text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url), as_one_line=True)

    return {
        "WORKER_ID": given.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "SEMI_PERSISTENT_DIRECTORY": str(folder),
        "LOGGING_API_SERVICE_DESCRIPTOR": endpoint("logging"),
        "CONTROL_API_SERVICE_DESCRIPTOR": endpoint("control"),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }


def _fetch(dependencies: Sequence, address: str, metadata: list[tuple[str, str]], folder: Path) -> None:
    import grpc
    from apache_beam.portability.api import beam_artifact_api_pb2, beam_artifact_api_pb2_grpc, beam_runner_api_pb2

    folder.mkdir()
    names = [
        beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(dependency.role_payload).staged_name
        for dependency in dependencies
    ]
    packages = [name for name in names if name not in (_MAIN_SESSION, _INFORMATION)]
    if packages:
        raise InputError(
            f"the job wants {', '.join(packages)} to be installed, which a worker of `beam.worker.type: process` does "
            "not do; install it where the workers run, or leave out `setup_file`, `extra_package` and the like"
        )
    with grpc.insecure_channel(address) as channel:
        service = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel)
        for name, dependency in zip(names, dependencies, strict=True):
            with (folder / name).open("wb") as file:
                request = beam_artifact_api_pb2.GetArtifactRequest(artifact=dependency)
                for part in service.GetArtifact(request, metadata=metadata):
                    file.write(part.data)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
