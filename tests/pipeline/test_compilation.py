"""What `souk compile` writes, read by the SDKs that would submit it."""

import json
import warnings

import pytest
import yaml
from kfp import components, dsl
from kfp.client.client import _extract_pipeline_yaml

from pipeline.compilation import compile_job, resource_spec, write_job
from pipeline.resources import Resources, ResourcesConfig
from schema.settings import InputError
from tests.conftest import souk_here
from tests.pipeline.compiled_graph import KNOWN, SETTINGS, cluster_config, describe


@pytest.fixture(scope="module")
def job():
    return compile_job(cluster_config(), "vertex")


@pytest.fixture(scope="module")
def files(job, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    for name in ("pipeline.yaml", "pipeline.json"):
        write_job(job, folder / name, "vertex")
    return folder


@pytest.mark.parametrize("kind", KNOWN)
def test_the_graph_is_the_known_one(kind):
    """If it changed as it should, `python -m tests.pipeline.compiled_graph` writes the new one."""
    job = compile_job(cluster_config(), "vertex", kind=kind)
    assert describe(job["pipelineSpec"]).splitlines() == KNOWN[kind].read_text().splitlines()


def test_kubeflows_sdk_loads_it_and_asks_for_the_date_alone(files):
    loaded = components.load_component_from_file(str(files / "pipeline.yaml"))
    assert loaded.pipeline_spec.schema_version == "2.1.0"

    @dsl.pipeline
    def nightly(date: str = "2026-11-20"):
        loaded(date=date, train="model=mmse")

    assert list(nightly.pipeline_spec.root.input_definitions.parameters) == ["date"]
    with pytest.raises(TypeError, match="date"):
        dsl.pipeline(lambda: loaded(train="model=mmse"), name="undated")


def test_kubeflows_client_reads_the_file_that_it_would_submit(files):
    document = _extract_pipeline_yaml(str(files / "pipeline.yaml"))
    assert document.pipeline_spec.pipeline_info.name == "tiny"
    assert document.pipeline_spec.default_pipeline_root == "gs://shop/souk/artifacts"


@pytest.mark.parametrize("name", ["pipeline.yaml", "pipeline.json"])
def test_vertexs_client_makes_a_job_of_it(files, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import aiplatform

    job = aiplatform.PipelineJob(
        display_name="nightly",
        template_path=str(files / name),
        project="shop",
        location="europe-west4",
        credentials=AnonymousCredentials(),
        parameter_values={"date": "2026-11-20", "gate": "min_recall=0.4"},
    )
    request = job.to_dict()
    assert request["runtimeConfig"]["gcsOutputDirectory"] == "gs://shop/souk/artifacts"
    assert request["runtimeConfig"]["parameterValues"]["date"] == "2026-11-20"
    with pytest.raises(ValueError, match="modle"):
        aiplatform.PipelineJob(
            display_name="nightly",
            template_path=str(files / name),
            project="shop",
            location="europe-west4",
            credentials=AnonymousCredentials(),
            parameter_values={"modle": "mmse"},
        )


def test_the_steps_settings_are_the_configurations(job):
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    config = cluster_config()
    for step, settings in (
        ("SoukExampleGen", config.ingest),
        ("SchemaGate", config.schema_gate),
        ("Trainer", config.train),
        ("IndexBuilder", config.index),
        ("RecallGate", config.gate),
        ("Canary", config.canary),
    ):
        assert tasks[step]["inputs"]["parameters"]["config_json"]["runtimeValue"]["constant"] == settings.to_json()


def test_mining_and_warm_start_look_in_the_ledger():
    mining = ("hard_negatives.enabled=true", "train.negatives.hard=4", "train.warm_start=true")
    spec = compile_job(cluster_config(*mining), "kubeflow", use_cache=False)["pipelineSpec"]
    tasks = spec["root"]["dag"]["tasks"]
    ledger = {"runtimeValue": {"constant": "gs://shop/souk/ledger"}}
    using = {name for name, task in tasks.items() if task["inputs"].get("parameters", {}).get("ledger") == ledger}
    assert using == {"SchemaGate", "HardNegativeMiner", "Trainer", "RecallGate"}
    assert tasks["Transform"]["inputs"]["artifacts"]["examples"] == {
        "taskOutputArtifact": {"producerTask": "HardNegativeMiner", "outputArtifactKey": "mined_examples"}
    }
    assert all("container" in executor for executor in spec["deploymentSpec"]["executors"].values())
    assert not any(task.get("cachingOptions", {}).get("enableCache") for task in tasks.values())


def test_a_refresh_trains_nothing_and_asks_the_ledger_instead():
    spec = compile_job(cluster_config(), "kubeflow", kind="refresh")["pipelineSpec"]
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks["IndexBuilder"]["inputs"]["artifacts"]) == {"catalog"}
    assert set(tasks["RecallGate"]["inputs"]["artifacts"]) == {"catalog", "servable"}
    assert "train" not in spec["root"]["inputDefinitions"]["parameters"]


def test_resources_are_in_the_fields_of_old_and_of_new_backends():
    spec = resource_spec(Resources(cpu=1.5, memory_gb=12, accelerator="nvidia.com/gpu", accelerators=2))
    assert (spec.cpu_limit, spec.memory_request, spec.accelerator.count) == (1.5, 12.0, 2)
    assert (spec.resource_cpu_limit, spec.resource_memory_request) == ("1.5", "12G")
    assert (spec.accelerator.type, spec.accelerator.resource_type) == ("nvidia.com/gpu", "nvidia.com/gpu")
    assert spec.accelerator.resource_count == "2"


def test_a_step_gets_the_default_but_for_what_is_said_of_it():
    config = ResourcesConfig.parse({"default": {"cpu": 4}, "steps": {"Trainer": {"memory_gb": 64, "retries": 0}}})
    assert config.of("Trainer") == Resources(cpu=4, memory_gb=64, retries=0)
    assert config.of("Canary") == Resources(cpu=4)


@pytest.mark.parametrize(
    ("target", "overrides", "message"),
    [
        ("vertex", ("image=''",), r"needs the image .* give --image or set `image`"),
        ("kubeflow", ("name=My_Shop",), r"`name` is 'My_Shop'; .* small letters, digits and hyphens"),
        ("kubeflow", ("root=runs/tiny",), r"`root` is /.*/runs/tiny, a path on this machine"),
        ("kubeflow", ("serving.model_dir=/models",), r"`serving.model_dir` is /models, a path on this machine"),
        ("vertex", ("ingest.data.users=users.csv",), r"`ingest.data.users` is /.*users.csv, a path on this machine"),
        ("vertex", ("root=s3://shop/souk",), r"Vertex keeps artifacts in Cloud Storage alone"),
        ("vertex", ("resources.steps.Trianer={cpu: 4}",), r"`resources.steps.Trianer`: .* did you mean `Trainer`"),
        ("vertex", ("resources.steps.Canary={accelerators: 1}",), r"`accelerator` and `accelerators` go together"),
        ("vertex", ("resources.steps.CatalogExampleGn={cpu: 1}",), r"did you mean `CatalogExampleGen`"),
        ("vertex", ("schema_gate.schema_path=no.pbtxt",), r"no.pbtxt cannot be read"),
    ],
)
def test_what_does_not_fit_a_cluster_is_refused_with_what_to_do(target, overrides, message):
    with pytest.raises(InputError, match=message):
        compile_job(cluster_config(*overrides), target)


def test_the_command_says_what_a_run_may_be_given(tmp_path):
    options = [part for setting in SETTINGS for part in ("--set", setting)]
    arguments = ["compile", "--config", "tiny", *options, "--target", "kubeflow", "--image", "souk:2"]
    output = tmp_path / "new" / "pipeline.yaml"
    printed = json.loads(souk_here(*arguments, "--output", str(output), "--json").stdout)
    assert printed["parameters"]["date"] is None
    assert printed["parameters"]["push_directory"] == "gs://shop/souk/serving/souk"
    spec = yaml.safe_load(output.read_text())
    assert sorted(spec["root"]["dag"]["tasks"]) == printed["steps"]
    images = {executor["container"]["image"] for executor in spec["deploymentSpec"]["executors"].values()}
    assert images == {"souk:2"}
    assert "(required)" in souk_here(*arguments, "--output", str(output)).stdout
    refused = souk_here(*arguments, "--output", str(tmp_path / "pipeline.json"), expect=2)
    assert "the client of kubeflow reads files that end with .yaml" in refused.output
