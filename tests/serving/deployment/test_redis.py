"""The Redis that compose and Kubernetes start."""

import subprocess

import redis

from tests import redis_server
from tests.serving.deployment.files import DOCKER, KUBERNETES, only

CONF = DOCKER / "redis" / "redis.conf"


def test_kubernetes_and_compose_give_redis_one_configuration():
    folder = KUBERNETES / "redis"
    assert only(folder / "configmap.yaml")["data"]["redis.conf"] == CONF.read_text()
    pod = only(folder / "statefulset.yaml")["spec"]["template"]["spec"]
    compose = only(DOCKER / "compose.yaml")["services"]["redis"]
    (container,) = pod["containers"]
    assert (container["image"], container["args"]) == (compose["image"], compose["command"])
    assert compose["command"][1] == f"/etc/redis/{CONF.name}"
    assert {"./redis:/etc/redis:ro", "redis:/data"} == set(compose["volumes"])
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/etc/redis", "/data"}


def test_the_pods_of_redis_are_found_by_service_and_policy():
    folder = KUBERNETES / "redis"
    labels = only(folder / "statefulset.yaml")["spec"]["template"]["metadata"]["labels"]
    assert only(folder / "statefulset.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert only(folder / "service.yaml")["spec"]["selector"] == labels
    assert only(folder / "network_policy.yaml")["spec"]["podSelector"]["matchLabels"] == labels


def test_redis_takes_its_configuration(tmp_path):
    with redis_server.running(CONF, "--appenddirname", "kept") as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-ttl"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        client.set("a", "b")
        server.stop()
        server.start()
        assert client.get("a") == b"b"


def test_the_image_of_redis_is_as_new_as_the_scripts_need():
    """Debian's, which the tests run, has no newer commands than the image."""
    image = only(DOCKER / "compose.yaml")["services"]["redis"]["image"]
    found = redis_server.programs()
    if found is not None:
        told = subprocess.run(
            found.command("redis-server", "--version"),
            env=found.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        tested = told.split("v=")[1].split()[0].split(".")[:2]
        assert tested <= image.partition(":")[2].split("-")[0].split(".")[:2]
