import copy
import json
import subprocess

import kubernetes_validate
import pytest
import yaml

from serving.server import batching
from tests.dockerfiles import program
from tests.serving.deployment import kubernetes_fields
from tests.serving.deployment.files import (
    CONFIGS,
    DOCKER,
    KUBERNETES,
    container,
    deployment,
    documents,
    flags,
    image_command,
    only,
)

BASE = KUBERNETES / "base"
MANIFESTS = sorted(
    path for folder in ("base", "redis") for path in KUBERNETES.glob(f"{folder}/*.yaml") if path.name[0] != "k"
)
PATCHES = sorted(path for kind in ("model_*", "shard-*") for path in KUBERNETES.glob(f"{kind}/[!k]*.yaml"))
FOLDERS = sorted(path.parent for path in KUBERNETES.rglob("kustomization.yaml"))
# From the oldest Kubernetes that was still supported when the manifests were written.
KUBERNETES_VERSIONS = ("1.31", "1.33", "1.35")


def named(path):
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("path", MANIFESTS, ids=named)
def test_manifests_have_the_fields_kubernetes_knows_and_needs(path):
    for manifest in documents(path):
        assert kubernetes_fields.problems(manifest, kubernetes_fields.model_of(manifest)) == []
        assert kubernetes_fields.read_whole(manifest).metadata.name == manifest["metadata"]["name"]


@pytest.mark.parametrize("path", PATCHES, ids=named)
def test_patches_have_known_fields_and_change_what_is_there(path):
    there = {(entry["kind"], entry["metadata"]["name"]) for each in MANIFESTS for entry in documents(each)}
    for patch in documents(path):
        assert kubernetes_fields.problems(patch, kubernetes_fields.model_of(patch)) == []
        assert (patch["kind"], patch["metadata"]["name"]) in there


def test_the_check_of_fields_finds_what_is_wrong():
    wrong = copy.deepcopy(deployment())
    wrong["spec"]["replicaz"] = 3
    pod = wrong["spec"]["template"]["spec"]
    pod["containers"][0]["readinessProbe"]["periodSeconds"] = "5"
    pod["volumes"][0]["name"] = 7
    found = kubernetes_fields.problems(wrong, "V1Deployment")
    assert {problem.split(" ")[0] for problem in found} == {
        ".spec.replicaz",
        ".spec.template.spec.containers[0].readinessProbe.periodSeconds",
        ".spec.template.spec.volumes[0].name",
    }
    del wrong["spec"]["selector"]
    with pytest.raises(ValueError, match="selector"):
        kubernetes_fields.read_whole(wrong)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_manifests_fit_the_schemas_of_kubernetes(version):
    for manifest in (manifest for path in MANIFESTS for manifest in documents(path)):
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_kustomizations_list_all_files_there_and_no_others(folder):
    listed = only(folder / "kustomization.yaml")
    names = [*listed["resources"], *(patch["path"] for patch in listed.get("patches", []))]
    assert [name for name in names if not (folder / name).exists()] == []
    beside = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert {name for name in names if name.endswith(".yaml")} == beside


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_kustomize_builds_is_whole(folder):
    kubectl = program("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    built = subprocess.run([kubectl, "kustomize", folder], capture_output=True, check=True, text=True)
    manifests = list(yaml.safe_load_all(built.stdout))
    assert manifests
    for manifest in manifests:
        if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        assert kubernetes_fields.problems(manifest, kubernetes_fields.model_of(manifest)) == []
        if manifest["kind"] == "Deployment":
            (models,) = [v for v in manifest["spec"]["template"]["spec"]["volumes"] if v["name"] == "models"]
            # Two sources for one volume are refused by Kubernetes.
            assert len(models) == 2


def test_selectors_choose_the_pods_of_the_deployment():
    spec = deployment()["spec"]
    labels = spec["template"]["metadata"]["labels"]
    selectors = [
        spec["selector"]["matchLabels"],
        only(BASE / "service.yaml")["spec"]["selector"],
        only(BASE / "disruption_budget.yaml")["spec"]["selector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in spec["template"]["spec"]["topologySpreadConstraints"]),
    ]
    assert all(selector.items() <= labels.items() and selector for selector in selectors)
    target = only(BASE / "autoscaler.yaml")["spec"]["scaleTargetRef"]
    assert (target["apiVersion"], target["kind"], target["name"]) == ("apps/v1", "Deployment", "souk")
    assert deployment()["metadata"]["name"] == "souk"


def test_the_monitor_chooses_the_service_and_one_of_its_ports():
    service = only(BASE / "service.yaml")
    monitor = only(KUBERNETES / "prometheus_operator" / "servicemonitor.yaml")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_server_container_service_probes_and_image_share_ports():
    given = flags(container()["args"])
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"grpc": int(given["port"]), "http": int(given["rest_api_port"])}
    service = {port["targetPort"]: port["port"] for port in only(BASE / "service.yaml")["spec"]["ports"]}
    assert service == ports
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container()[probe]["httpGet"]["port"] == "http"
    annotations = deployment()["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == given["rest_api_port"]
    stock = image_command(DOCKER / "stock.Dockerfile")
    assert (stock["port"], stock["rest_api_port"]) == (given["port"], given["rest_api_port"])


def test_the_server_gets_the_flags_of_the_image():
    given = flags(container()["args"])
    assert image_command(DOCKER / "stock.Dockerfile").items() <= given.items()


def test_no_pod_replaces_the_images_init_or_its_flags():
    """`command` would replace the image's ENTRYPOINT; a patch that gave `args` would replace the base's."""
    assert "command" not in container()
    for path in PATCHES:
        for patch in documents(path):
            pod = patch.get("spec", {}).get("template", {}).get("spec", {})
            for each in pod.get("containers", []):
                assert not {"args", "command", "image"} & set(each), named(path)


def test_threads_suffice_for_the_running_batches_and_the_next():
    options = batching.read_options(CONFIGS / "batching.config")
    threads = int(flags(container()["args"])["grpc_max_threads"])
    assert threads == options.max_batch_size * (options.threads + 1)
    assert threads >= options.max_batch_size


def test_a_version_that_does_not_load_keeps_no_other_waiting():
    given = flags(container()["args"])
    assert given["max_num_load_retries"] == "0"
    assert int(given["num_load_threads"]) > 1


def test_flags_name_files_that_the_mounted_config_map_has():
    pod = deployment()["spec"]["template"]["spec"]
    config_map = only(BASE / "configmap.yaml")
    (volume,) = [each for each in pod["volumes"] if "configMap" in each]
    (mount,) = [each for each in container()["volumeMounts"] if each["name"] == volume["name"]]
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    # A file mounted by itself never changes while the pod lives.
    assert "subPath" not in mount
    named_by_flags = {value for value in flags(container()["args"]).values() if value.startswith("/")}
    assert named_by_flags == {f"{mount['mountPath']}/{key}" for key in config_map["data"]}


def test_the_config_map_says_what_the_files_say():
    data = only(BASE / "configmap.yaml")["data"]
    assert data == {name: (CONFIGS / name).read_text() for name in data}


def test_volumes_match_mounts_and_only_scratch_is_writable():
    pod = deployment()["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    assert {name for name, mount in mounts.items() if not mount.get("readOnly")} == {"tmp"}
    claim = next(v["persistentVolumeClaim"] for v in pod["volumes"] if "persistentVolumeClaim" in v)
    assert claim == {"claimName": only(BASE / "volume.yaml")["metadata"]["name"], "readOnly": True}


def test_probes_ask_for_a_model_that_is_served():
    config = (CONFIGS / "models.config").read_text()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        model = container()[probe]["httpGet"]["path"].removeprefix("/v1/models/").split("/")[0]
        assert f'name: "{model}"' in config


def test_a_pod_ends_after_every_connection_has():
    arguments = dict(pair.split("=") for pair in flags(container()["args"])["grpc_channel_arguments"].split(","))
    age = int(arguments["grpc.max_connection_age_ms"]) + int(arguments["grpc.max_connection_age_grace_ms"])
    command = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    assert int(command[1]) * 1000 >= age
    assert deployment()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > int(command[1])


def test_the_rollout_waits_as_long_as_a_pod_may_take_to_start():
    startup = container()["startupProbe"]
    assert deployment()["spec"]["progressDeadlineSeconds"] > startup["periodSeconds"] * startup["failureThreshold"]


def test_threads_are_as_many_as_the_cores_that_are_asked_for():
    cores = container()["resources"]["requests"]["cpu"]
    given = flags(container()["args"])
    assert given["tensorflow_intra_op_parallelism"] == given["tensorflow_inter_op_parallelism"] == cores
    assert f"num_batch_threads {{ value: {cores} }}" in (CONFIGS / "batching.config").read_text()


def test_pods_keep_to_the_namespaces_restricted_standard():
    labels = only(BASE / "namespace.yaml")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    copied = only(KUBERNETES / "model_copied" / "deployment.yaml")["spec"]["template"]["spec"]["initContainers"]
    pod = deployment()["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for each in [container(), *copied]:
        context = each["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in context


def test_a_disruption_takes_one_pod_of_several():
    budget = only(BASE / "disruption_budget.yaml")["spec"]
    scaling = only(BASE / "autoscaler.yaml")["spec"]
    assert budget["maxUnavailable"] < scaling["minReplicas"] <= scaling["maxReplicas"]
    # Said twice, applying the Deployment would undo what the autoscaler did.
    assert "replicas" not in deployment()["spec"]


def test_images_have_versions():
    (renamed,) = only(BASE / "kustomization.yaml")["images"]
    assert container()["image"] == renamed["name"]
    assert str(renamed["newTag"]) == "2.16.1"
    (copying,) = only(KUBERNETES / "model_copied" / "deployment.yaml")["spec"]["template"]["spec"]["initContainers"]
    assert json.dumps(copying["image"]).count(":") == 1
    assert not copying["image"].endswith(":latest")
