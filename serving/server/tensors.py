"""Tensors between the wire and TensorFlow, in the form that TensorFlow Serving answers in."""

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


def from_proto(proto: tensor_pb2.TensorProto) -> tf.Tensor:
    """The tensor that `proto` describes.

    Raises:
      ValueError: if the type is unknown, or the values do not fit the shape.
    """
    try:
        # The values of a string tensor are bytes objects already: no way round by NumPy is needed.
        if proto.dtype == tf.string.as_datatype_enum:
            shape = [dim.size for dim in proto.tensor_shape.dim]
            if len(proto.string_val) == np.prod(shape, dtype=np.int64):
                return tf.reshape(tf.constant(list(proto.string_val), tf.string), shape)
        return tf.constant(tf.make_ndarray(proto))
    except (TypeError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"the tensor cannot be read: {error}") from error


def to_proto(tensor: tf.Tensor) -> tensor_pb2.TensorProto:
    """The wire form of `tensor`, its values in the typed field of their type."""
    field = _FIELDS.get(tensor.dtype)
    values = tensor.numpy()
    if field is None:
        return tf.make_tensor_proto(values, dtype=tensor.dtype)
    proto = tensor_pb2.TensorProto(dtype=tensor.dtype.as_datatype_enum)
    for size in tensor.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(np.ravel(values).tolist())
    return proto
