import argparse
import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import (
    beam_artifact_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from apache_beam.runners.portability import artifact_service
from google.protobuf import json_format, struct_pb2, text_format

from pipeline.beam_worker import environment, main
from schema.settings import InputError


class Runner(beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    """A runner's side of a worker's start: says what the job is, and hands out its files."""

    def __init__(self, files):
        self.asked_by = []
        self.server = grpc.server(ThreadPoolExecutor(2))
        self.address = f"localhost:{self.server.add_insecure_port('localhost:0')}"
        self.info = beam_provision_api_pb2.ProvisionInfo(
            pipeline_options=json_format.ParseDict({"beam:option:job_name:v1": "nightly"}, struct_pb2.Struct()),
            logging_endpoint=endpoints_pb2.ApiServiceDescriptor(url="logs:1"),
            control_endpoint=endpoints_pb2.ApiServiceDescriptor(url="control:2"),
            artifact_endpoint=endpoints_pb2.ApiServiceDescriptor(url=self.address),
            runner_capabilities=["beam:protocol:multi_core_bundle_processing:v1"],
            dependencies=[
                beam_runner_api_pb2.ArtifactInformation(
                    type_urn=common_urns.artifact_types.FILE.urn,
                    type_payload=beam_runner_api_pb2.ArtifactFilePayload(path=str(path)).SerializeToString(),
                    role_urn=common_urns.artifact_roles.STAGING_TO.urn,
                    role_payload=beam_runner_api_pb2.ArtifactStagingToRolePayload(
                        staged_name=path.name
                    ).SerializeToString(),
                )
                for path in files
            ],
        )
        beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(self, self.server)
        beam_artifact_api_pb2_grpc.add_ArtifactRetrievalServiceServicer_to_server(
            artifact_service.ArtifactRetrievalService(artifact_service.BeamFilesystemHandler(None).file_reader),
            self.server,
        )
        self.server.start()

    def GetProvisionInfo(self, request, context):  # noqa: N802
        self.asked_by += [value for name, value in context.invocation_metadata() if name == "worker_id"]
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=self.info)

    def given(self, **more):
        endpoints = dict.fromkeys(("logging_endpoint", "artifact_endpoint", "control_endpoint"), "")
        return argparse.Namespace(id="1-1", provision_endpoint=self.address, **(endpoints | more))


@pytest.fixture
def runner(tmp_path):
    """Makes runners that hand out files of the given names, and ends them."""
    runners = []

    def make(*names):
        for name in names:
            (tmp_path / name).write_text(f"content of {name}")
        runners.append(Runner([tmp_path / name for name in names]))
        return runners[-1]

    yield make
    for each in runners:
        each.server.stop(None)


def test_a_worker_learns_its_job_and_gets_files_from_the_runner(runner, tmp_path):
    names = ("pickled_main_session", "submission_environment_dependencies.txt")
    flink, folder = runner(*names), tmp_path / "worker"
    folder.mkdir()
    variables = environment(flink.given(control_endpoint="nearer:3"), folder)
    assert flink.asked_by == ["1-1"]
    assert variables["WORKER_ID"] == "1-1"
    assert json.loads(variables["PIPELINE_OPTIONS"]) == {"beam:option:job_name:v1": "nightly"}
    assert variables["RUNNER_CAPABILITIES"] == "beam:protocol:multi_core_bundle_processing:v1"
    for name, expected in (("LOGGING", "logs:1"), ("CONTROL", "nearer:3")):
        text = variables[f"{name}_API_SERVICE_DESCRIPTOR"]
        assert text_format.Parse(text, endpoints_pb2.ApiServiceDescriptor()).url == expected
    assert variables["SEMI_PERSISTENT_DIRECTORY"] == str(folder)
    assert {path.name: path.read_text() for path in (folder / "staged").iterdir()} == {
        name: f"content of {name}" for name in names
    }


def test_a_job_that_brings_packages_is_refused(runner, tmp_path):
    (tmp_path / "worker").mkdir()
    with pytest.raises(InputError, match=r"the job wants workflow\.tar\.gz to be installed, which a worker"):
        environment(runner("pickled_main_session", "workflow.tar.gz").given(), tmp_path / "worker")


def test_a_person_who_starts_it_is_told_what_it_takes(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "--provision_endpoint" in capsys.readouterr().err
