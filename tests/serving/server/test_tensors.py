import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.server import tensors

VALUES = [
    np.array([[1.5, -np.inf], [np.nan, 0]], np.float32),
    np.array([2.5], np.float64),
    np.array([[1], [-2]], np.int32),
    np.array([2**62, -1], np.int64),
    np.array([3], np.uint8),
    np.array([2**63], np.uint64),
    np.array([[True, False]]),
    np.array(5, np.int64),
    np.zeros([0, 3], np.float32),
    np.array([1 + 2j], np.complex64),
    np.array([[b"a", b""], ["é".encode(), b"\xff"]], object),
    np.zeros([0], object),
]


@pytest.mark.parametrize("values", VALUES, ids=lambda v: f"{v.dtype}{list(v.shape)}")
def test_any_tensor_is_read_as_it_was_written(values):
    dtype = tf.string if values.dtype == object else None
    for proto in (written(values), tf.make_tensor_proto(values, dtype)):
        back = tensors.from_proto(proto)
        assert (back.dtype, back.shape) == (values.dtype, values.shape)
        np.testing.assert_array_equal(back, values)


def written(values: np.ndarray) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto()
    tensors.to_proto(values, proto)
    return proto


def test_scores_are_in_the_field_tensorflow_serving_uses():
    proto = written(np.array([[1.5, 2.5]], np.float32))
    assert list(proto.float_val) == [1.5, 2.5]
    assert proto.tensor_content == b""


def test_a_single_string_keeps_its_zeros():
    proto = written(np.array(b"a\0", object))
    assert proto.string_val == [b"a\0"]
    assert tensors.from_proto(proto).item() == b"a\0"


def test_one_value_may_stand_for_all_strings_of_a_shape():
    proto = tf.make_tensor_proto(["x"])
    proto.tensor_shape.dim[0].size = 3
    assert tensors.from_proto(proto).tolist() == [b"x"] * 3


@pytest.mark.parametrize(
    "proto",
    [
        tensor_pb2.TensorProto(),
        tensor_pb2.TensorProto(dtype=9999),
        tensor_pb2.TensorProto(dtype=1, tensor_content=b"abc"),
        tensor_pb2.TensorProto(dtype=7, string_val=[b"a", b"b"], tensor_shape={"dim": [{"size": 1}]}),
        tensor_pb2.TensorProto(dtype=1, float_val=[1, 2], tensor_shape={"dim": [{"size": -1}]}),
        tensor_pb2.TensorProto(dtype=1, float_val=[1], tensor_shape={"dim": [{"size": 2**40}]}),
        tensor_pb2.TensorProto(dtype=7, string_val=[b"a"], tensor_shape={"dim": [{"size": 2**32}] * 2}),
        tensor_pb2.TensorProto(dtype=1, float_val=[1], tensor_shape={"dim": [{"size": 1}] * 300}),
    ],
    ids=[
        "no type",
        "unknown type",
        "odd bytes",
        "too many strings",
        "negative size",
        "huge",
        "huger than a number",
        "too many dimensions",
    ],
)
def test_a_tensor_that_makes_no_sense_is_refused(proto):
    with pytest.raises(ValueError, match="the tensor cannot be read"):
        tensors.from_proto(proto)


@pytest.mark.parametrize("dtype", [types_pb2.DT_VARIANT, types_pb2.DT_RESOURCE])
def test_a_type_without_values_of_its_own_is_refused(dtype):
    with pytest.raises(ValueError, match="the tensor cannot be read"):
        tensors.from_proto(tensor_pb2.TensorProto(dtype=dtype, tensor_shape={}))
