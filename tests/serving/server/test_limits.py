"""Sizes and deadlines: what is too much or too late is refused before TensorFlow sees it."""

import http.client
import json
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from schema import features
from serving.config import ServingConfig
from serving.server import batching, loader
from serving.server.server import start
from tests.serving import tiny_retriever
from tests.serving.waiting import wait_for

SIGNATURES = (
    features.SIGNATURE_DEFAULT,
    features.SIGNATURE_QUERY_TEXT,
    features.SIGNATURE_ENCODE_QUERY,
    features.SIGNATURE_ENCODE_ITEMS,
)
NO_ROWS = "input '{}' has 0 rows, so there is nothing to answer; send at least one"


def request(values) -> predict_pb2.PredictRequest:
    made = predict_pb2.PredictRequest(model_spec={"name": "souk", "signature_name": "query_text"})
    made.inputs["query"].CopyFrom(tf.make_tensor_proto(np.array(values, object), tf.string))
    return made


@pytest.fixture
def predict(tmp_path, start_server):
    """Starts a server with some limits; returns it and its Predict."""
    channels = []

    def begin(**limits):
        tiny_retriever.push(tmp_path, 1)
        server = start_server(tmp_path, **limits)
        assert server.manager.wait_until_available(60)
        channels.append(grpc.insecure_channel(server.address))
        return server, prediction_service_pb2_grpc.PredictionServiceStub(channels[-1]).Predict

    yield begin
    for channel in channels:
        channel.close()


def runs(server) -> int:
    return int(server.predictor.metrics.graph_runs._values.get((), 0))


def refusal(call, *arguments, **options) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value.code().name, caught.value.details()


def post(server, body: dict) -> tuple[int, dict]:
    """Status and JSON of a Predict over REST."""
    connection = http.client.HTTPConnection(server.rest_address, timeout=30)
    connection.request("POST", "/v1/models/souk:predict", json.dumps(body))
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def test_a_request_that_is_too_large_is_not_read(predict):
    server, call = predict(max_request_bytes=1000)
    assert call(request(["red"])).outputs
    assert refusal(call, request(["x" * 2000]))[0] == "RESOURCE_EXHAUSTED"
    assert runs(server) == 1


def test_a_request_of_too_many_rows_is_refused(predict):
    server, call = predict(max_rows=3)
    assert call(request(["red"] * 3)).outputs
    assert refusal(call, request(["red"] * 4)) == (
        "INVALID_ARGUMENT",
        "input 'query' has 4 rows; this server takes 3 at most",
    )
    repeated = request(["red"])
    repeated.inputs["query"].tensor_shape.dim[0].size = 2**40
    assert refusal(call, repeated)[0] == "INVALID_ARGUMENT"
    assert runs(server) == 1


@pytest.fixture(scope="module", params=["alone", "batched"])
def any_server(request, tmp_path_factory):
    """A server without batching, and one with it."""
    folder = tmp_path_factory.mktemp(request.param)
    tiny_retriever.push(folder / "models", 1)
    parameters = folder / "batching.config"
    parameters.write_text("max_batch_size { value: 4 }")
    options = {"enable_batching": False} if request.param == "alone" else {"batching_parameters_file": str(parameters)}
    server = start(ServingConfig(model_dir=str(folder / "models"), port=0, poll_interval_s=60, **options))
    assert server.manager.wait_until_available(60)
    yield server
    server.stop(grace=1)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_predict_of_no_rows_is_refused_over_grpc(any_server, signature):
    empty = predict_pb2.PredictRequest(model_spec={"name": "souk", "signature_name": signature})
    name = "query" if signature == features.SIGNATURE_QUERY_TEXT else "examples"
    empty.inputs[name].CopyFrom(tf.make_tensor_proto(np.zeros([0], object), tf.string))
    with grpc.insecure_channel(any_server.address) as channel:
        call = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        before = runs(any_server)
        assert refusal(call, empty, timeout=30) == ("INVALID_ARGUMENT", NO_ROWS.format(name))
        assert runs(any_server) == before
        assert call(request(["red"]), timeout=30).outputs


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("layout", ["instances", "inputs", "named inputs"])
def test_a_predict_of_no_rows_is_refused_over_rest(any_server, signature, layout):
    name = "query" if signature == features.SIGNATURE_QUERY_TEXT else "examples"
    told = "JSON Value: [] No values in 'instances' array" if layout == "instances" else NO_ROWS.format(name)
    body = {"instances": {"instances": []}, "inputs": {"inputs": []}, "named inputs": {"inputs": {name: []}}}[layout]
    assert post(any_server, {"signature_name": signature, **body}) == (400, {"error": told})
    assert post(any_server, {"signature_name": "query_text", "instances": ["red"]})[0] == 200


@pytest.fixture
def slow_runs(monkeypatch):
    """Lets runs of signatures wait until the event is set."""
    go_on = threading.Event()
    run_counted = batching.run_counted

    def wait(*arguments):
        go_on.wait(60)
        return run_counted(*arguments)

    monkeypatch.setattr(batching, "run_counted", wait)
    yield go_on
    go_on.set()


def test_a_late_or_abandoned_request_is_not_run(predict, slow_runs):
    server, call = predict(threads=1)
    first = call.future(request(["red"]))
    wait_for(lambda: server.manager._entries["souk"].manager._served[1].users == 1, "the first request")
    assert refusal(call, request(["red"]), timeout=0.2)[0] == "DEADLINE_EXCEEDED"
    call.future(request(["red"])).cancel()
    slow_runs.set()
    assert first.result(30).outputs
    assert call(request(["red"]), timeout=30).outputs
    assert runs(server) == 2


def test_a_reload_waiting_for_a_model_delays_no_request(predict, monkeypatch, tmp_path):
    server, call = predict(threads=1)
    go_on = threading.Event()
    load = loader.load
    monkeypatch.setattr(loader, "load", lambda path: go_on.wait(60) and load(path))
    text = (
        f'config {{ model_config_list {{ config {{ name: "souk" base_path: "{tmp_path}" model_platform: "tensorflow" }}'
        f' config {{ name: "new" base_path: "{tmp_path}" model_platform: "tensorflow" }} }} }}'
    )
    reload_request = text_format.Parse(text, model_management_pb2.ReloadConfigRequest())
    with grpc.insecure_channel(server.address) as channel:
        reloading = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest.future(reload_request)
        wait_for(server.manager._reloading.locked, "the reload")
        assert call(request(["red"]), timeout=30).outputs
        go_on.set()
        assert reloading.result(60).status.error_code == 0
    assert set(server.manager.names()) == {"souk", "new"}


def test_a_rest_request_has_a_deadline_too(predict):
    server, _ = predict(rest_timeout_s=1e-9)
    body = {"signature_name": "query_text", "instances": ["red"]}
    assert post(server, body) == (504, {"error": "Deadline Exceeded"})
    assert runs(server) == 0
