import base64
import json
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from souk_client.examples import search_example
from tests.serving.conformance import expected, models

MODEL = f"/v1/models/{models.NAME}"


@pytest.fixture(scope="module")
def fetch(target):
    """Sends a request; returns its HTTP status and its text."""
    if target.rest is None:
        pytest.skip("--rest-target was not given")

    def send(path: str, body: object = None) -> tuple[int, str]:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(f"http://{target.rest}{path}", data, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return send


@pytest.fixture(scope="module")
def ask(fetch):
    """Sends a request; returns its HTTP status and its JSON."""

    def send(path: str, body: object = None) -> tuple[int, dict]:
        status, text = fetch(path, body)
        return status, json.loads(text)

    return send


@pytest.mark.parametrize(
    ("path", "version"),
    [(MODEL, 2), (f"{MODEL}/versions/1", 1), (f"{MODEL}/labels/stable", 1), (f"{MODEL}/labels/canary", 2)],
)
def test_rows_are_answered_by_the_version_in_the_path(ask, path, version):
    body = {"signature_name": "query_text", "instances": ["red shoes", "black lamp"]}
    status, answer = ask(f"{path}:predict", body)
    ids, scores = expected.query_text(version, "red shoes", "black lamp")
    assert (status, [row["item_ids"] for row in answer["predictions"]]) == (200, ids)
    for row, wanted in zip(answer["predictions"], scores, strict=True):
        assert row["scores"] == pytest.approx(wanted, rel=1e-5)
        assert row["relevance_control"] == "off"


def test_named_rows_and_columns_are_answered_alike(ask):
    ids, _ = expected.query_text(2, "red shoes")
    named = {"signature_name": "query_text", "instances": [{"query": "red shoes"}]}
    assert ask(f"{MODEL}:predict", named)[1]["predictions"][0]["item_ids"] == ids[0]
    for inputs in (["red shoes"], {"query": ["red shoes"]}):
        status, answer = ask(f"{MODEL}:predict", {"signature_name": "query_text", "inputs": inputs})
        assert (status, answer["outputs"]["item_ids"]) == (200, ids)


def test_bytes_come_as_base64(ask):
    example = {"b64": base64.b64encode(search_example("red shoes")).decode()}
    status, answer = ask(f"{MODEL}:predict", {"instances": [example]})
    assert (status, answer["predictions"][0]["item_ids"]) == (200, expected.query_text(2, "red shoes")[0][0])


def test_a_single_output_has_no_name(ask):
    example = {"b64": base64.b64encode(search_example("red shoes")).decode()}
    status, answer = ask(f"{MODEL}:predict", {"signature_name": "encode_query", "instances": [example]})
    (row,) = answer["predictions"]
    assert (status, len(row), len(row[0])) == (200, 1, 8)


def test_status_is_told(ask):
    entry = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    status, answer = ask(MODEL)
    assert status == 200
    # Versions that were unloaded may be remembered.
    by_version = {found.pop("version"): found for found in answer["model_version_status"] if found["state"] != "END"}
    assert by_version == {"1": entry, "2": entry}
    assert ask(f"{MODEL}/versions/1") == (200, {"model_version_status": [{"version": "1", **entry}]})
    assert ask(f"{MODEL}/labels/stable") == ask(MODEL)


def test_metadata_is_told(ask):
    status, answer = ask(f"{MODEL}/metadata")
    assert (status, answer["model_spec"]["name"], answer["model_spec"]["version"]) == (200, models.NAME, "2")
    signature = answer["metadata"]["signature_def"]["signature_def"]["query_text"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["query"]["dtype"] == "DT_STRING"
    assert signature["inputs"]["query"]["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}


PREDICT = f"{MODEL}:predict"


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        ("/v1/models/bazaar:predict", {"instances": ["a"]}, 404, "Servable not found for request: Latest(bazaar)"),
        (
            f"{MODEL}/versions/77:predict",
            {"instances": ["a"]},
            404,
            "Servable not found for request: Specific(souk, 77)",
        ),
        (f"{MODEL}/labels/x:predict", {"instances": ["a"]}, 400, "Unrecognized servable version label: x"),
        ("/v1/models/bazaar", None, 404, "Could not find any versions of model bazaar"),
        (f"{MODEL}/versions/77", None, 404, "Could not find version 77 of model souk"),
        ("/v1/models", None, 400, "Missing model name in request."),
        ("/v1/nowhere", None, 400, "Malformed request: GET /v1/nowhere"),
        (PREDICT, {}, 400, "Missing 'inputs' or 'instances' key"),
        (PREDICT, {"instances": []}, 400, "No values in 'instances' array"),
        (PREDICT, {"instances": "a"}, 400, "to be an list/array"),
        (PREDICT, {"instances": ["a"], "inputs": ["a"]}, 400, "expecting only one of 'inputs' or 'instances' keys"),
        (PREDICT, {"instances": [1]}, 400, "is not of expected type: string"),
        (PREDICT, {"instances": [["a"], ["b", "c"]]}, 400, ""),
        (PREDICT, {"instances": [{"b64": "*"}]}, 400, "Unable to base64 decode"),
        (PREDICT, {"inputs": {"q": ["a"]}}, 400, "Missing named input: examples in 'inputs' object."),
        (PREDICT, {"instances": ["a"], "signature_name": 3}, 400, "'signature_name' key must be a string value"),
        (PREDICT, {"instances": ["a"], "signature_name": "x"}, 400, 'Serving signature name: "x" not found'),
        (PREDICT, ["a"], 400, "Is not object"),
        (PREDICT, {"instances": ["no example"]}, 400, "Could not parse example input"),
    ],
)
def test_a_wrong_request_is_refused(ask, path, body, code, message):
    status, answer = ask(path, body)
    # TensorFlow Serving escapes quotes in messages once more.
    assert (status, message in answer["error"].replace("\\", "")) == (code, True), answer


@pytest.mark.parametrize("inputs", [[], {"query": []}], ids=["plain", "named"])
def test_an_empty_batch_harms_nobody(ask, inputs):
    """As over gRPC, see test_grpc; an empty list of `instances` is refused by both servers, see above."""
    status, answer = ask(PREDICT, {"signature_name": "query_text", "inputs": inputs})
    assert status == 400 or (status == 200 and not any(answer["outputs"].values())), answer
    assert ask(PREDICT, {"signature_name": "query_text", "instances": ["red shoes"]})[0] == 200


def test_requests_are_counted(ask, fetch):
    assert ask(PREDICT, {"signature_name": "query_text", "instances": ["red shoes"]})[0] == 200
    status, text = fetch("/monitoring/prometheus/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert status == 200
    count = sum(
        sample.value
        for sample in families[":tensorflow:serving:request_count"].samples
        if sample.labels["model_name"] == models.NAME and sample.labels["status"] == "OK"
    )
    latency = sum(
        sample.value
        for sample in families[":tensorflow:serving:request_latency"].samples
        if sample.name.endswith("_count") and sample.labels["entrypoint"] == "REST"
    )
    assert count >= 1
    assert latency >= 1
    assert ":tensorflow:core:graph_runs" in families
