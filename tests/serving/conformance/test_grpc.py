import shutil
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from souk_client.examples import search_example
from tests.serving.conformance import expected, models
from tests.serving.waiting import wait_for

NEWEST = max(models.LABELS.values())


def request(values=("red shoes",), *, name=models.NAME, signature="query_text", input_name="query", **choice):
    made = predict_pb2.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = name, signature
    if "version" in choice:
        made.model_spec.version.value = choice["version"]
    if "label" in choice:
        made.model_spec.version_label = choice["label"]
    made.inputs[input_name].CopyFrom(tf.make_tensor_proto(values))
    return made


def refusal(call, *arguments) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=30)
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize(
    ("choice", "version"),
    [({}, NEWEST), ({"version": 1}, 1), ({"version": 2}, 2), ({"label": "stable"}, 1), ({"label": "canary"}, 2)],
)
def test_the_version_that_was_asked_for_answers(prediction, choice, version):
    response = prediction.Predict(request(["red shoes", "black lamp"], **choice), timeout=30)
    ids, scores = expected.query_text(version, "red shoes", "black lamp")
    assert tf.make_ndarray(response.outputs["item_ids"]).astype(str).tolist() == ids
    np.testing.assert_allclose(tf.make_ndarray(response.outputs["scores"]), scores, rtol=1e-5)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (models.NAME, version, "query_text")


def test_the_default_signature_is_serving_default(prediction):
    made = request([search_example("red shoes")], signature="", input_name="examples")
    response = prediction.Predict(made, timeout=30)
    assert response.model_spec.signature_name == "serving_default"
    assert tf.make_ndarray(response.outputs["item_ids"]).astype(str).tolist() == expected.query_text(2, "red shoes")[0]


def test_values_are_in_the_typed_fields(prediction):
    outputs = prediction.Predict(request(), timeout=30).outputs
    assert len(outputs["scores"].float_val) == len(outputs["item_ids"].string_val) == 10
    assert [dim.size for dim in outputs["scores"].tensor_shape.dim] == [1, 10]


def test_an_output_filter_is_honored(prediction):
    made = request()
    made.output_filter.append("scores")
    assert set(prediction.Predict(made, timeout=30).outputs) == {"scores"}


def test_many_callers_each_get_their_own_answer(prediction):
    """64 calls are in flight: a TensorFlow Serving with the default --grpc_max_threads refuses most of them."""
    titles = [f"{color} {thing}" for color in ("red", "blue") for thing in ("shoes", "lamp", "shirt")] * 22
    with futures.ThreadPoolExecutor(64) as pool:
        responses = list(pool.map(lambda title: prediction.Predict(request([title]), timeout=60), titles))
    ids, _ = expected.query_text(NEWEST, *titles)
    assert [tf.make_ndarray(r.outputs["item_ids"])[0].astype(str).tolist() for r in responses] == ids


@pytest.mark.parametrize(
    ("wrong", "code", "message"),
    [
        (request(name="bazaar"), "NOT_FOUND", "Servable not found for request: Latest(bazaar)"),
        (request(version=models.MISSING_VERSION), "NOT_FOUND", "Servable not found for request: Specific(souk, 77)"),
        (request(label="nightly"), "INVALID_ARGUMENT", "Unrecognized servable version label: nightly"),
        (request(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (request(signature="nowhere"), "FAILED_PRECONDITION", 'Serving signature key "nowhere" not found.'),
        # How inputs are compared has been worded in more than one way over TensorFlow Serving's versions.
        (request(input_name="q"), "INVALID_ARGUMENT", ""),
        (request([1.5]), "INVALID_ARGUMENT", ""),
        (
            request(["x"], signature="encode_query", input_name="examples"),
            "INVALID_ARGUMENT",
            "Could not parse example",
        ),
    ],
)
def test_a_wrong_request_is_refused(prediction, wrong, code, message):
    got, details = refusal(prediction.Predict, wrong)
    assert (got, message in details) == (code, True), details


@pytest.mark.parametrize("signature", ["serving_default", "encode_query"])
def test_a_malformed_example_is_refused_alone(prediction, signature):
    """A server that joins requests into batches may refuse those beside it with the same error, but no later one."""
    sound, malformed = search_example("red shoes"), b"no example"
    with futures.ThreadPoolExecutor(8) as pool:
        made = request([sound], signature=signature, input_name="examples")
        others = [pool.submit(prediction.Predict, made, timeout=30) for _ in range(16)]
        wrong = [
            request(rows, signature=signature, input_name="examples") for rows in ([malformed], [sound, malformed])
        ]
        for each in wrong:
            code, details = refusal(prediction.Predict, each)
            assert (code, "Could not parse example" in details) == ("INVALID_ARGUMENT", True), details
        for other in others:
            error = other.exception(60)
            assert error is None or "Could not parse example" in error.details(), error
    assert prediction.Predict(made, timeout=30).model_spec.signature_name == signature


@pytest.mark.parametrize(
    ("signature", "input_name"),
    [
        ("serving_default", "examples"),
        ("query_text", "query"),
        ("encode_query", "examples"),
        ("encode_items", "examples"),
    ],
)
def test_an_empty_batch_harms_nobody(prediction, signature, input_name):
    """`souk serve` refuses it, TensorFlow Serving may answer with no rows; either goes on answering others.

    A TensorFlow Serving that batches with `allowed_batch_sizes` ends; Souk's batching.config sets none.
    """
    with futures.ThreadPoolExecutor(8) as pool:
        others = [pool.submit(prediction.Predict, request(), timeout=30) for _ in range(16)]
        empty = request(np.zeros([0], object), signature=signature, input_name=input_name)
        asked = prediction.Predict.future(empty, timeout=30)
        if asked.exception() is None:
            assert {tf.make_ndarray(values).shape[0] for values in asked.result().outputs.values()} == {0}
        else:
            assert asked.code() is grpc.StatusCode.INVALID_ARGUMENT, asked.details()
        ids, _ = expected.query_text(NEWEST, "red shoes")
        for response in [other.result(60) for other in others]:
            assert tf.make_ndarray(response.outputs["item_ids"]).astype(str).tolist() == ids


def test_an_unknown_output_is_refused(prediction):
    made = request()
    made.output_filter.append("price")
    code, details = refusal(prediction.Predict, made)
    assert (code, "output tensor alias not found in signature: price" in details) == ("INVALID_ARGUMENT", True)


def test_metadata_is_the_signature_map(prediction):
    asked = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": models.NAME}, metadata_field=["signature_def"]
    )
    response = prediction.GetModelMetadata(asked, timeout=30)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert (response.model_spec.name, response.model_spec.version.value) == (models.NAME, NEWEST)
    assert found.signature_def["query_text"].inputs["query"].dtype == tf.string.as_datatype_enum
    outputs = {"item_ids", "scores", "relevance_control", "vectors"}
    assert set(found.signature_def["serving_default"].outputs) == outputs


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"model_spec": {"name": models.NAME}}, "INVALID_ARGUMENT", "must specify at least one metadata_field"),
        (
            {"model_spec": {"name": models.NAME}, "metadata_field": ["color"]},
            "INVALID_ARGUMENT",
            "Metadata field color is not supported",
        ),
        ({"metadata_field": ["signature_def"]}, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ({"model_spec": {"name": "bazaar"}, "metadata_field": ["signature_def"]}, "NOT_FOUND", "Servable not found"),
    ],
)
def test_a_wrong_question_for_metadata_is_refused(prediction, fields, code, message):
    asked = get_model_metadata_pb2.GetModelMetadataRequest(**fields)
    got, details = refusal(prediction.GetModelMetadata, asked)
    assert (got, message in details) == (code, True), details


def test_status_tells_of_every_version(model_service):
    asked = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": models.NAME})
    response = model_service.GetModelStatus(asked, timeout=30)
    # Versions that were unloaded may be remembered.
    found = {(e.version, e.status.error_code): e.state for e in response.model_version_status if e.state != e.END}
    assert found == {(1, 0): 30, (2, 0): 30}


def test_status_tells_of_one_version(model_service):
    asked = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": models.NAME, "version": {"value": 1}})
    (entry,) = model_service.GetModelStatus(asked, timeout=30).model_version_status
    assert (entry.version, entry.state) == (1, entry.AVAILABLE)


@pytest.mark.parametrize("label", ["stable", "x"])
def test_status_ignores_a_label(model_service, label):
    asked = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": models.NAME, "version_label": label})
    found = model_service.GetModelStatus(asked, timeout=30).model_version_status
    assert {entry.version for entry in found} >= set(models.LABELS.values())


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ({"name": "bazaar"}, "NOT_FOUND", "Could not find any versions of model bazaar"),
        ({"name": models.NAME, "version": {"value": 77}}, "NOT_FOUND", "Could not find version 77 of model souk"),
        (None, "INVALID_ARGUMENT", "Missing ModelSpec"),
    ],
)
def test_a_wrong_question_for_status_is_refused(model_service, spec, code, message):
    asked = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
    got, details = refusal(model_service.GetModelStatus, asked)
    assert (got, message in details) == (code, True), details


def test_the_server_is_healthy(channel):
    check = channel.unary_unary("/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString)
    answer = HealthCheckResponse.FromString(check(HealthCheckRequest(), timeout=30))
    assert answer.status == HealthCheckResponse.SERVING


@pytest.fixture
def reload(target, model_service):
    """Applies labels to the served versions; afterwards they are as before."""
    if target.base_path is None:
        pytest.skip("--served-path was not given")

    def apply(change=lambda config: None, **labels):
        config = models.model_config(target.base_path, **labels)
        change(config)
        return model_management_pb2.ReloadConfigRequest(config=config)

    yield apply
    model_service.HandleReloadConfigRequest(apply(**models.LABELS), timeout=60)


def test_labels_are_moved_by_a_reload(prediction, model_service, reload):
    response = model_service.HandleReloadConfigRequest(reload(stable=2, canary=2), timeout=60)
    assert response.status.error_code == 0
    assert prediction.Predict(request(label="stable"), timeout=30).model_spec.version.value == 2


def test_a_label_cannot_be_moved_to_a_version_that_is_not_there(prediction, model_service, reload):
    code, details = refusal(model_service.HandleReloadConfigRequest, reload(stable=models.MISSING_VERSION, canary=2))
    assert code == "FAILED_PRECONDITION"
    assert "label to version 77 of model souk, which is not currently available for inference" in details
    assert prediction.Predict(request(label="stable"), timeout=30).model_spec.version.value == 1


@pytest.fixture
def folder(target):
    """The folder of the versions, where it is on this machine; version 3 of it is broken, version 4 a good one."""
    found = Path(target.base_path or "nowhere")
    if not (found / "models.config").is_file():
        pytest.skip("the folder at --served-path is not that of this machine")
    (found / "3").mkdir()
    (found / "3" / "saved_model.pb").write_bytes(b"\x12\xff\xff")
    shutil.copytree(found / "2", found / "4")
    yield found
    for number in ("3", "4"):
        shutil.rmtree(found / number)


def test_a_broken_version_keeps_no_good_one_waiting(prediction, model_service, folder, reload):
    """A TensorFlow Serving with the default --max_num_load_retries and --num_load_threads waits five minutes."""

    def serve(*versions: int) -> None:
        def add(config):
            config.model_config_list.config[0].model_version_policy.specific.versions.extend(versions)

        model_service.HandleReloadConfigRequest(reload(add, **models.LABELS), timeout=60)

    def state(version: int) -> str:
        asked = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": models.NAME})
        found = model_service.GetModelStatus(asked, timeout=30).model_version_status
        return next((entry.State.Name(entry.state) for entry in found if entry.version == version), "")

    serve(3)
    wait_for(lambda: state(3) in {"LOADING", "END"}, "the broken version", 30)
    serve(3, 4)
    wait_for(lambda: state(4) == "AVAILABLE", "the good version", 60)
    assert state(3) != "AVAILABLE"
    for version in (1, 2, 4):
        assert prediction.Predict(request(version=version), timeout=30).model_spec.version.value == version


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.Clear(), "Only"),
        (
            lambda config: config.model_config_list.config.append(config.model_config_list.config[0]),
            "Illegal to list model souk multiple times in config list",
        ),
        (
            lambda config: config.model_config_list.config[0].ClearField("model_platform"),
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform.",
        ),
    ],
    ids=["no list", "listed twice", "no platform"],
)
def test_a_senseless_config_is_refused_and_changes_nothing(prediction, model_service, reload, change, message):
    code, details = refusal(model_service.HandleReloadConfigRequest, reload(change, **models.LABELS))
    assert (code, message in details) == ("INVALID_ARGUMENT", True), details
    assert prediction.Predict(request(label="stable"), timeout=30).model_spec.version.value == 1
