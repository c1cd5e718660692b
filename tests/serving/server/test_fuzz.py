"""Whatever bytes come, the server answers or refuses them as wrong: it neither fails inside nor stops answering."""

import http.client
import json

import grpc
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int64Value
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_management_pb2, model_pb2, predict_pb2

from schema import features
from serving.config import ServingConfig
from serving.server.server import start
from souk_client.client import Client
from souk_client.examples import search_example
from tests.serving import tiny_retriever

fuzzed = settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)

REFUSED = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}
SIGNATURES = (
    features.SIGNATURE_DEFAULT,
    features.SIGNATURE_QUERY_TEXT,
    features.SIGNATURE_ENCODE_QUERY,
    features.SIGNATURE_ENCODE_ITEMS,
)
EXAMPLE = search_example("red shoes")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A server, a channel to it and an open connection; at the end it must still answer as before."""
    base = tmp_path_factory.mktemp("models")
    tiny_retriever.push(base, 3)
    server = start(ServingConfig(model_dir=str(base), port=0, poll_interval_s=60, max_request_bytes=2**20))
    assert server.manager.wait_until_available(60)
    with Client(server.address) as client, grpc.insecure_channel(server.address) as channel:
        before = client.search("red shoes")
        yield server, channel
        assert client.search("red shoes") == before
    server.stop(grace=1)


def outcome(target, method: str, data: bytes) -> str:
    _, channel = target
    try:
        channel.unary_unary(f"/tensorflow.serving.{method}")(data, timeout=30)
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    return "OK"


def assert_sound(found: str) -> None:
    event(found.split(":")[0])
    assert found == "OK" or found.split(":")[0] in REFUSED, found


def mutated(draw, data: bytes) -> bytes:
    """`data` with some bytes replaced, taken out or put in."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(changed)))
        changed[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(changed)


small = st.integers(-1, 4)
names = st.sampled_from(["souk", "query", "examples", "scores", "item_ids", "", "é"]) | st.text(max_size=4)


def often(*values: object) -> st.SearchStrategy:
    """One of `values`, as a strategy that is taken three times as often as the one that it is joined with by |."""
    one = st.sampled_from(values)
    return one | one | one


@st.composite
def tensor_protos(draw) -> tensor_pb2.TensorProto:
    """Tensors that fit, nearly fit, or make no sense at all."""
    if draw(st.booleans()):
        texts = draw(st.lists(st.binary(max_size=8) | st.just(EXAMPLE), max_size=3))
        return tf.make_tensor_proto(texts, tf.string, shape=[len(texts)])
    proto = tensor_pb2.TensorProto(dtype=draw(st.sampled_from([1, 7, 9]) | st.integers(0, 130)))
    sizes = draw(st.lists(small | st.sampled_from([2**31, 2**62, 1000]), max_size=4))
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.unknown_rank = draw(st.booleans())
    proto.string_val.extend(draw(st.lists(st.binary(max_size=8) | st.just(EXAMPLE), max_size=3)))
    proto.float_val.extend(draw(st.lists(st.floats(width=32), max_size=3)))
    proto.int_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3)))
    proto.half_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=2)))
    proto.int64_val.extend(draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3)))
    proto.tensor_content = draw(st.binary(max_size=12))
    return proto


@st.composite
def model_specs(draw) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=draw(often("souk") | names))
    spec.signature_name = draw(often(*SIGNATURES) | names)
    match draw(st.integers(0, 7)):
        case 0:
            spec.version.CopyFrom(Int64Value(value=draw(st.just(3) | st.integers(-(2**63), 2**63 - 1))))
        case 1:
            spec.version_label = draw(names)
    return spec


@st.composite
def predict_requests(draw) -> bytes:
    request = predict_pb2.PredictRequest(model_spec=draw(model_specs()))
    right = "query" if request.model_spec.signature_name == features.SIGNATURE_QUERY_TEXT else "examples"
    for name in draw(often([right]) | st.lists(names, max_size=2)):
        request.inputs[name].CopyFrom(draw(tensor_protos()))
    request.output_filter.extend(draw(often([]) | st.lists(names, max_size=2)))
    return mutated(draw, request.SerializeToString()) if draw(st.booleans()) else request.SerializeToString()


@fuzzed
@given(predict_requests())
@example(b"\xff")
@example(b"")
def test_predict(target, data):
    assert_sound(outcome(target, "PredictionService/Predict", data))


@fuzzed
@given(st.binary(max_size=200), st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_malformed_examples(target, query, examples):
    for signature in SIGNATURES:
        request = predict_pb2.PredictRequest(model_spec={"name": "souk", "signature_name": signature})
        name = features.INPUT_QUERY if signature == features.SIGNATURE_QUERY_TEXT else features.INPUT_EXAMPLES
        request.inputs[name].CopyFrom(tf.make_tensor_proto([query, *examples], tf.string))
        assert_sound(outcome(target, "PredictionService/Predict", request.SerializeToString()))


@fuzzed
@given(st.data(), st.sampled_from(["PredictionService/GetModelMetadata", "ModelService/GetModelStatus"]))
def test_other_methods(target, data, method):
    sound = predict_pb2.PredictRequest(model_spec=data.draw(model_specs())).SerializeToString()
    sent = data.draw(st.binary(max_size=30)) if data.draw(st.booleans()) else mutated(data.draw, sound)
    assert_sound(outcome(target, method, sent))


@fuzzed
@given(st.data(), names, names)
def test_new_model_lists(target, data, name, path):
    sound = model_management_pb2.ReloadConfigRequest(
        config={"model_config_list": {"config": [{"name": name, "base_path": path, "model_platform": "tensorflow"}]}}
    )
    sent = mutated(data.draw, sound.SerializeToString())
    # A list of no models is a right request, and would leave nothing to ask.
    assume(not is_empty_list(sent))
    # A path may be that of a folder, which then holds no version.
    refusals = ("INVALID_ARGUMENT", "UNKNOWN: 1 servable(s) did not become available")
    assert outcome(target, "ModelService/HandleReloadConfigRequest", sent).startswith(refusals)


def is_empty_list(data: bytes) -> bool:
    try:
        return not model_management_pb2.ReloadConfigRequest.FromString(data).config.model_config_list.config
    except DecodeError:
        return False


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["query_text", "red shoes", "\ud800", "YQ=="])
)
keys = st.sampled_from(["instances", "inputs", "query", "examples", "b64", "signature_name"]) | st.text(max_size=3)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
right_documents = st.fixed_dictionaries(
    {"signature_name": st.just("query_text")}, optional={"inputs": st.lists(st.text(), min_size=1, max_size=3)}
)
documents = right_documents | st.fixed_dictionaries(
    {},
    optional={
        "instances": values | st.lists(values, max_size=3),
        "inputs": values,
        "signature_name": st.sampled_from(SIGNATURES) | values,
    },
)


@st.composite
def bodies(draw) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=50))
    body = json.dumps(draw(documents | values)).encode()
    return mutated(draw, body) if draw(st.booleans()) else body


def ask(target, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    server, _ = target
    connection = http.client.HTTPConnection(server.rest_address, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@fuzzed
@given(bodies())
@example(b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}")
@example(b'{"signature_name": "query_text", "inputs": ' + b"[" * 40 + b'"a"' + b"]" * 40 + b"}")
@example(b'{"signature_name": "query_text", "inputs": ' + b"[" * 300 + b'"a"' + b"]" * 300 + b"}")
def test_rest_bodies(target, body):
    status, answer = ask(target, "POST", "/v1/models/souk:predict", body)
    event(str(status))
    assert status in {200, 400}, answer
    assert (status == 200) == ("error" not in json.loads(answer))


@fuzzed
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]),
    st.lists(
        st.sampled_from(["v1", "models", "souk", "versions", "labels", "metadata", "3", ":predict", "%00", "%ff", ".."])
        | st.text("aé9:/.%", max_size=3).map(lambda text: text.encode().hex()),
        max_size=6,
    ),
)
def test_rest_paths(target, method, parts):
    status, answer = ask(target, method, "/" + "/".join(parts), b"{}")
    assert status in {200, 400, 404, 405, 501}, answer
