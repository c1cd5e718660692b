"""What a schedule is given, checked against a really compiled pipeline."""

import json

import pytest
from google.protobuf import json_format
from kfp import dsl

from pipeline.schedule.compiled import Compiled, read
from pipeline.schedule.cron import Cron
from pipeline.schedule.plan import SCHEDULED_TIME, day_of, plan
from schema.settings import InputError
from tests.conftest import souk_here
from tests.pipeline.compiled_graph import SETTINGS

CRON = Cron.parse("0 2 * * *")


@pytest.fixture(scope="module")
def nightly(nightly_file):
    return read(nightly_file)


@pytest.fixture(scope="module")
def hourly(hourly_file):
    return read(hourly_file)


def taken(spec, step):
    return spec["root"]["dag"]["tasks"][step]["inputs"]["parameters"]


def test_a_scheduled_run_is_dated_by_its_scheduled_moment(nightly):
    made = plan(nightly, CRON)
    assert taken(made.spec, "SoukExampleGen")["date"] == {"runtimeValue": {"constant": SCHEDULED_TIME}}
    assert taken(made.spec, "SoukExampleGen")["fingerprint"] == {"componentInputParameter": "data_version"}
    declared = made.spec["root"]["inputDefinitions"]["parameters"]
    assert set(declared) == set(nightly.parameters) - {"date"}
    assert all("defaultValue" in parameter for parameter in declared.values())
    assert taken(nightly.spec, "SoukExampleGen")["date"] == {"componentInputParameter": "date"}


def test_a_step_gets_the_moment_as_kfps_compiler_gives_it(nightly):
    @dsl.container_component
    def step(date: str):
        return dsl.ContainerSpec(image="souk:1", args=[date])

    @dsl.pipeline
    def dated():
        step(date=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER)

    theirs = json_format.MessageToDict(dated.pipeline_spec)["root"]["dag"]["tasks"]["step"]["inputs"]["parameters"]
    assert taken(plan(nightly, CRON).spec, "SoukExampleGen")["date"] == theirs["date"]


def test_a_refresh_reads_its_inputs_anew_every_time(hourly):
    made = plan(hourly, CRON)
    assert (made.kind, made.name, made.catch_up) == ("refresh", "shop-refresh", False)
    assert taken(made.spec, "CatalogExampleGen")["fingerprint"] == {"runtimeValue": {"constant": SCHEDULED_TIME}}
    kept = plan(hourly, CRON, ["data_version=1"])
    assert taken(kept.spec, "CatalogExampleGen")["fingerprint"] == {"componentInputParameter": "data_version"}


def test_names_are_those_of_the_pipeline_and_what_it_does(nightly):
    made = plan(nightly, CRON)
    assert (made.kind, made.name, made.experiment, made.catch_up) == ("run", "shop-run", "shop-run", True)
    named = plan(nightly, CRON, name="nightly", experiment="shop", catch_up=False)
    assert (named.name, named.experiment, named.catch_up) == ("nightly", "shop", False)


def test_plans_are_told_apart_by_all_that_matters(nightly):
    plans = [
        plan(nightly, CRON),
        plan(nightly, Cron.parse("0 3 * * *")),
        plan(nightly, Cron.parse("0 2 * * *", "Europe/Berlin")),
        plan(nightly, CRON, ["train=epochs=2"]),
        plan(nightly, CRON, service_account="souk"),
        plan(nightly, CRON, catch_up=False),
        plan(Compiled({**nightly.spec, "sdkVersion": "another"}, ""), CRON),
    ]
    assert len({made.fingerprint for made in plans}) == len(plans)
    assert plan(nightly, CRON).fingerprint == plans[0].fingerprint


@pytest.mark.parametrize(
    ("parameters", "name", "message"),
    [
        (["train"], "", r"'train' is no parameter; write it as name=value"),
        (["=1"], "", r"'=1' is no parameter"),
        (["train=a=1", "train=b=2"], "", r"the parameter `train` is given twice"),
        (["trian=epochs=1"], "", r"has no parameter `trian`; did you mean `train`\?"),
        (["xyz=1"], "", r"has no parameter `xyz`; it has canary, data_version, date"),
        (["date=2026-11-20"], "", r"`date` cannot be given: every run of a schedule is for the day"),
        ([], "Nightly", r"the schedule's name is 'Nightly'; .* Give another with --name"),
        ([], "n" * 41, r"it has up to 40 small letters"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_with_what_to_do(nightly, parameters, name, message):
    with pytest.raises(InputError, match=message):
        plan(nightly, CRON, parameters, name)


def test_a_parameter_without_a_default_must_be_given(nightly):
    spec = nightly.bound({})
    del spec["root"]["inputDefinitions"]["parameters"]["push_directory"]["defaultValue"]
    with pytest.raises(InputError, match=r"needs the parameter `push_directory`: give it with -p"):
        plan(Compiled(spec, "shop.yaml"), CRON)


@pytest.mark.parametrize("content", [None, "", "name: shop", "[1]", "{", b"\xff\xfe\x00", "pipelineSpec: 1"])
def test_a_file_that_holds_no_compiled_pipeline_is_refused(tmp_path, content):
    path = tmp_path / "pipeline.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        InputError, match=r"pipeline.yaml (is no compiled pipeline|cannot be read).*`souk compile` writes"
    ):
        read(path)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-11-20", "2026-11-20"),
        ("2026-11-20T02:00:00Z", "2026-11-20"),
        ("2026-11-20T00:30:00+01:00", "2026-11-19"),
        ("2026-11-20T02:00:00.000000Z", "2026-11-20"),
        (SCHEDULED_TIME, None),
    ],
)
def test_a_runs_date_is_a_day_of_utc(text, day):
    found = day_of(text)
    assert (str(found) if found else None) == day


def test_a_configuration_is_compiled_on_the_spot(nightly_file):
    when = ("schedule", "--target", "kubeflow", "--cron", "@daily", "--dry-run")
    settings = [word for setting in (*SETTINGS, "name=shop", "image=''") for word in ("--set", setting)]
    made = souk_here(*when, "--config", "tiny", *settings, "--image", "eu.gcr.io/shop/souk:1")
    assert json.loads(made.stdout) == json.loads(souk_here(*when, "--file", str(nightly_file)).stdout)
