"""The manifests of a shard, and the copies of them that serve the others."""

import shutil
import subprocess
from typing import Any

import pytest
import yaml

from serving.server import text_protos
from souk_client.protocol import shard_models
from tests.dockerfiles import program
from tests.serving.deployment import kubernetes_fields
from tests.serving.deployment.files import KUBERNETES

SHARDS = 3


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> list[dict[str, dict[str, Any]]]:
    """What kustomize builds of each shard's folder, by kind; the others are copies, as the first one's head says."""
    kubectl = program("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    root = tmp_path_factory.mktemp("kubernetes")
    shutil.copytree(KUBERNETES / "base", root / "base")
    shards = []
    for shard in range(SHARDS):
        folder = root / f"shard-{shard}-of-{SHARDS}"
        shutil.copytree(KUBERNETES / "shard-0-of-3", folder)
        for path in folder.iterdir():
            path.write_text(path.read_text().replace("0-of-3", f"{shard}-of-3"))
        done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, check=True, text=True)
        shards.append({manifest["kind"]: manifest for manifest in yaml.safe_load_all(done.stdout)})
    return shards


def test_every_shard_has_its_own_objects_and_no_namespace(built):
    for kind in built[0]:
        assert len({shard[kind]["metadata"]["name"] for shard in built}) == SHARDS
    assert set(built[0]) == {
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }
    for shard in built:
        for manifest in shard.values():
            assert kubernetes_fields.problems(manifest, kubernetes_fields.model_of(manifest)) == []
            assert manifest["metadata"]["namespace"] == "souk"


def test_selectors_choose_the_pods_of_their_own_shard_alone(built):
    pods = [shard["Deployment"]["spec"]["template"]["metadata"]["labels"] for shard in built]
    for own, shard in enumerate(built):
        spec = shard["Deployment"]["spec"]
        selectors = [
            shard["Service"]["spec"]["selector"],
            shard["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
            spec["selector"]["matchLabels"],
            *(each["labelSelector"]["matchLabels"] for each in spec["template"]["spec"]["topologySpreadConstraints"]),
        ]
        for selector in selectors:
            assert [place for place, labels in enumerate(pods) if selector.items() <= labels.items()] == [own]
        assert shard["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name_of(shard, "Deployment")


def test_each_serves_two_versions_of_the_shard_clients_ask_for(built, tmp_path):
    from tensorflow_serving.config import model_server_config_pb2

    for name, shard in zip(shard_models("souk", SHARDS), built, strict=True):
        file = tmp_path / "models.config"
        file.write_text(shard["ConfigMap"]["data"]["models.config"])
        config = text_protos.read(file, model_server_config_pb2.ModelServerConfig, "models.config", "")
        (entry,) = config.model_config_list.config
        assert (entry.name, entry.base_path) == (name, f"/models/{name}")
        assert entry.model_version_policy.latest.num_versions == 2
        assert {"batching.config", "monitoring.config"} < set(shard["ConfigMap"]["data"])
        pod = shard["Deployment"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["path"].removesuffix("/metadata") == f"/v1/models/{name}"
            assert container[probe]["httpGet"]["port"] == "http"
            assert container[probe]["failureThreshold"] > 1
        names = {v["name"]: v for v in pod["volumes"]}
        assert names["models"]["persistentVolumeClaim"]["claimName"] == name_of(shard, "PersistentVolumeClaim")
        assert names["config"]["configMap"]["name"] == name_of(shard, "ConfigMap")


def name_of(shard: dict[str, dict[str, Any]], kind: str) -> str:
    return shard[kind]["metadata"]["name"]
