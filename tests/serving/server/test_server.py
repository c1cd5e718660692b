import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from schema.settings import InputError
from serving.config import ServingConfig
from serving.server.manager import State, Status
from serving.server.server import start
from souk_client.examples import search_example
from tests.serving import tiny_retriever
from tests.serving.waiting import wait_for


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def predict(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict


def request(values=("red shoes",), name="souk", signature="query_text", input_name="query", **spec):
    made = predict_pb2.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = name, signature
    if "version" in spec:
        made.model_spec.version.value = spec["version"]
    if "label" in spec:
        made.model_spec.version_label = spec["label"]
    made.inputs[input_name].CopyFrom(tf.make_tensor_proto(values))
    return made


def test_tensorflows_own_stubs_get_the_models_answer(predict):
    examples = [search_example("red shoes"), search_example("black lamp")]
    response = predict(request(examples, signature="", input_name="examples"))
    model = tiny_retriever.TinyRetriever(version=3, k=10, flaw="none")
    expected = model.serving_default(tf.constant(examples))
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["item_ids"]), expected["item_ids"])
    np.testing.assert_allclose(tf.make_ndarray(response.outputs["scores"]), expected["scores"], rtol=1e-5)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("souk", 3, "serving_default")


def test_a_version_can_be_asked_for_by_number(predict):
    assert predict(request(version=3)).model_spec.version.value == 3


def test_an_output_filter_is_honored(predict):
    wanted = request()
    wanted.output_filter.append("scores")
    assert predict(wanted).outputs.keys() == {"scores"}


@pytest.mark.parametrize(
    ("wrong", "code", "message"),
    [
        (request(name="bazaar"), "NOT_FOUND", "Servable not found for request: Latest(bazaar)"),
        (request(name="bazaar", version=3), "NOT_FOUND", "Servable not found for request: Specific(bazaar, 3)"),
        (request(version=4), "NOT_FOUND", "Servable not found for request: Specific(souk, 4)"),
        (request(label="stable"), "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
        (request(signature="nowhere"), "FAILED_PRECONDITION", 'Serving signature key "nowhere" not found.'),
        (request(input_name="q"), "INVALID_ARGUMENT", "Sent extra: {q}. Missing but required: {query}."),
        (request([1.5]), "INVALID_ARGUMENT", "input 'query' must be string, got float32"),
        (request([["red"]]), "INVALID_ARGUMENT", "input 'query' must have shape"),
        (request(["x"], signature="encode_query", input_name="examples"), "INVALID_ARGUMENT", "Could not parse"),
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (predict_pb2.PredictRequest(model_spec={"name": "souk"}), "INVALID_ARGUMENT", "does not match signature: 0!=1"),
        (
            predict_pb2.PredictRequest(model_spec={"name": "souk"}, inputs={"examples": tf.make_tensor_proto(0)}),
            "INVALID_ARGUMENT",
            "must be string",
        ),
    ],
)
def test_a_wrong_request_gets_tensorflow_servings_status(predict, wrong, code, message):
    with pytest.raises(grpc.RpcError) as caught:
        predict(wrong)
    assert (caught.value.code().name, message in caught.value.details()) == (code, True), caught.value.details()


def test_an_unknown_output_is_refused(predict):
    wanted = request()
    wanted.output_filter.append("price")
    with pytest.raises(grpc.RpcError) as caught:
        predict(wanted)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "output tensor alias not found in signature: price" in caught.value.details()


def test_a_service_that_is_not_offered_says_so(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Classify(classification_pb2.ClassificationRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_metadata_is_the_saved_models_signature_map(channel):
    asked = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": "souk"}, metadata_field=["signature_def"]
    )
    response = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(asked)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert response.model_spec.version.value == 3
    assert found.signature_def["query_text"].inputs["query"].dtype == tf.string.as_datatype_enum
    assert found.signature_def["serving_default"].method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"model_spec": {"name": "souk"}}, "must specify at least one metadata_field"),
        ({"model_spec": {"name": "souk"}, "metadata_field": ["color"]}, "Metadata field color is not supported"),
        ({"metadata_field": ["signature_def"]}, "Missing ModelSpec"),
    ],
)
def test_a_wrong_question_for_metadata_is_refused(channel, asked, message):
    with pytest.raises(grpc.RpcError) as caught:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(
            get_model_metadata_pb2.GetModelMetadataRequest(**asked)
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert message in caught.value.details()


def test_status_is_read_by_tensorflows_own_stubs(channel):
    asked = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "souk"})
    response = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(asked)
    (entry,) = response.model_version_status
    assert (entry.version, entry.state, entry.status.error_code) == (3, entry.AVAILABLE, 0)


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ({"name": "bazaar"}, "NOT_FOUND", "Could not find any versions of model bazaar"),
        ({"name": "souk", "version": {"value": 4}}, "NOT_FOUND", "Could not find version 4 of model souk"),
        (None, "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_a_wrong_question_for_status_is_refused(channel, spec, code, message):
    with pytest.raises(grpc.RpcError) as caught:
        model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
            get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        )
    assert (caught.value.code().name, caught.value.details()) == (code, message)


def test_a_folder_that_cannot_be_served_is_explained(tmp_path):
    with pytest.raises(InputError, match=r"--model-dir DIR"):
        start(ServingConfig())
    with pytest.raises(InputError, match=r"There is no model folder .*missing"):
        start(ServingConfig(model_dir=str(tmp_path / "missing")))
    version = tiny_retriever.push(tmp_path, 1)
    with pytest.raises(InputError, match="is a version itself"):
        start(ServingConfig(model_dir=str(version)))


def test_a_port_that_is_taken_is_explained(server, tmp_path):
    with pytest.raises(InputError, match=f"Cannot listen on 127.0.0.1:{server.port}"):
        start(ServingConfig(model_dir=str(tmp_path), port=server.port))


def config(**models) -> str:
    return (
        "model_config_list {"
        + "".join(
            f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }}'
            for name, (base, more) in models.items()
        )
        + "}"
    )


def reload_request(text: str) -> model_management_pb2.ReloadConfigRequest:
    return text_format.Parse(f"config {{ {text} }}", model_management_pb2.ReloadConfigRequest())


def test_several_models_are_served_and_reloaded_over_grpc(tmp_path, start_server):
    for name, version in (("shop", 1), ("shop", 2), ("fair", 7)):
        (tmp_path / name).mkdir(exist_ok=True)
        tiny_retriever.push(tmp_path / name, version)
    shop, fair = (tmp_path / "shop", "model_version_policy { all {} }"), (tmp_path / "fair", "")
    (tmp_path / "models.config").write_text(config(shop=shop, fair=fair))
    server = start_server(None, model_config_file=str(tmp_path / "models.config"))
    assert server.manager.wait_until_available(60)
    with grpc.insecure_channel(server.address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        service = model_service_pb2_grpc.ModelServiceStub(channel)
        assert predict(request(name="fair")).model_spec.version.value == 7
        served = {1: Status(State.AVAILABLE), 2: Status(State.AVAILABLE)}
        wait_for(lambda: server.manager.statuses(model_pb2.ModelSpec(name="shop")) == served, "both versions")
        with pytest.raises(grpc.RpcError) as caught:
            predict(request(name="shop", label="stable"))
        assert caught.value.details() == "Unrecognized servable version label: stable"
        labeled = (tmp_path / "shop", shop[1] + 'version_labels { key: "stable" value: 1 }')
        response = service.HandleReloadConfigRequest(reload_request(config(shop=labeled)))
        assert response.status.error_code == 0
        assert predict(request(name="shop", label="stable")).model_spec.version.value == 1
        with pytest.raises(grpc.RpcError) as caught:
            predict(request(name="fair"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

        wrong = (tmp_path / "nowhere", "")
        for refused, code in ((config(shop=shop, nowhere=wrong), "INVALID_ARGUMENT"), ("", "INVALID_ARGUMENT")):
            with pytest.raises(grpc.RpcError) as caught:
                service.HandleReloadConfigRequest(reload_request(refused))
            assert caught.value.code().name == code
        assert predict(request(name="shop", label="stable")).model_spec.version.value == 1


def test_health_says_when_a_model_answers(tmp_path, start_server):
    server = start_server(tmp_path)

    def health(service: str) -> int:
        with grpc.insecure_channel(server.address) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString)
            return HealthCheckResponse.FromString(check(HealthCheckRequest(service=service))).status

    assert (health(""), health("souk")) == (HealthCheckResponse.NOT_SERVING, HealthCheckResponse.NOT_SERVING)
    tiny_retriever.push(tmp_path, 1)
    wait_for(lambda: health("souk") == HealthCheckResponse.SERVING, "the model")
    assert health("") == HealthCheckResponse.SERVING


def test_who_watches_is_told_that_the_server_ends(tmp_path):
    tiny_retriever.push(tmp_path, 1)
    server = start(ServingConfig(model_dir=str(tmp_path), port=0))
    assert server.manager.wait_until_available(60)
    with grpc.insecure_channel(server.address) as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString)
        told = watch(HealthCheckRequest(service="souk"), timeout=30)
        assert HealthCheckResponse.FromString(next(told)).status == HealthCheckResponse.SERVING
        server.stop(grace=1)
        assert HealthCheckResponse.FromString(next(told)).status == HealthCheckResponse.NOT_SERVING
