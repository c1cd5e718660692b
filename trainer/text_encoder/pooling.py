"""From a vector for each token to one for the text, as sentence-transformers has it in `modules.json`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from schema.settings import InputError
from trainer.text_encoder.folder import EncoderFolder

# Vectors [batch, tokens, dim] and which tokens are there [batch, tokens], to [batch, dim].
Pooling = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _first(vectors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return vectors[:, 0]


def mean(vectors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean of a text's tokens, [batch, dim]; zeros for a text without any."""
    return _total(vectors, mask) / np.maximum(mask.sum(axis=1, keepdims=True), 1)


def _mean_sqrt_len(vectors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return _total(vectors, mask) / np.sqrt(np.maximum(mask.sum(axis=1, keepdims=True), 1))


def _largest(vectors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask[:, :, None], vectors, -np.inf).max(axis=1)


def _total(vectors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.einsum("btd,bt->bd", vectors, mask.astype(vectors.dtype))


# In the order in which sentence-transformers joins several.
_POOLINGS: Final[Mapping[str, Pooling]] = {
    "cls": _first,
    "max": _largest,
    "mean": mean,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
}


def read_pooling(folder: EncoderFolder, path: str) -> Pooling:
    """The pooling that the module at `path` says.

    Raises:
      InputError: for one that is not supported.
    """
    name = f"{path}/config.json"
    config = folder.read_object(name)
    modes = _modes(config)
    unknown = [mode for mode in modes if mode not in _POOLINGS]
    if unknown:
        raise InputError(
            f"{folder.at(name)} pools by {', '.join(unknown)}, which Souk does not; it pools by {', '.join(_POOLINGS)}"
        )
    chosen = [pooling for mode, pooling in _POOLINGS.items() if mode in modes] or [mean]
    return lambda vectors, mask: np.concatenate([pooling(vectors, mask) for pooling in chosen], axis=1)


def _modes(config: Mapping[str, Any]) -> list[str]:
    """One setting names the modes in sentence-transformers 5.4, one switch for each mode before."""
    if "pooling_mode" in config:
        named = config["pooling_mode"]
        modes = [named] if isinstance(named, str) else list(named)
    else:
        modes = [
            name.removeprefix("pooling_mode_") for name, on in config.items() if name.startswith("pooling_") and on
        ]
    short = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "mean_sqrt_len": "mean_sqrt_len_tokens"}
    return [short.get(mode, mode) for mode in modes]


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Vectors [..., dim] scaled to unit length; one of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0.0, lengths, 1.0)
