import json
import logging

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.beam import BeamConfig, beam_arguments
from schema.settings import InputError

PROCESS = {"type": "process", "command": "/opt/souk/worker"}
FLINK = {"runner": "flink", "job_endpoint": "flink.example:8099", "worker": PROCESS}
DATAFLOW = {
    "runner": "dataflow",
    "temp_location": "gs://bucket/temp",
    "worker": {"image": "europe-docker.pkg.dev/shop/souk/worker:1"},
    "dataflow": {"project": "shop", "region": "europe-west4"},
}


def options(caplog: pytest.LogCaptureFixture, **settings: object) -> dict:
    """What Beam makes of the arguments; it must know every one, but for one that the job server knows."""
    arguments = beam_arguments(BeamConfig.parse(settings))
    if settings.get("runner") in ("flink", "spark"):
        arguments.remove("--environment_expiration_millis=300000")
    with caplog.at_level(logging.WARNING):
        read = PipelineOptions(arguments).get_all_options(drop_default=True)
    assert "unparseable" not in caplog.text
    return read


def test_by_default_jobs_run_in_one_thread_of_this_process(caplog):
    assert options(caplog) == {"runner": "FnApiRunner", "sdk_container_image": "none"}


def test_threads_and_processes_of_this_machine(caplog):
    threads = options(caplog, workers=3)
    assert (threads["direct_running_mode"], threads["direct_num_workers"]) == ("multi_threading", 3)
    processes = options(caplog, runner="processes")
    assert (processes["direct_running_mode"], processes["direct_num_workers"]) == ("multi_processing", 0)


def test_flink_with_a_job_server_and_processes(caplog):
    worker = PROCESS | {"variables": {"HOME": "/tmp"}, "processes": 4}
    read = options(caplog, **(FLINK | {"workers": 8, "worker": worker}))
    assert json.loads(read.pop("environment_config")) == {"command": "/opt/souk/worker", "env": {"HOME": "/tmp"}}
    assert read == {
        "runner": "FlinkRunner",
        "job_endpoint": "flink.example:8099",
        "parallelism": 8,
        "environment_type": "PROCESS",
        "sdk_worker_parallelism": "4",
        "environment_cache_millis": "10000",
        "sdk_container_image": "none",
    }


def test_flink_by_its_own_address_with_containers(caplog):
    worker = {"image": "souk:1"}
    settings = {"runner": "flink", "master": "flink.example:8081", "job_server_jar": "/jars/flink.jar"}
    read = options(caplog, **settings, worker=worker, setup_file="/code/setup.py")
    assert read == {
        "runner": "FlinkRunner",
        "flink_master": "flink.example:8081",
        "flink_job_server_jar": "/jars/flink.jar",
        "environment_type": "DOCKER",
        "environment_config": "souk:1",
        "sdk_worker_parallelism": "1",
        "environment_cache_millis": "10000",
        "sdk_container_image": "souk:1",
        "setup_file": "/code/setup.py",
    }


def test_spark_with_a_container_beside_each_worker(caplog):
    worker = {"type": "external", "address": "localhost:50000"}
    read = options(caplog, runner="spark", master="spark://spark.example:7077", worker=worker)
    assert read == {
        "runner": "SparkRunner",
        "spark_master_url": "spark://spark.example:7077",
        "environment_type": "EXTERNAL",
        "environment_config": "localhost:50000",
        "sdk_worker_parallelism": "1",
        "environment_cache_millis": "10000",
        "sdk_container_image": "none",
    }


def test_dataflow(caplog):
    more = {"service_account": "souk@shop.iam", "machine_type": "n2-highmem-8", "disk_gb": 200, "public_ips": False}
    settings = DATAFLOW | {"workers": 20, "max_workers": 200, "staging_location": "gs://bucket/staging"}
    read = options(caplog, **(settings | {"dataflow": DATAFLOW["dataflow"] | more}))
    assert read == {
        "runner": "DataflowRunner",
        "project": "shop",
        "region": "europe-west4",
        "temp_location": "gs://bucket/temp",
        "staging_location": "gs://bucket/staging",
        "num_workers": 20,
        "max_num_workers": 200,
        "service_account_email": "souk@shop.iam",
        "machine_type": "n2-highmem-8",
        "disk_size_gb": 200,
        "use_public_ips": False,
        "sdk_container_image": "europe-docker.pkg.dev/shop/souk/worker:1",
    }


def test_further_options_come_last_so_that_they_win(caplog):
    assert options(caplog, options=["--runner=DirectRunner"])["runner"] == "DirectRunner"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runner": "fink"}, "Input should be 'local', 'processes', 'flink', 'spark' or 'dataflow'"),
        ({"job_endpoint": "a:1"}, "`job_endpoint` is only read with `runner: flink or spark`, it is local"),
        ({"worker": PROCESS}, "`worker` is only read with `runner: flink or spark or dataflow`"),
        ({"runner": "flink", "worker": PROCESS}, "either `job_endpoint` or `master` must say where it is"),
        (FLINK | {"master": "b:2"}, "either `job_endpoint` or `master` must say where it is"),
        (FLINK | {"job_server_jar": "a.jar"}, "the server at `job_endpoint` has its own"),
        (FLINK | {"worker": {}}, "`worker.image` must name an image that holds Souk"),
        (FLINK | {"worker": {"type": "process"}}, "`type` is process, so `command` must be given"),
        (FLINK | {"worker": {"type": "external"}}, "`type` is external, so `address` must be given"),
        (FLINK | {"worker": {"image": "a", "command": "/b"}}, "`command` is only read with `type: process`"),
        (FLINK | {"worker": PROCESS | {"command": "python -m x"}}, "must be an absolute path without arguments"),
        (FLINK | {"setup_file": "setup.py"}, "`setup_file` is only installed by workers in containers"),
        (FLINK | {"temp_location": "gs://a"}, "`temp_location` is only read with `runner: dataflow`"),
        (FLINK | {"options": ["parallelism=2"]}, "'parallelism=2' is no option of Beam"),
        ({"runner": "spark", "job_endpoint": "a:1", "worker": PROCESS, "workers": 2}, "`workers` is only read with"),
        (DATAFLOW | {"temp_location": ""}, "`temp_location` is ''; Dataflow needs a folder in Cloud Storage"),
        (DATAFLOW | {"temp_location": "/tmp"}, "`temp_location` is '/tmp'; Dataflow needs a folder in Cloud Storage"),
        (DATAFLOW | {"staging_location": "s3://b"}, "`staging_location` is 's3://b'; Dataflow needs"),
        (DATAFLOW | {"dataflow": {"project": "shop"}}, "`dataflow.region` must be given"),
        (DATAFLOW | {"worker": PROCESS}, "`worker.type` is only read with `runner: flink or spark`"),
        (DATAFLOW | {"worker": {}}, "`worker.image` must name an image that holds Souk"),
        (DATAFLOW | {"workers": 9, "max_workers": 3}, "`max_workers` is 3, less than the 9 `workers`"),
    ],
)
def test_what_does_not_fit_is_said(settings: dict, message: str):
    with pytest.raises(InputError) as error:
        BeamConfig.parse(settings)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({}, True),
        ({"runner": "processes"}, True),
        (FLINK, False),
        (FLINK | {"shared_disk": True}, True),
        (FLINK | {"job_endpoint": "localhost:8099"}, True),
        (FLINK | {"job_endpoint": "localhost:8099", "worker": {"image": "souk"}}, False),
        (FLINK | {"worker": {"type": "loopback"}}, True),
        ({"runner": "spark", "master": "spark://127.0.0.1:7077", "worker": PROCESS}, True),
        ({"runner": "spark", "master": "local[4]", "worker": PROCESS}, True),
        ({"runner": "spark", "master": "spark://10.0.0.9:7077", "worker": PROCESS}, False),
        (DATAFLOW, False),
    ],
)
def test_a_path_on_this_machine_needs_workers_that_see_it(settings: dict, seen: bool):
    config = BeamConfig.parse(settings)
    beam_arguments(config, [("root", "gs://bucket/root")])
    if seen:
        beam_arguments(config, [("root", "/runs")])
    else:
        with pytest.raises(InputError, match="`root` is /runs, a path on this machine"):
            beam_arguments(config, [("root", "/runs")])
