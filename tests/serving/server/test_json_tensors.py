import base64
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from serving.server import json_tensors, tensors
from serving.server.json_tensors import Format

TEXT = {"query": tf.TensorSpec([None], tf.string)}
TWO = {"text": tf.TensorSpec([None], tf.string), "weight": tf.TensorSpec([None], tf.float32)}


def write(outputs, layout: Format) -> str:
    return json_tensors.write({name: tensors.array(tensor.numpy()) for name, tensor in outputs.items()}, layout)


def read(specs, **document):
    arrays, layout = json_tensors.read(json_tensors.parse(json.dumps(document).encode()), specs)
    return {name: array.tolist() for name, array in arrays.items()}, layout


def spec(dtype):
    return {"x": tf.TensorSpec(None, dtype)}


def b64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


@pytest.mark.parametrize(
    ("specs", "document", "expected"),
    [
        (TEXT, {"instances": ["red", "crème"]}, {"query": [b"red", "crème".encode()]}),
        (TEXT, {"instances": [{"query": "red"}]}, {"query": [b"red"]}),
        (TEXT, {"instances": [b64(b"\xff\x00"), "x"]}, {"query": [b"\xff\x00", b"x"]}),
        (TEXT, {"instances": [{"query": b64(b"\xff")}]}, {"query": [b"\xff"]}),
        (TEXT, {"inputs": ["red"]}, {"query": [b"red"]}),
        (TEXT, {"inputs": {"query": ["red"]}}, {"query": [b"red"]}),
        (TEXT, {"inputs": []}, {"query": []}),
        (TEXT, {"inputs": b64(b"one")}, {"query": b"one"}),
        (TEXT, {"inputs": "one"}, {"query": b"one"}),
        (
            TWO,
            {"instances": [{"text": "a", "weight": 1}, {"weight": 0.5, "text": "b"}]},
            {"text": [b"a", b"b"], "weight": [1.0, 0.5]},
        ),
        (TWO, {"inputs": {"text": ["a"], "weight": [2.5], "more": 1}}, {"text": [b"a"], "weight": [2.5]}),
        (spec(tf.int64), {"inputs": [[1, 2], [3, -4]]}, {"x": [[1, 2], [3, -4]]}),
        (spec(tf.int64), {"instances": [[1, 2], [3, 4]]}, {"x": [[1, 2], [3, 4]]}),
        (spec(tf.bool), {"inputs": [True, False]}, {"x": [True, False]}),
        (spec(tf.uint64), {"inputs": [2**64 - 1]}, {"x": [2**64 - 1]}),
        (spec(tf.float32), {"inputs": [2**24 - 1, -math.inf]}, {"x": [2.0**24 - 1, -math.inf]}),
        (spec(tf.string), {"inputs": [["a"], ["b"]]}, {"x": [[b"a"], [b"b"]]}),
    ],
)
def test_both_formats_are_read(specs, document, expected):
    tensors, layout = read(specs, **document)
    assert tensors == expected
    assert layout is (Format.ROW if "instances" in document else Format.COLUMNAR)


def test_padding_of_base64_may_be_left_out():
    assert read(TEXT, instances=[{"b64": "YQ"}, {"b64": "Y\nQ=="}])[0] == {"query": [b"a", b"a"]}


@pytest.mark.parametrize(
    ("specs", "document", "message"),
    [
        (TEXT, {}, "Missing 'inputs' or 'instances' key"),
        (TEXT, {"instances": ["a"], "inputs": ["a"]}, "expecting only one of 'inputs' or 'instances' keys"),
        (TEXT, {"instances": "a"}, "to be an list/array"),
        (TEXT, {"instances": []}, "No values in 'instances' array"),
        (TEXT, {"instances": ["a", {"query": "b"}]}, "Expecting value/list but got object at item 1"),
        (TEXT, {"instances": [{"query": "b"}, "a"]}, "Expecting object but got list at item 1"),
        (TEXT, {"instances": [{"q": "b"}]}, "keys must be equal to: query"),
        (TEXT, {"instances": [1]}, "JSON Value: 1 Type: Number is not of expected type: string"),
        (TEXT, {"instances": [None]}, "Type: Null is not of expected type: string"),
        (TEXT, {"instances": [{"query": {"b64": 3}}]}, "not formatted correctly for base64 data"),
        (TEXT, {"instances": [{"b64": "*"}]}, "Unable to base64 decode"),
        (TEXT, {"instances": ["\ud800"]}, "half of a surrogate pair"),
        (
            TEXT,
            {"instances": [["a"], ["b", "c"]]},
            "Encountered list at unexpected size: 2 at level: 1 expected size: 1",
        ),
        (TEXT, {"instances": [["a"], "b"]}, "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        (TEXT, {"instances": ["a", ["b"]]}, "Encountered list at unexpected level: 1 expected < 1"),
        (TEXT, {"inputs": {"q": ["a"]}}, "Missing named input: query in 'inputs' object."),
        (TWO, {"inputs": ["a"]}, "inputs is a plain value/list, but expecting an object"),
        (TWO, {"instances": ["a"]}, "instances is a plain list, but expecting list of objects"),
        (spec(tf.float32), {"inputs": [2**24]}, "16777216 to float without loss of precision"),
        (spec(tf.float32), {"inputs": [1e39]}, "to float without loss of precision"),
        (spec(tf.float64), {"inputs": [2**53]}, "to double without loss of precision"),
        (spec(tf.float64), {"inputs": [True]}, "Type: Bool is not of expected type: double"),
        (spec(tf.int32), {"inputs": [2**31]}, "is not of expected type: int32"),
        (spec(tf.int32), {"inputs": [1.0]}, "is not of expected type: int32"),
        (spec(tf.int64), {"inputs": [True]}, "is not of expected type: int64"),
        (spec(tf.bool), {"inputs": [1]}, "is not of expected type: bool"),
        (spec(tf.complex64), {"inputs": [1]}, "to type: complex64"),
    ],
)
def test_a_request_in_neither_format_is_refused(specs, document, message):
    with pytest.raises(ValueError, match="^.*" + message.replace("(", r"\(")):
        read(specs, **document)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The document is empty"),
        (b"{", "JSON Parse error"),
        (b"[1]", "Is not object"),
        (b"\xff{}", "JSON Parse error"),
        (b"[" * 100_000, "JSON Parse error"),
        (b'{"instances": ' + b"9" * 10_000 + b"}", "JSON Parse error"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body, message):
    with pytest.raises(ValueError, match=message):
        json_tensors.parse(body)


def test_a_long_value_is_not_repeated_in_the_message():
    with pytest.raises(ValueError, match=r"\.\.\. Type: String") as caught:
        read(spec(tf.int32), inputs=["x" * 100_000])
    assert len(str(caught.value)) < 500


def test_rows_and_columns_are_written():
    outputs = {"ids": tf.constant([["a", "b"], ["é", ""]]), "scores": tf.constant([[0.2, 1.0], [1e-7, 3.0]])}
    rows = json.loads(write(outputs, Format.ROW))
    assert rows == {
        "predictions": [{"ids": ["a", "b"], "scores": [0.2, 1.0]}, {"ids": ["é", ""], "scores": [1e-7, 3.0]}]
    }
    columns = json.loads(write(outputs, Format.COLUMNAR))
    assert columns == {"outputs": {"ids": [["a", "b"], ["é", ""]], "scores": [[0.2, 1.0], [1e-7, 3.0]]}}


def test_a_single_output_has_no_name():
    one = {"ids": tf.constant(["a", "b"])}
    assert json.loads(write(one, Format.ROW)) == {"predictions": ["a", "b"]}
    assert json.loads(write(one, Format.COLUMNAR)) == {"outputs": ["a", "b"]}


def test_bytes_are_base64_when_the_name_says_so():
    assert json.loads(write({"raw_bytes": tf.constant([b"\xff"])}, Format.ROW)) == {"predictions": [{"b64": "/w=="}]}
    assert json.loads(write({"raw": tf.constant([b"\xffa"])}, Format.ROW)) == {"predictions": ["�a"]}


def test_a_single_string_keeps_its_zeros():
    assert json.loads(write({"x_bytes": tf.constant(b"a\0")}, Format.COLUMNAR)) == {"outputs": b64(b"a\0")}


def test_numbers_json_lacks_are_written_like_tensorflow_serving():
    text = write({"x": tf.constant([np.nan, np.inf, -np.inf, 2.0])}, Format.ROW)
    assert text == '{"predictions": [NaN, Infinity, -Infinity, 2.0]}'


@pytest.mark.parametrize(
    "dtype", [tf.int8, tf.uint8, tf.int64, tf.uint64, tf.bool, tf.float64, tf.float16, tf.bfloat16]
)
def test_every_plain_type_is_written(dtype):
    text = write({"x": tf.cast(tf.constant([[0, 1]]), dtype)}, Format.COLUMNAR)
    assert json.loads(text) == {"outputs": [[0, 1]]}


def test_empty_answers_are_written():
    empty = {"ids": tf.zeros([0, 3], tf.string), "scores": tf.zeros([0, 3])}
    assert json.loads(write(empty, Format.COLUMNAR)) == {"outputs": {"ids": [], "scores": []}}
    assert json.loads(write(empty, Format.ROW)) == {"predictions": []}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"x": tf.constant(1.0)}, "Tensor name: x has no shape information"),
        ({"x": tf.zeros([2]), "y": tf.zeros([3])}, "Tensor name: y has inconsistent batch size: 3 expecting: 2"),
        ({"x": tf.zeros([2], tf.complex64)}, "Failed to write JSON value for tensor type: complex64"),
    ],
)
def test_an_answer_without_rows_is_refused_in_the_row_format(outputs, message):
    with pytest.raises(ValueError, match=message):
        write(outputs, Format.ROW)
