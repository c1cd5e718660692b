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

from serving.server import loader, prediction
from tests.serving import tiny_retriever
from tests.serving.waiting import wait_for


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


@pytest.fixture
def slow_runs(monkeypatch):
    """Lets runs of signatures wait until the event is set."""
    go_on = threading.Event()
    run_counted = prediction.run_counted

    def wait(*arguments):
        go_on.wait(60)
        return run_counted(*arguments)

    monkeypatch.setattr(prediction, "run_counted", wait)
    yield go_on
    go_on.set()


def test_a_request_whose_deadline_is_past_or_whose_caller_has_gone_is_not_run(predict, slow_runs):
    server, call = predict(threads=1)
    first = call.future(request(["red"]))
    wait_for(lambda: server.manager._entries["souk"].manager._served[1].users == 1, "the first request")
    assert refusal(call, request(["red"]), timeout=0.2)[0] == "DEADLINE_EXCEEDED"
    call.future(request(["red"])).cancel()
    slow_runs.set()
    assert first.result(30).outputs
    assert call(request(["red"]), timeout=30).outputs
    assert runs(server) == 2


def test_a_reload_that_waits_for_a_model_keeps_no_request_waiting(predict, monkeypatch, tmp_path):
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
    connection = http.client.HTTPConnection(server.rest_address, timeout=30)
    body = json.dumps({"signature_name": "query_text", "instances": ["red"]})
    connection.request("POST", "/v1/models/souk:predict", body)
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (504, {"error": "Deadline Exceeded"})
    assert runs(server) == 0
