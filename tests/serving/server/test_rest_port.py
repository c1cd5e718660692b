import gzip
import http.client
import json
import socket
import urllib.request

import pytest
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families

from schema.settings import InputError
from serving.config import ServingConfig
from serving.server.server import start
from souk_client.client import Client
from tests.serving import tiny_retriever


@pytest.fixture(scope="module")
def rest(server):
    """Sends a request to the REST port of the shared server; returns status and parsed JSON."""

    def send(method, path, body=None, headers=None):
        return ask(server.rest_address, method, path, body, headers)

    return send


def ask(address, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(address, timeout=30)
    data = json.dumps(body) if isinstance(body, dict | list) else body
    connection.request(method, path, data, headers or {})
    response = connection.getresponse()
    text = response.read().decode()
    assert response.headers["Content-Type"].startswith("application/json"), text
    connection.close()
    return response.status, json.loads(text)


def expected(query: str) -> dict:
    model = tiny_retriever.TinyRetriever(version=3, k=10, flaw="none")
    outputs = model.query_text(tf.constant([query]))
    return {"ids": [value.decode() for value in outputs["item_ids"].numpy()[0]], "scores": outputs["scores"].numpy()[0]}


@pytest.mark.parametrize("path", ["/v1/models/souk:predict", "/v1/models/souk/versions/3:predict"])
def test_rows_get_the_models_answer(rest, path):
    status, answer = rest("POST", path, {"signature_name": "query_text", "instances": ["red shoes"]})
    assert status == 200
    (row,) = answer["predictions"]
    assert row["item_ids"] == expected("red shoes")["ids"]
    assert row["scores"] == pytest.approx(expected("red shoes")["scores"].tolist())
    assert row["relevance_control"] == "off"


def test_columns_get_the_models_answer(rest):
    body = {"signature_name": "query_text", "inputs": {"query": ["red shoes", "black lamp"]}}
    status, answer = rest("POST", "/v1/models/souk:predict", body)
    assert status == 200
    assert answer["outputs"]["item_ids"] == [expected(query)["ids"] for query in ("red shoes", "black lamp")]


def test_a_compressed_body_is_read(rest):
    body = gzip.compress(json.dumps({"signature_name": "query_text", "inputs": ["red"]}).encode())
    assert rest("POST", "/v1/models/souk:predict", body, {"Content-Encoding": "gzip"})[0] == 200


def test_status_and_metadata_look_like_tensorflow_servings(rest):
    entry = {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/souk", "/v1/models/souk/versions/3"):
        assert rest("GET", path) == (200, {"model_version_status": [entry]})
    status, answer = rest("GET", "/v1/models/souk/metadata")
    assert (status, answer["model_spec"]) == (200, {"name": "souk", "signature_name": "", "version": "3"})
    signature = answer["metadata"]["signature_def"]["signature_def"]["query_text"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["query"] == {
        "dtype": "DT_STRING",
        "name": signature["inputs"]["query"]["name"],
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
    }


PREDICT = "/v1/models/souk:predict"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        (
            "POST",
            "/v1/models/bazaar:predict",
            {"instances": ["a"]},
            404,
            "Servable not found for request: Latest(bazaar)",
        ),
        ("POST", "/v1/models/souk/versions/9:predict", {"instances": ["a"]}, 404, "Specific(souk, 9)"),
        (
            "POST",
            "/v1/models/souk/labels/new:predict",
            {"instances": ["a"]},
            400,
            "Unrecognized servable version label: new",
        ),
        ("POST", PREDICT, "", 400, "JSON Parse error: The document is empty"),
        ("POST", PREDICT, {"instances": [1]}, 400, "is not of expected type: string"),
        (
            "POST",
            PREDICT,
            {"instances": ["a"], "signature_name": 3},
            400,
            "'signature_name' key must be a string",
        ),
        ("POST", PREDICT, {"instances": ["a"], "signature_name": "x"}, 400, 'Serving signature name: "x" not found'),
        ("POST", PREDICT, {"instances": ["not an example"]}, 400, "Could not parse example input"),
        ("POST", PREDICT, {"inputs": "one"}, 400, "must have shape"),
        ("POST", "/v1/models/souk:classify", {}, 501, "classify is not offered"),
        ("POST", "/v1/models/souk", {}, 400, "Malformed request: POST /v1/models/souk"),
        ("GET", PREDICT, None, 400, "Malformed request: GET /v1/models/souk:predict"),
        ("GET", "/v1/models", None, 400, "Missing model name in request."),
        ("GET", "/v1/models/bazaar", None, 404, "Could not find any versions of model bazaar"),
        ("GET", "/v1/models/souk/versions/9", None, 404, "Could not find version 9 of model souk"),
        ("GET", "/v1/models/souk/versions/99999999999999999999", None, 400, "names no model or version"),
        ("GET", "/v1/models/bazaar/metadata", None, 404, "Servable not found"),
        ("GET", "/v1/models/souk/labels/new/metadata", None, 400, "Unrecognized servable version label: new"),
        ("GET", "/elsewhere", None, 404, "Not Found"),
    ],
)
def test_a_wrong_request_gets_tensorflow_servings_status(rest, method, path, body, status, message):
    got, answer = rest(method, path, body)
    assert (got, message in answer["error"]) == (status, True), answer


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "snappy", "gzip, gzip"])
def test_a_wrong_content_encoding_is_refused_in_json(rest, encoding, caplog):
    body = json.dumps({"signature_name": "query_text", "instances": ["x"]})
    status, answer = rest("POST", PREDICT, body, {"Content-Encoding": encoding})
    assert (status, "encoding" in answer["error"].lower()) == (400, True), answer
    assert rest("GET", "/v1/models/souk")[0] == 200
    assert not caplog.records


def test_a_compressed_body_that_is_cut_short_is_refused(rest):
    body = gzip.compress(json.dumps({"signature_name": "query_text", "instances": ["x"]}).encode())
    assert rest("POST", PREDICT, body[:-12], {"Content-Encoding": "gzip"})[0] == 400


@pytest.mark.parametrize(
    ("request_line", "header", "status"),
    [
        ("BAD", "Host: a", 400),
        ("GET /v1/models/souk HTTP/1.1", "no header", 400),
        (f"GET /{'x' * 9000} HTTP/1.1", "Host: a", 400),
        ("POST /v1/models/souk:predict HTTP/1.1", "Transfer-Encoding: nonsense", 400),
        ("POST /v1/models/souk:predict HTTP/1.1", "Host: a\r\nExpect: cake", 417),
        ("DELETE /monitoring/prometheus/metrics HTTP/1.1", "Host: a", 405),
    ],
)
def test_errors_before_any_handler_are_json_too(server, request_line, header, status):
    host, port = server.rest_address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"{request_line}\r\n{header}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith((f"HTTP/1.1 {status} ", f"HTTP/1.0 {status} ")), answer
    assert "Content-Type: application/json" in head
    assert isinstance(json.loads(body)["error"], str)


def test_a_body_is_sent_once_the_server_says_so(server):
    host, port = server.rest_address.split(":")
    body = b'{"signature_name": "query_text", "instances": ["red"]}'
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_body_that_is_too_large_is_refused(tmp_path, start_server):
    tiny_retriever.push(tmp_path, 1)
    server = start_server(tmp_path, max_request_bytes=1000)
    assert server.manager.wait_until_available(60)
    small = {"signature_name": "query_text", "instances": ["red"]}
    assert ask(server.rest_address, "POST", PREDICT, small)[0] == 200
    large = {"signature_name": "query_text", "instances": ["x" * 2000]}
    assert ask(server.rest_address, "POST", PREDICT, large)[0] == 413
    squeezed = gzip.compress(json.dumps(large).encode())
    assert len(squeezed) < 1000
    assert ask(server.rest_address, "POST", PREDICT, squeezed, {"Content-Encoding": "gzip"})[0] == 413


def test_requests_with_nothing_loaded_get_404_or_503(tmp_path, start_server):
    server = start_server(tmp_path)
    assert ask(server.rest_address, "POST", PREDICT, {"instances": ["a"]})[0] in (404, 503)


def test_rest_can_be_switched_off(tmp_path, start_server):
    assert start_server(tmp_path, rest_port=-1).rest_address is None


def test_a_port_that_is_taken_is_explained(server, tmp_path):
    port = int(server.rest_address.rsplit(":", 1)[1])
    with pytest.raises(InputError, match=f"Cannot listen on 127.0.0.1:{port} for REST.*--rest-port"):
        start(ServingConfig(model_dir=str(tmp_path), port=0, rest_port=port))


def scrape(server) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://{server.rest_address}/monitoring/prometheus/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        text = response.read().decode()
    return {
        # The parser adds the ending that counters have elsewhere.
        (sample.name.removesuffix("_total"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_happens_is_counted(tmp_path, start_server):
    folder = tiny_retriever.push(tmp_path, 1)
    server = start_server(tmp_path)
    assert server.manager.wait_until_available(60)
    with Client(server.address) as client:
        for _ in range(2):
            client.search("red shoes")
    ask(server.rest_address, "POST", PREDICT, {"signature_name": "query_text", "instances": ["red"]})
    ask(server.rest_address, "POST", PREDICT, {"instances": [1]})
    ask(server.rest_address, "POST", "/v1/models/bazaar:predict", {"instances": [1]})
    found = scrape(server)
    prefix = ":tensorflow:serving:"
    expected = {
        (f"{prefix}request_count", "souk", "OK"): 3,
        (f"{prefix}request_count", "souk", "INVALID_ARGUMENT"): 1,
        (f"{prefix}request_count", "(unknown)", "NOT_FOUND"): 1,
        (f"{prefix}request_latency_count", "souk", "Predict", "GRPC"): 2,
        (f"{prefix}request_latency_count", "souk", "predict", "REST"): 1,
        (f"{prefix}request_latency_bucket", "souk", "Predict", "GRPC", "+Inf"): 2,
        (f"{prefix}model_warmup_latency_count", str(folder), "OK"): 1,
        (":tensorflow:core:graph_runs",): 3,
        (":tensorflow:cc:saved_model:load_attempt_count", str(folder), "success"): 1,
    }
    assert {key: found.get(key) for key in expected} == expected
