"""Weights in a safetensors file."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from schema.settings import InputError
from trainer.text_encoder.folder import EncoderFolder, not_installed

_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I8": np.int8, "I32": np.int32, "I64": np.int64}


@dataclass(frozen=True)
class Weights:
    """Named tensors of one file.

    Attributes:
      source: the file, for error messages.
      tensors: what it holds, by name; floating point as float32.
      prefix: what the names begin with.
    """

    source: str
    tensors: Mapping[str, np.ndarray]
    prefix: str = ""

    def take(self, name: str, *shape: int | None) -> np.ndarray:
        """One tensor.

        Args:
          name: without the prefix.
          shape: its length along each axis; None for any.

        Raises:
          InputError: where it is missing, or has another shape.
        """
        name = self.prefix + name
        if name not in self.tensors:
            raise InputError(f"{self.source} has no tensor `{name}`: config.json and the weights are of two models")
        tensor = self.tensors[name]
        if len(tensor.shape) != len(shape) or any(
            want not in (None, got) for got, want in zip(tensor.shape, shape, strict=True)
        ):
            expected = ", ".join("any" if length is None else str(length) for length in shape)
            raise InputError(
                f"the tensor `{name}` of {self.source} is {list(tensor.shape)}, and config.json and the other tensors "
                f"make it [{expected}]: the files are of two models"
            )
        return tensor


def read_weights(folder: EncoderFolder, name: str) -> Weights:
    """All tensors of a safetensors file.

    Raises:
      InputError: where the file is truncated or corrupt, or has a number format that is not read; where safetensors is
        not installed.
    """
    try:
        import safetensors
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    try:
        found = safetensors.deserialize(folder.read(name))
    except safetensors.SafetensorError as error:
        raise InputError(
            f"{folder.at(name)} is truncated, or no safetensors file ({error}): download it anew"
        ) from None
    return Weights(folder.at(name), {key: _array(folder.at(name), key, value) for key, value in found})


def _array(source: str, name: str, tensor: Mapping) -> np.ndarray:
    kind = tensor["dtype"]
    if kind == "BF16":
        # The upper half of a float32.
        flat = (np.frombuffer(tensor["data"], np.uint16).astype(np.uint32) << 16).view(np.float32)
    elif kind in _TYPES:
        flat = np.frombuffer(tensor["data"], _TYPES[kind])
    else:
        raise InputError(f"the tensor `{name}` of {source} is {kind}; read are BF16, {', '.join(_TYPES)}")
    values = flat.reshape(tensor["shape"])
    return values.astype(np.float32) if np.issubdtype(values.dtype, np.floating) else values
