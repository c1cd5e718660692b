"""`souk schedule --target kubeflow`: the real client, over HTTP, against a server that keeps state."""

import datetime
import json

import pytest

from tests.conftest import souk_here
from tests.pipeline.schedule.driver import given_to
from tests.pipeline.schedule.kubeflow_backend import KubeflowBackend

API = "/apis/v2beta1/recurringruns"
NIGHT = datetime.datetime(2026, 11, 20, 2, tzinfo=datetime.UTC)


@pytest.fixture
def server():
    with KubeflowBackend() as server:
        yield server


def schedule(server, command, *arguments, expect=0):
    return souk_here(
        "schedule", command, "--target", "kubeflow", "--host", server.address, *map(str, arguments), expect=expect
    )


def set_nightly(server, file, *arguments, expect=0):
    result = schedule(
        server, "set", "--file", file, "--cron", "0 2 * * *", "--name", "nightly", "--json", *arguments, expect=expect
    )
    return json.loads(result.stdout) if expect == 0 else result.output


def test_a_schedule_is_created_as_the_dry_run_says(server, nightly_file):
    arguments = ("-p", "train=model=mmse epochs=5", "--service-account", "souk")
    made = set_nightly(server, nightly_file, *arguments)
    assert (made["action"], made["state"], made["cron"]) == ("created", "active", "0 0 2 * * *")
    assert len(made["due"]) == 3
    [sent] = [request.body for request in server.requests if (request.method, request.path) == ("POST", API)]
    assert sent["mode"] == "ENABLE"
    assert sent["max_concurrency"] == 1
    assert sent["no_catchup"] is False
    assert sent["service_account"] == "souk"
    assert sent["runtime_config"] == {"parameters": {"train": "model=mmse epochs=5"}}
    asked = len(server.requests)
    printed = json.loads(
        schedule(
            server, "set", "--file", nightly_file, "--cron", "0 2 * * *", "--name", "nightly", "--dry-run", *arguments
        ).stdout
    )
    assert len(server.requests) == asked
    assert {**printed, "experiment_id": sent["experiment_id"]} == sent


def test_setting_it_again_changes_nothing(server, nightly_file):
    first = set_nightly(server, nightly_file)
    changes = server.changes()
    again = set_nightly(server, nightly_file)
    assert (again["action"], again["id"]) == ("unchanged", first["id"])
    assert server.changes() == changes


def test_a_change_replaces_it_and_two_are_never_active(server, nightly_file):
    first = set_nightly(server, nightly_file)
    before = len(server.changes())
    second = set_nightly(server, nightly_file, "--cron", "30 3 * * *")
    assert (second["action"], second["cron"], second["state"]) == ("updated", "0 30 3 * * *", "active")
    assert list(server.recurring_runs) == [second["id"]]
    assert server.changes()[before:] == [
        f"POST {API}",
        f"DELETE {API}/{first['id']}",
        f"POST {API}/{second['id']}:enable",
    ]
    assert server.requests[-1].method == "GET"
    [made] = [one.body for one in server.requests if one.path == API and one.method == "POST"][1:]
    assert made["mode"] == "DISABLE"


def test_a_paused_schedule_stays_paused_when_it_is_changed(server, nightly_file):
    assert set_nightly(server, nightly_file, "--paused")["state"] == "paused"
    changed = set_nightly(server, nightly_file, "-p", "train=epochs=2")
    assert (changed["action"], changed["state"], changed["due"]) == ("updated", "paused", [])


def test_what_an_interrupted_change_left_behind_is_put_right(server, nightly_file):
    old = set_nightly(server, nightly_file)
    new = set_nightly(server, nightly_file, "-p", "train=epochs=2")
    # As if the new one had been made, and the old one neither deleted nor the new one enabled.
    server.recurring_runs[old["id"]] = {**server.recurring_runs[new["id"]], "recurring_run_id": old["id"]}
    server.recurring_runs[old["id"]]["description"] = "Made by souk schedule, plan 0123456789abcdef."
    server.recurring_runs[new["id"]]["mode"] = "DISABLE"
    mended = set_nightly(server, nightly_file, "-p", "train=epochs=2")
    assert (mended["action"], mended["id"], mended["state"]) == ("updated", new["id"], "active")
    assert list(server.recurring_runs) == [new["id"]]


def test_it_is_listed_paused_resumed_and_deleted(server, nightly_file):
    made = set_nightly(server, nightly_file)
    schedule(server, "set", "--file", nightly_file, "--cron", "0 4 * * *", "--name", "weekly")
    schedule(server, "set", "--file", nightly_file, "--cron", "0 4 * * *", "--name", "monthly")
    listed = json.loads(schedule(server, "list", "--json").stdout)["schedules"]
    assert [one["name"] for one in listed] == ["nightly", "weekly", "monthly"]
    assert listed[0]["next_run"] == made["due"][0]
    schedule(server, "pause", "--name", "nightly")
    assert server.recurring_runs[made["id"]]["mode"] == "DISABLE"
    changes = len(server.changes())
    assert "is paused" in schedule(server, "pause", "--name", "nightly").stdout
    assert len(server.changes()) == changes
    schedule(server, "resume", "--name", "nightly")
    assert server.recurring_runs[made["id"]]["mode"] == "ENABLE"
    schedule(server, "delete", "--name", "nightly")
    assert made["id"] not in server.recurring_runs
    assert "nightly" not in schedule(server, "list").stdout
    gone = schedule(server, "delete", "--name", "nightly", expect=2)
    assert "there is no schedule 'nightly'; there are monthly, weekly" in gone.output


def test_what_souk_did_not_make_is_left_alone(server, nightly_file):
    made = set_nightly(server, nightly_file)
    server.recurring_runs[made["id"]]["description"] = "by hand"
    for command in ("pause", "delete"):
        assert "was not made by Souk" in schedule(server, command, "--name", "nightly", expect=2).output
    assert "was not made by Souk" in set_nightly(server, nightly_file, expect=2)
    assert "There are none" in schedule(server, "list").stdout
    assert list(server.recurring_runs) == [made["id"]]


def test_a_refresh_never_catches_up_and_every_run_reads_anew(server, hourly_file):
    made = json.loads(schedule(server, "set", "--file", hourly_file, "--cron", "@hourly", "--json").stdout)
    kept = server.recurring_runs[made["id"]]
    assert (made["name"], kept["no_catchup"]) == ("shop-refresh", True)
    for hour in (3, 4):
        moment = NIGHT.replace(hour=hour)
        run = server.start_due(made["id"], moment)
        given = given_to(run["pipeline_spec"], "CatalogExampleGen", run["runtime_config"]["parameters"], moment)
        assert given["fingerprint"] == given["date"] == f"2026-11-20T0{hour}:00:00Z"


def backfill(server, file, *arguments, expect=0):
    result = schedule(
        server, "backfill", "--file", file, "--name", "nightly", "--poll", "0.01", *arguments, expect=expect
    )
    return [tuple(line.split()[:2]) for line in result.stdout.splitlines()]


def test_missed_days_are_run_in_order_each_for_its_own_date(server, nightly_file):
    made = set_nightly(server, nightly_file, "-p", "train=epochs=2")
    server.start_due(made["id"], NIGHT)
    failed = server.start_due(made["id"], NIGHT + datetime.timedelta(days=1), "FAILED")
    days = ("--from", "2026-11-19", "--to", "2026-11-21", "-p", "train=epochs=2")
    assert backfill(server, nightly_file, *days, "--dry-run") == [
        ("2026-11-19", "outdated"),
        ("2026-11-20", "done"),
        ("2026-11-21", "missing"),
    ]
    assert backfill(server, nightly_file, *days, "--no-wait", "--outdated") == [
        ("2026-11-19", "submitted"),
        ("2026-11-20", "done"),
        ("2026-11-21", "submitted"),
    ]
    runs = [run for run in server.runs.values() if "recurring_run_id" not in run]
    assert [run["runtime_config"]["parameters"] for run in runs] == [
        {"train": "epochs=2", "date": "2026-11-19"},
        {"train": "epochs=2", "date": "2026-11-21"},
    ]
    assert [run["display_name"] for run in runs] == ["nightly-2026-11-19", "nightly-2026-11-21-2"]
    assert {run["experiment_id"] for run in runs} == {failed["experiment_id"]}
    # Done or under way: nothing is started twice.
    assert backfill(server, nightly_file, *days, "--no-wait", "--outdated") == [
        ("2026-11-19", "running"),
        ("2026-11-20", "done"),
        ("2026-11-21", "running"),
    ]
    assert len(server.runs) == 4


def test_a_backfill_waits_for_each_day_and_stops_at_a_failure(server, nightly_file):
    server.outcomes = {"nightly-2026-11-18": "SUCCEEDED", "nightly-2026-11-19": "FAILED"}
    days = ("--from", "2026-11-18", "--to", "2026-11-20")
    assert backfill(server, nightly_file, *days, expect=1) == [
        ("2026-11-18", "submitted"),
        ("2026-11-18", "succeeded"),
        ("2026-11-19", "submitted"),
        ("2026-11-19", "failed"),
    ]
    server.outcomes = {"nightly-2026-11-19-2": "SUCCEEDED", "nightly-2026-11-20": "SUCCEEDED"}
    assert [what for _, what in backfill(server, nightly_file, *days)] == [
        *("done", "submitted", "succeeded", "submitted", "succeeded")
    ]
    assert [what for _, what in backfill(server, nightly_file, *days)] == ["done"] * 3


def test_runs_of_other_pipelines_in_the_experiment_do_not_count(server, nightly_file, hourly_file):
    made = set_nightly(server, nightly_file)
    run = server.start_due(made["id"], NIGHT)
    run["pipeline_spec"] = {**run["pipeline_spec"], "pipelineInfo": {"name": "another"}}
    hourly = ("--file", hourly_file, "--cron", "@hourly", "--experiment", "nightly", "--json")
    server.start_due(json.loads(schedule(server, "set", *hourly).stdout)["id"], NIGHT)
    assert len({run["experiment_id"] for run in server.runs.values()}) == 1
    assert backfill(server, nightly_file, "--from", "2026-11-20", "--to", "2026-11-20", "--dry-run") == [
        ("2026-11-20", "missing")
    ]


def test_the_environment_gives_a_token_that_is_shown_nowhere(server, nightly_file, monkeypatch):
    server.token = "secret-of-the-server"
    # With a namespace the client asks for nothing before the first request, which it would try for twenty seconds.
    refused = schedule(server, "list", "--namespace", "shop", expect=1)
    assert "answered 401: Request not authenticated; a token is read from SOUK_KUBEFLOW_TOKEN" in refused.output
    monkeypatch.setenv("SOUK_KUBEFLOW_TOKEN", server.token)
    made = set_nightly(server, nightly_file)
    shown = json.dumps(made) + json.dumps(server.recurring_runs) + schedule(server, "list").output
    assert server.token not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cron", "0 0 2 * * *"), "leave out the seconds"),
        (("--timezone", "Europe/Berlin"), "the cluster's is UTC"),
        (("--project", "shop"), "--project means nothing to --target kubeflow"),
        (("-p", "trian=epochs=1"), "did you mean `train`"),
        (("--pipeline", "refresh"), "holds the pipeline `run`, not `refresh`"),
        (("--config", "tiny"), "say which pipeline: --file"),
        (("--image", "souk:1"), "--image and --set go with --config"),
    ],
)
def test_what_cannot_be_set_is_refused_before_anything_is_sent(server, nightly_file, arguments, message):
    assert message in set_nightly(server, nightly_file, *arguments, expect=2)
    assert server.changes() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say which days: --from DAY and maybe --to DAY, or --days N"),
        (("--from", "2026-11-20", "--days", "2"), "say which days"),
        (("--from", "yesterday"), "--from is 'yesterday', which is no day"),
        (("--from", "2099-01-01", "--to", "2099-01-02"), "2099-01-02 is yet to come"),
    ],
)
def test_days_that_make_no_sense_are_refused(server, nightly_file, arguments, message):
    result = schedule(server, "backfill", "--file", nightly_file, *arguments, expect=2)
    assert message in result.output


def test_a_refresh_is_not_made_up_for(server, hourly_file):
    result = schedule(server, "backfill", "--file", hourly_file, "--days", "2", expect=2)
    assert "a refresh is not made up for" in result.output


def test_a_server_that_is_not_there_is_said_to_be(nightly_file):
    result = souk_here("schedule", "list", "--target", "kubeflow", "--host", "http://127.0.0.1:9", expect=1)
    assert "Error: Kubeflow Pipelines cannot be reached at http://127.0.0.1:9" in result.output


def test_the_backends_refusal_is_shown(server, nightly_file):
    server.experiments["x"] = {"display_name": "nightly", "experiment_id": "gone"}
    result = set_nightly(server, nightly_file, expect=1)
    assert "answered 404: Not found error: gone not found" in result
