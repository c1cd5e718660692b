"""`souk schedule --target vertex`: the real client, over HTTP, against a service that keeps state."""

import datetime
import json

import pytest

from tests.conftest import souk_here
from tests.pipeline.schedule.vertex_backend import VertexBackend

PARENT = "projects/shop/locations/europe-west4"
NIGHT = datetime.datetime(2026, 11, 20, 2, tzinfo=datetime.UTC)
WHERE = ("--project", "shop", "--location", "europe-west4")


@pytest.fixture
def service():
    with VertexBackend() as service:
        yield service


def schedule(service, command, *arguments, expect=0):
    where = ("--target", "vertex", *WHERE, "--endpoint", service.address)
    return souk_here("schedule", command, *where, *map(str, arguments), expect=expect)


def set_nightly(service, file, *arguments, expect=0):
    cron = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--name", "nightly")
    result = schedule(service, "set", "--file", file, *cron, "--json", *arguments, expect=expect)
    return json.loads(result.stdout) if expect == 0 else result.output


def test_a_schedule_is_created_as_the_dry_run_says(service, nightly_file):
    arguments = ("-p", "train=model=mmse epochs=5", "--service-account", "souk@shop.iam.gserviceaccount.com")
    made = set_nightly(service, nightly_file, *arguments)
    assert (made["action"], made["state"], made["cron"]) == ("created", "active", "TZ=Europe/Berlin 30 2 * * *")
    [sent] = [request.body for request in service.requests if request.method == "POST"]
    assert sent["displayName"] == "nightly"
    assert sent["maxConcurrentRunCount"] == "1"
    assert sent["allowQueueing"] is True
    job = sent["createPipelineJobRequest"]["pipelineJob"]
    assert job["serviceAccount"] == "souk@shop.iam.gserviceaccount.com"
    assert job["runtimeConfig"]["parameterValues"] == {"train": "model=mmse epochs=5"}
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://shop/souk/artifacts"
    asked = len(service.requests)
    assert json.loads(set_nightly_dry(service, nightly_file, *arguments)) == sent
    assert len(service.requests) == asked


def set_nightly_dry(service, file, *arguments):
    cron = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--name", "nightly")
    return schedule(service, "set", "--file", file, *cron, "--dry-run", *arguments).stdout
