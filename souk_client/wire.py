"""Tensors on the wire, as plain Python lists: no NumPy, no TensorFlow."""

import math
import struct
from collections.abc import Sequence
from typing import TypeVar

from souk_client.errors import InputError
from souk_client.protos import tensor_pb2

Value = TypeVar("Value", bytes, float)


def string_tensor(values: Sequence[bytes]) -> tensor_pb2.TensorProto:
    """A string tensor [len(values)].

    Raises:
      InputError: if there are no values; a Predict of 0 rows asks for nothing, and may end a TensorFlow Serving.
    """
    if len(values) == 0:
        raise InputError("There are no values to send, so there is nothing to ask for. Give at least one.")
    tensor = tensor_pb2.TensorProto(dtype=tensor_pb2.DT_STRING, string_val=values)
    tensor.tensor_shape.dim.add(size=len(values))
    return tensor


def strings(tensor: tensor_pb2.TensorProto) -> list[bytes]:
    """The values of a string tensor [rows].

    Raises:
      ValueError: if the tensor is not of this type and rank, or holds fewer values than its shape says.
    """
    _expect_strings(tensor)
    return [value for (value,) in _rows(tensor, list(tensor.string_val), rank=1)]


def string_rows(tensor: tensor_pb2.TensorProto) -> list[list[bytes]]:
    """The rows of a string tensor [rows, columns].

    Raises:
      ValueError: if the tensor is not of this type and rank, or holds fewer values than its shape says.
    """
    _expect_strings(tensor)
    return _rows(tensor, list(tensor.string_val))


def float_rows(tensor: tensor_pb2.TensorProto) -> list[list[float]]:
    """The rows of a float tensor [rows, columns].

    Raises:
      ValueError: if the tensor is not of this type and rank, or holds fewer values than its shape says.
    """
    return _rows(tensor, float_values(tensor))


def float_values(tensor: tensor_pb2.TensorProto) -> list[float]:
    """The values of a float tensor of any shape, in order, from either form that TensorFlow writes.

    Raises:
      ValueError: if the tensor is not of this type.
    """
    if tensor.dtype != tensor_pb2.DT_FLOAT:
        raise ValueError(f"expected a DT_FLOAT tensor, got {tensor_pb2.DataType.Name(tensor.dtype)}")
    content = tensor.tensor_content
    return list(struct.unpack(f"<{len(content) // 4}f", content)) if content else list(tensor.float_val)


def _expect_strings(tensor: tensor_pb2.TensorProto) -> None:
    if tensor.dtype != tensor_pb2.DT_STRING:
        raise ValueError(f"expected a DT_STRING tensor, got {tensor_pb2.DataType.Name(tensor.dtype)}")


def _rows(tensor: tensor_pb2.TensorProto, values: list[Value], rank: int = 2) -> list[list[Value]]:
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if len(shape) != rank:
        wanted = "[rows, columns]" if rank == 2 else "[rows]"
        raise ValueError(f"expected a tensor {wanted}, got shape {shape}")
    rows, columns = shape[0], math.prod(shape[1:])
    size = math.prod(shape)
    # TensorFlow may leave out a tail of equal values: the last one written stands for the rest.
    if values and len(values) < size:
        values = values + [values[-1]] * (size - len(values))
    if len(values) != size:
        raise ValueError(f"expected {size} values for shape {shape}, got {len(values)}")
    return [values[row * columns : (row + 1) * columns] for row in range(rows)]
