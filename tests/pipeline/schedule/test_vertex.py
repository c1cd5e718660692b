"""`souk schedule --target vertex`: the real client, over HTTP, against a service that keeps state."""

import datetime
import json

import pytest

from tests.conftest import souk_here
from tests.pipeline.schedule.driver import given_to
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
    cron = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--name", "nightly")
    where = ("--target", "vertex", *WHERE, "--file", str(nightly_file))
    # Needs neither the service nor credentials.
    assert json.loads(souk_here("schedule", *where, *cron, *arguments, "--dry-run").stdout) == sent


def test_setting_it_again_changes_nothing(service, nightly_file):
    first = set_nightly(service, nightly_file)
    changes = service.changes()
    again = set_nightly(service, nightly_file)
    assert (again["action"], again["id"]) == ("unchanged", first["id"])
    assert service.changes() == changes


def test_a_change_changes_the_schedule_itself_and_what_it_runs(service, nightly_file):
    first = set_nightly(service, nightly_file)
    before = len(service.changes())
    second = set_nightly(service, nightly_file, "--cron", "0 3 * * *", "--no-catch-up", "-p", "train=epochs=2")
    assert (second["action"], second["id"], second["cron"]) == ("updated", first["id"], "TZ=Europe/Berlin 0 3 * * *")
    assert service.changes()[before:] == [f"PATCH /v1/{first['id']}"]
    kept = service.schedules[first["id"]]
    job = kept["createPipelineJobRequest"]["pipelineJob"]
    assert job["runtimeConfig"]["parameterValues"] == {"train": "epochs=2"}
    assert not kept.get("allowQueueing")
    assert set_nightly(service, nightly_file)["action"] == "updated"
    assert kept["allowQueueing"] is True


def test_a_paused_schedule_stays_paused_when_it_is_changed(service, nightly_file):
    assert set_nightly(service, nightly_file, "--paused")["state"] == "paused"
    changed = set_nightly(service, nightly_file, "-p", "train=epochs=2")
    assert (changed["action"], changed["state"], changed["due"]) == ("updated", "paused", [])


def test_of_several_of_one_name_one_is_kept(service, nightly_file):
    first = set_nightly(service, nightly_file)
    twin = {**service.schedules[first["id"]], "name": f"{PARENT}/schedules/77"}
    service.schedules[twin["name"]] = twin
    assert set_nightly(service, nightly_file)["action"] == "updated"
    assert list(service.schedules) == [first["id"]]


def test_a_completed_schedule_is_made_anew(service, nightly_file):
    first = set_nightly(service, nightly_file)
    service.schedules[first["id"]]["state"] = "COMPLETED"
    second = set_nightly(service, nightly_file)
    assert (second["action"], second["state"]) == ("updated", "active")
    assert list(service.schedules) == [second["id"]] != [first["id"]]


def test_it_is_listed_paused_resumed_and_deleted(service, nightly_file):
    made = set_nightly(service, nightly_file)
    for name in ("weekly", "monthly"):
        schedule(service, "set", "--file", nightly_file, "--cron", "0 4 * * *", "--name", name)
    listed = json.loads(schedule(service, "list", "--json").stdout)["schedules"]
    assert [one["name"] for one in listed] == ["nightly", "weekly", "monthly"]
    assert listed[0]["next_run"] == made["due"][0]
    schedule(service, "pause", "--name", "nightly")
    assert service.schedules[made["id"]]["state"] == "PAUSED"
    schedule(service, "pause", "--name", "nightly")
    schedule(service, "resume", "--name", "nightly")
    assert (service.schedules[made["id"]]["state"], service.schedules[made["id"]]["catchUp"]) == ("ACTIVE", False)
    schedule(service, "delete", "--name", "nightly")
    assert made["id"] not in service.schedules
    gone = schedule(service, "delete", "--name", "nightly", expect=2)
    assert "there is no schedule 'nightly'; there are monthly, weekly" in gone.output


def test_what_souk_did_not_make_is_left_alone(service, nightly_file):
    made = set_nightly(service, nightly_file)
    del service.schedules[made["id"]]["createPipelineJobRequest"]["pipelineJob"]["labels"]
    assert "was not made by Souk" in schedule(service, "delete", "--name", "nightly", expect=2).output
    assert "was not made by Souk" in set_nightly(service, nightly_file, expect=2)
    assert list(service.schedules) == [made["id"]]


def test_every_run_of_a_schedule_is_for_its_own_day(service, nightly_file, hourly_file):
    made = set_nightly(service, nightly_file)
    hourly = json.loads(schedule(service, "set", "--file", hourly_file, "--cron", "@hourly", "--json").stdout)
    assert not service.schedules[hourly["id"]].get("allowQueueing")
    for name, step, keys in (
        (made["id"], "SoukExampleGen", {"date"}),
        (hourly["id"], "CatalogExampleGen", {"date", "fingerprint"}),
    ):
        job = service.start_due(name, NIGHT)
        values = job["runtimeConfig"].get("parameterValues", {})
        given = given_to(job["pipelineSpec"], step, values, NIGHT)
        assert {key for key, value in given.items() if value == "2026-11-20T02:00:00Z"} == keys


def test_missed_days_are_run_each_under_an_id_of_its_own(service, nightly_file):
    made = set_nightly(service, nightly_file)
    service.start_due(made["id"], NIGHT)
    service.start_due(made["id"], NIGHT + datetime.timedelta(days=1), "PIPELINE_STATE_FAILED")
    where = ("--file", nightly_file, "--name", "nightly", "--no-wait", "--from", "2026-11-20", "--to", "2026-11-21")
    steps = json.loads(schedule(service, "backfill", *where, "--json").stdout)["steps"]
    run = f"{PARENT}/pipelineJobs/nightly-2026-11-21-2"
    assert [(step["date"], step["what"]) for step in steps] == [("2026-11-20", "done"), ("2026-11-21", "submitted")]
    assert steps[1]["run"] == run
    job = service.jobs[run]
    assert job["labels"] == {"souk-schedule": "nightly", "souk-day": "2026-11-21"}
    assert job["runtimeConfig"]["parameterValues"] == {"date": "2026-11-21"}
    assert "running" in schedule(service, "backfill", *where).stdout
    # Two backfills that start at once: the second is refused by the id.
    del job["labels"]
    refused = schedule(service, "backfill", *where, expect=1).output
    assert "Vertex AI answered 409" in refused
    assert f"{run} already exists" in refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "http://kubeflow"), "--host means nothing to --target vertex"),
        (("--experiment", "shop"), "--experiment means nothing to --target vertex"),
        (("--timezone", "Europe/Brelin"), "there is no time zone 'Europe/Brelin'"),
        (("-p", "date=2026-11-20"), "`date` cannot be given"),
    ],
)
def test_what_cannot_be_set_is_refused_before_anything_is_sent(service, nightly_file, arguments, message):
    assert message in set_nightly(service, nightly_file, *arguments, expect=2)
    assert service.changes() == []


def test_the_project_and_the_region_are_needed(monkeypatch):
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert (
        "give --project or set GOOGLE_CLOUD_PROJECT"
        in souk_here("schedule", "list", "--target", "vertex", expect=2).output
    )
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "shop")
    assert (
        "give --location or set GOOGLE_CLOUD_REGION"
        in souk_here("schedule", "list", "--target", "vertex", expect=2).output
    )


def test_without_credentials_it_is_said_where_to_get_some(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    # Else it is asked of a machine in the cloud, which takes its time to be none.
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    result = souk_here("schedule", "list", "--target", "vertex", *WHERE, expect=2)
    assert "there are no credentials for Google Cloud; `gcloud auth application-default login`" in result.output


def test_an_unknown_region_is_refused(nightly_file):
    where = ("--target", "vertex", "--project", "shop", "--location", "mars")
    result = souk_here("schedule", *where, "--file", str(nightly_file), "--cron", "@daily", "--dry-run", expect=2)
    assert "Error: Vertex AI cannot be used with the location 'mars': Unsupported region" in result.output


def test_a_service_that_is_not_there_is_said_to_be():
    result = souk_here("schedule", "list", "--target", "vertex", *WHERE, "--endpoint", "http://127.0.0.1:9", expect=1)
    assert "Error: Vertex AI cannot be reached in europe-west4" in result.output
