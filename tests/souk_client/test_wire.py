import numpy as np
import pytest
import tensorflow as tf

from schema.settings import InputError
from souk_client import wire
from souk_client.protos import tensor_pb2


def ours(proto) -> tensor_pb2.TensorProto:
    return tensor_pb2.TensorProto.FromString(proto.SerializeToString())


def test_tensorflow_reads_a_string_tensor_of_ours():
    proto = wire.string_tensor([b"a", b"", b"\xff"])
    theirs = tf.make_tensor_proto(0).__class__.FromString(proto.SerializeToString())
    assert tf.make_ndarray(theirs).tolist() == [b"a", b"", b"\xff"]


@pytest.mark.parametrize("values", [[], (), np.zeros([0], object)], ids=["list", "tuple", "array"])
def test_a_string_tensor_of_no_values_is_refused(values):
    with pytest.raises(InputError, match=r"no values to send.* Give at least one"):
        wire.string_tensor(values)


def test_strings_come_back_row_by_row():
    assert wire.string_rows(ours(tf.make_tensor_proto([[b"a", b"b"], [b"c", b""]]))) == [[b"a", b"b"], [b"c", b""]]


def test_one_string_each_comes_back_as_a_list():
    assert wire.strings(ours(tf.make_tensor_proto([b"on", b"\xff"]))) == [b"on", b"\xff"]
    assert wire.strings(ours(tf.make_tensor_proto(np.zeros([0], object), tf.string))) == []


def test_floats_are_read_from_packed_bytes_and_the_typed_field():
    values = np.array([[1.5, float("-inf")], [0.25, -2]], np.float32)
    packed = ours(tf.make_tensor_proto(values))
    typed = tensor_pb2.TensorProto(
        dtype=tensor_pb2.DT_FLOAT, float_val=values.ravel(), tensor_shape=packed.tensor_shape
    )
    assert packed.tensor_content
    assert wire.float_rows(packed) == wire.float_rows(typed) == values.tolist()


def test_a_tail_of_equal_values_may_be_absent_as_in_tensorflow():
    proto = tf.make_tensor_proto(np.full([2, 3], 4.0, np.float32))
    del proto.float_val[1:]
    proto.tensor_content = b""
    proto.float_val[:] = [4.0]
    assert wire.float_rows(ours(proto)) == [[4.0] * 3] * 2


def test_an_answer_for_no_request_has_no_rows():
    assert wire.string_rows(ours(tf.make_tensor_proto(np.zeros([0, 5], object), tf.string))) == []


@pytest.mark.parametrize(
    ("read", "proto", "message"),
    [
        (wire.strings, tf.make_tensor_proto([["a"]]), r"expected a tensor \[rows\], got shape \[1, 1\]"),
        (wire.strings, tf.make_tensor_proto([1.0]), "expected a DT_STRING tensor, got DT_FLOAT"),
        (wire.string_rows, tf.make_tensor_proto([[1.0]]), "expected a DT_STRING tensor, got DT_FLOAT"),
        (wire.float_rows, tf.make_tensor_proto([["a"]]), "expected a DT_FLOAT tensor, got DT_STRING"),
        (wire.float_rows, tf.make_tensor_proto([1.0, 2.0]), r"expected a tensor \[rows, columns\], got shape \[2\]"),
        (wire.string_rows, tf.make_tensor_proto(np.zeros([0, 5], object), tf.string), None),
    ],
)
def test_another_type_or_rank_is_refused(read, proto, message):
    if message is None:
        proto.tensor_shape.dim[0].size = 2
        message = "expected 10 values"
    with pytest.raises(ValueError, match=message):
        read(ours(proto))
