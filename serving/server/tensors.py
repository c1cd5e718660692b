"""Tensors between the wire and TensorFlow, in the form that TensorFlow Serving answers in."""

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

# TensorFlow Serving answers in these typed fields (its AsProtoField), and clients read them by name;
# tf.make_tensor_proto would pack the same values into tensor_content.
_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int32: "int_val",
    tf.int16: "int_val",
    tf.int8: "int_val",
    tf.uint8: "int_val",
    tf.uint16: "int_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
}


# One value may stand for a whole tensor; without a limit a request of a few bytes could ask for all memory.
_MOST_REPEATED = 2**20


def from_proto(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """The values that `proto` describes; strings as bytes objects, which NumPy's own would cut at trailing zeros.

    Raises:
      ValueError: if the type is unknown, the values do not fit the shape, or few bytes stand for a huge tensor.
    """
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    if min(sizes, default=0) < 0 or math.prod(sizes) > max(_MOST_REPEATED, proto.ByteSize()):
        raise ValueError(f"the tensor cannot be read: its shape is {sizes}, its message has {proto.ByteSize()} bytes")
    try:
        # The values of a string tensor are bytes objects already: no way round by NumPy is needed.
        if proto.dtype == tf.string.as_datatype_enum and len(proto.string_val) == math.prod(sizes):
            return np.array(list(proto.string_val), object).reshape(sizes)
        return tf.make_ndarray(proto)
    except KeyError:
        raise ValueError(f"the tensor cannot be read: its dtype {proto.dtype} has no values of its own") from None
    except (TypeError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"the tensor cannot be read: {error}") from error


def to_proto(values: np.ndarray, proto: tensor_pb2.TensorProto) -> None:
    """Writes `values` into an empty `proto`, in the typed field of their type."""
    dtype = tf.as_dtype(values.dtype)
    field = _FIELDS.get(dtype)
    if field is None:
        proto.CopyFrom(tf.make_tensor_proto(values, dtype=dtype))
        return
    proto.dtype = dtype.as_datatype_enum
    for size in values.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(values.ravel().tolist())


def array(value: Any) -> np.ndarray:
    """What a session gave as an array: for a tensor without dimensions it gives a plain value."""
    return np.asarray(value, object if isinstance(value, bytes) else None)
