"""Tensors between TensorFlow Serving's JSON and TensorFlow, in its row format and its columnar one.

Source of the rules: https://www.tensorflow.org/tfx/serving/api_rest and TensorFlow Serving's util/json_tensor.cc.
"""

import base64
import binascii
import enum
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

_BASE64 = "b64"
_BYTES_SUFFIX = "_bytes"
# A value in an error message is a reminder of which one it was, not a copy of the request.
_SHOWN_CHARACTERS = 200

_INTEGERS = {tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64}
_FLOATS = {tf.float32, tf.float64}
_WRITTEN_FLOATS = {*_FLOATS, tf.float16, tf.bfloat16}
_TYPE_NAMES = {dict: "Object", list: "Array", str: "String", bool: "Bool", type(None): "Null"}


class Format(enum.Enum):
    """How a request lays out its tensors; its answer does the same."""

    ROW = "predictions"
    COLUMNAR = "outputs"


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object in the body of a Predict request.

    Raises:
      ValueError: if it is not JSON in UTF-8, or not an object.
    """
    if not body:
        raise ValueError("JSON Parse error: The document is empty")
    try:
        document = json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("JSON Parse error: it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"JSON Value: {_shown(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request names; empty for the default one.

    Raises:
      ValueError: if the name is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise ValueError(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def read(document: Mapping[str, Any], specs: Mapping[str, tf.TensorSpec]) -> tuple[dict[str, np.ndarray], Format]:
    """The input tensors of a request, and its format.

    Args:
      document: the request.
      specs: the inputs of the signature.

    Raises:
      ValueError: if the request does not hold these inputs in one of the two formats.
    """
    if "instances" in document and "inputs" in document:
        raise ValueError(
            f"JSON Value: {_shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    try:
        if "instances" in document:
            columns = _columns_of_rows(document["instances"], specs)
            return {name: _tensor(values, specs[name].dtype) for name, values in columns.items()}, Format.ROW
        if "inputs" in document:
            columns = _columns(document["inputs"], specs)
            return {name: _tensor(values, specs[name].dtype) for name, values in columns.items()}, Format.COLUMNAR
    except RecursionError:
        raise ValueError("JSON Value: it is nested too deep") from None
    raise ValueError("Missing 'inputs' or 'instances' key")


def write(outputs: Mapping[str, np.ndarray], layout: Format) -> str:
    """The answer's JSON.

    Raises:
      ValueError: if an output is of a type that JSON has no form for, or has no rows in the row format.
    """
    values = {name: _plain(name, array) for name, array in outputs.items()}
    body: Any
    if layout is Format.COLUMNAR:
        body = values if len(values) > 1 else next(iter(values.values()))
    else:
        _check_same_rows(outputs)
        names, columns = list(values), list(values.values())
        rows = zip(*columns, strict=True)
        body = [dict(zip(names, row, strict=True)) for row in rows] if len(names) > 1 else columns[0]
    # NaN and infinities are written as they are, which TensorFlow Serving does too, though JSON has no such numbers.
    return json.dumps({layout.value: body}, ensure_ascii=False)


def _columns_of_rows(rows: Any, specs: Mapping[str, tf.TensorSpec]) -> dict[str, list[Any]]:
    if not isinstance(rows, list):
        raise ValueError(f"JSON Value: {_shown(rows)} Excepting 'instances' to be an list/array")
    if not rows:
        raise ValueError("JSON Value: [] No values in 'instances' array")
    named = _is_object(rows[0])
    if not named:
        if len(specs) != 1:
            raise ValueError(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            )
        for number, row in enumerate(rows):
            if _is_object(row):
                raise ValueError(f"Expecting value/list but got object at item {number} of input list")
        return {next(iter(specs)): rows}
    for number, row in enumerate(rows):
        if not _is_object(row):
            raise ValueError(f"Expecting object but got list at item {number} of input list")
        if row.keys() != specs.keys():
            raise ValueError(
                f"Failed to process element: {number} of 'instances' list. JSON object: {_shown(row)} "
                f"keys must be equal to: {','.join(sorted(specs))}"
            )
    return {name: [row[name] for row in rows] for name in specs}


def _columns(inputs: Any, specs: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    if not _is_object(inputs):
        if len(specs) != 1:
            raise ValueError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return {next(iter(specs)): inputs}
    for name in specs:
        if name not in inputs:
            raise ValueError(f"Missing named input: {name} in 'inputs' object.")
    return {name: inputs[name] for name in specs}


def _tensor(values: Any, dtype: tf.DType) -> np.ndarray:
    shape = list(_shape(values))
    flat = [_value(value, dtype) for value in _flat(values, shape, 0)]
    return np.array(flat, dtype.as_numpy_dtype).reshape(shape)


def _shape(values: Any) -> Iterator[int]:
    """Sizes along the first element of each list, as TensorFlow Serving takes the shape."""
    while isinstance(values, list):
        yield len(values)
        if not values:
            return
        values = values[0]


def _flat(values: Any, shape: list[int], level: int) -> Iterator[Any]:
    if not isinstance(values, list):
        if level != len(shape):
            raise ValueError(
                f"JSON Value: {_shown(values)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        yield values
        return
    if level >= len(shape):
        raise ValueError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(values) != shape[level]:
        raise ValueError(
            f"Encountered list at unexpected size: {len(values)} at level: {level} expected size: {shape[level]}"
        )
    for value in values:
        yield from _flat(value, shape, level + 1)


def _value(value: Any, dtype: tf.DType) -> Any:
    if dtype == tf.string:
        return _string(value)
    if dtype == tf.bool:
        if not isinstance(value, bool):
            raise _type_error(value, dtype)
        return value
    if dtype in _INTEGERS:
        if not isinstance(value, int) or isinstance(value, bool) or not dtype.min <= value <= dtype.max:
            raise _type_error(value, dtype)
        return value
    if dtype in _FLOATS:
        return _number(value, dtype)
    raise ValueError(f"Conversion of JSON Value: {_shown(value)} to type: {dtype.name}")


def _string(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise ValueError("JSON Value: it holds half of a surrogate pair, which is not text") from None
    if isinstance(value, dict):
        if not _is_base64(value):
            raise ValueError(f"JSON Value: {_shown(value)} not formatted correctly for base64 data")
        return _decoded(value[_BASE64])
    raise _type_error(value, tf.string)


def _decoded(text: str) -> bytes:
    # Padding may be left out, and white space may come in between, as absl::Base64Unescape has it.
    stripped = "".join(text.split()).rstrip("=")
    try:
        return base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("Unable to base64 decode") from None


def _number(value: Any, dtype: tf.DType) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _type_error(value, dtype)
    # An integer must be one that the type holds exactly; a fraction must only be within its range.
    if isinstance(value, int):
        fits = abs(value) < 2 ** (np.finfo(dtype.as_numpy_dtype).nmant + 1)
    else:
        fits = not math.isfinite(value) or abs(value) <= dtype.max
    if not fits:
        kind = "float" if dtype == tf.float32 else "double"
        raise ValueError(f"Cannot convert JSON value: {_shown(value)} to {kind} without loss of precision.")
    return float(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: dict[str, Any]) -> bool:
    return value.keys() == {_BASE64} and isinstance(value[_BASE64], str)


def _type_error(value: Any, dtype: tf.DType) -> ValueError:
    kind = _TYPE_NAMES.get(type(value), "Number")
    name = {tf.float32: "float", tf.float64: "double"}.get(dtype, dtype.name)
    return ValueError(f"JSON Value: {_shown(value)} Type: {kind} is not of expected type: {name}")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:
        return "(nested too deep to show)"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _plain(name: str, values: np.ndarray) -> Any:
    dtype = tf.as_dtype(values.dtype)
    if dtype == tf.string:
        binary = name.endswith(_BYTES_SUFFIX)
        flat = [_written(value, binary) for value in np.ravel(values).tolist()]
        return np.array([*flat, None], object)[:-1].reshape(values.shape).tolist()
    if dtype in _WRITTEN_FLOATS:
        # The shortest digits that give the number back: a float32 of 0.2 is no 0.20000000298.
        return np.array([float(str(value)) for value in np.ravel(values)]).reshape(values.shape).tolist()
    if dtype in _INTEGERS or dtype == tf.bool:
        return values.tolist()
    raise ValueError(f"Failed to write JSON value for tensor type: {dtype.name}")


def _written(value: bytes, binary: bool) -> Any:
    return {_BASE64: base64.b64encode(value).decode()} if binary else value.decode(errors="replace")


def _check_same_rows(outputs: Mapping[str, np.ndarray]) -> None:
    expected: int | None = None
    for name, values in outputs.items():
        if values.ndim == 0:
            raise ValueError(f"Tensor name: {name} has no shape information ")
        if expected is not None and len(values) != expected:
            raise ValueError(f"Tensor name: {name} has inconsistent batch size: {len(values)} expecting: {expected}")
        expected = len(values)
