import re
import subprocess

import pytest

from serving.server.metrics import Metrics
from tests.dockerfiles import program
from tests.serving.deployment.files import CONFIGS, DOCKER, KUBERNETES, ROOT, image_command, only

FOLDER = DOCKER / "prometheus"


def alerts(groups) -> dict:
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


RULES = alerts(only(FOLDER / "alerts.yaml")["groups"])
OPERATOR_RULES = alerts(only(KUBERNETES / "prometheus_operator" / "rules.yaml")["spec"]["groups"])


def test_prometheus_scrapes_the_servers_rest_port_at_its_path():
    jobs = {job["job_name"]: job for job in only(FOLDER / "prometheus.yaml")["scrape_configs"]}
    port = image_command(DOCKER / "stock.Dockerfile")["rest_api_port"]
    services = only(DOCKER / "compose.yaml")["services"]
    assert jobs["souk"]["static_configs"] == [{"targets": [f"serving:{port}"]}]
    assert "serving" in services
    path = jobs["souk"]["metrics_path"]
    assert f'path: "{path}"' in (CONFIGS / "monitoring.config").read_text()
    pod = only(KUBERNETES / "base" / "deployment.yaml")["spec"]["template"]
    assert pod["metadata"]["annotations"]["prometheus.io/path"] == path
    (endpoint,) = only(KUBERNETES / "prometheus_operator" / "servicemonitor.yaml")["spec"]["endpoints"]
    assert endpoint["path"] == path
    asked = jobs["souk-available"]
    (target,) = asked["static_configs"][0]["targets"]
    assert target == f"http://serving:{port}/v1/models/souk/metadata"
    assert asked["params"]["module"] == list(only(FOLDER / "blackbox.yaml")["modules"])
    assert asked["relabel_configs"][-1]["replacement"].split(":")[0] in services


@pytest.mark.parametrize("rules", [RULES, OPERATOR_RULES], ids=["compose", "operator"])
def test_alerts_use_metrics_and_labels_that_the_server_has(rules):
    metrics = {metric.name: metric for metric in vars(Metrics()).values()}
    used = set()
    for rule in rules.values():
        for name, labels in re.findall(r"(:tensorflow:[\w:]+)(?:\{(.*?)\})?", rule["expr"]):
            metric = metrics[name if name in metrics else re.sub("_(bucket|sum|count)$", "", name)]
            used.add(metric.name)
            assert set(re.findall(r"(\w+)[=!]", labels)) <= set(metric._labels)
    assert {":tensorflow:serving:request_count", ":tensorflow:serving:request_latency"} <= used


@pytest.mark.parametrize("rules", [RULES, OPERATOR_RULES], ids=["compose", "operator"])
def test_alerts_use_scraped_jobs_and_lead_to_the_runbook(rules):
    jobs = {job["job_name"] for job in only(FOLDER / "prometheus.yaml")["scrape_configs"]}
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "deployment.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    for rule in rules.values():
        assert set(re.findall(r'job="([^"]+)"', rule["expr"])) <= jobs
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/deployment.md"
        assert anchor in anchors


def test_the_alert_on_threads_rings_at_80_percent_of_them():
    threads = int(image_command(DOCKER / "stock.Dockerfile")["grpc_max_threads"])
    assert int(RULES["SoukThreadsExhausted"]["expr"].rpartition(">")[2]) == 0.8 * threads


def test_every_alert_has_a_row_of_the_runbook():
    rows = re.findall(r"^\| (Souk\w+) \| (.+?) \|", (ROOT / "docs" / "deployment.md").read_text(), re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(RULES)
    (milliseconds,) = re.findall(r"p99 above (\d+) ms", dict(rows)["SoukSlow"])
    assert int(RULES["SoukSlow"]["expr"].rpartition(">")[2]) == int(milliseconds) * 1000


def test_both_apis_of_predict_count_as_slow():
    """TensorFlow Serving and `souk serve` label gRPC's `Predict`, and REST's `predict`."""
    (pattern,) = re.findall(r'API=~"(.+?)"', RULES["SoukSlow"]["expr"])
    assert [api for api in ("Predict", "predict", "Classify") if re.fullmatch(pattern, api)] == ["Predict", "predict"]


def test_only_the_no_version_alert_differs_for_the_operator():
    assert set(RULES) == set(OPERATOR_RULES)
    assert [name for name in RULES if RULES[name] != OPERATOR_RULES[name]] == ["SoukNoVersionAvailable"]
    deployment = only(KUBERNETES / "base" / "deployment.yaml")["metadata"]["name"]
    assert f'deployment="{deployment}"' in OPERATOR_RULES["SoukNoVersionAvailable"]["expr"]


def test_every_alert_but_the_scrape_has_a_test_of_its_own():
    tested = {
        case["alertname"] for test in only(FOLDER / "alerts.test.yaml")["tests"] for case in test["alert_rule_test"]
    }
    assert tested == set(RULES) - {"SoukNotScraped"}


def test_prometheus_takes_the_files_and_alerts_ring_when_due():
    promtool = program("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    for arguments in (["check", "config", "prometheus.yaml"], ["test", "rules", "alerts.test.yaml"]):
        ended = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
