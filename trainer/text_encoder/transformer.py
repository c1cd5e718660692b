"""The forward pass of BERT and its kin (Devlin et al., arXiv 1810.04805) in NumPy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.special import erf

from schema.settings import InputError
from trainer.text_encoder.weights import Weights

# Ids of tokens [batch, tokens] and which of them are there [batch, tokens], to vectors [batch, tokens, dim].
TokenModel = Callable[[np.ndarray, np.ndarray], np.ndarray]

# A projection's weight [out, in] and bias [out], or the scale and the shift of a layer normalization.
_Pair = tuple[np.ndarray, np.ndarray]

_ACTIVATIONS: Final[Mapping[str, Callable[[np.ndarray], np.ndarray]]] = {
    "gelu": lambda x: 0.5 * x * (1.0 + erf(x * np.float32(0.5**0.5))),
    "gelu_new": lambda x: 0.5 * x * (1.0 + np.tanh(np.float32((2 / np.pi) ** 0.5) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0.0),
}


@dataclass(frozen=True)
class _Family:
    """How models of one kind name their settings and tensors.

    Attributes:
      settings: width, layers, heads, width of the inner layer, activation.
      layers: the prefix of one layer's tensors.
      tensors: query, key, value, output and normalization of attention; the inner and the outer layer, normalization.
      first_position: of a text's first token; None where that is after the id of the padding.
    """

    settings: tuple[str, str, str, str, str]
    layers: str
    tensors: tuple[str, str, str, str, str, str, str, str]
    first_position: int | None = 0


_BERT = _Family(
    ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    "encoder.layer.",
    (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    ),
)
_ROBERTA = _Family(_BERT.settings, _BERT.layers, _BERT.tensors, first_position=None)
_DISTILBERT = _Family(
    ("dim", "n_layers", "n_heads", "hidden_dim", "activation"),
    "transformer.layer.",
    (
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "sa_layer_norm",
        "ffn.lin1",
        "ffn.lin2",
        "output_layer_norm",
    ),
)
FAMILIES: Final[Mapping[str, _Family]] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
}


@dataclass(frozen=True)
class Transformer:
    """Callable as a `TokenModel`.

    Attributes:
      words: an embedding for each token id, [vocabulary, dim].
      positions: an embedding for each position, [positions, dim]; that of the first segment is added already.
      first_position: of a text's first token.
      norm: the normalization of the sum of both.
      layers: eight pairs for each layer, in the order of `_Family.tensors`.
      heads: attention heads.
      activation: of the inner layers.
      epsilon: what a normalization adds to the variance.
    """

    words: np.ndarray
    positions: np.ndarray
    first_position: int
    norm: _Pair
    layers: tuple[tuple[_Pair, ...], ...]
    heads: int
    activation: Callable[[np.ndarray], np.ndarray]
    epsilon: float

    @property
    def longest(self) -> int:
        """Tokens of a text, at most."""
        return len(self.positions) - self.first_position

    def __call__(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Vectors [batch, tokens, dim] of ids [batch, tokens], padded on the right where `mask` is false."""
        tokens = ids.shape[1]
        hidden = self.words[ids] + self.positions[self.first_position : self.first_position + tokens]
        hidden = self._normalize(hidden, self.norm)
        unseen = np.where(mask, np.float32(0.0), np.float32(-1e9))[:, None, None, :]
        for query, key, value, output, attention_norm, inner, outer, norm in self.layers:
            attended = self._attend(_project(hidden, query), _project(hidden, key), _project(hidden, value), unseen)
            hidden = self._normalize(hidden + _project(attended, output), attention_norm)
            hidden = self._normalize(hidden + _project(self.activation(_project(hidden, inner)), outer), norm)
        return hidden

    def _attend(self, query: np.ndarray, key: np.ndarray, value: np.ndarray, unseen: np.ndarray) -> np.ndarray:
        batch, tokens, dim = query.shape
        query, key, value = (
            part.reshape(batch, tokens, self.heads, dim // self.heads).transpose(0, 2, 1, 3)
            for part in (query, key, value)
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32((dim // self.heads) ** 0.5) + unseen
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return (shares @ value).transpose(0, 2, 1, 3).reshape(batch, tokens, dim)

    def _normalize(self, x: np.ndarray, scale_and_shift: _Pair) -> np.ndarray:
        centered = x - x.mean(axis=-1, keepdims=True)
        variance = np.mean(centered * centered, axis=-1, keepdims=True)
        return centered / np.sqrt(variance + np.float32(self.epsilon)) * scale_and_shift[0] + scale_and_shift[1]


def _project(x: np.ndarray, weight_and_bias: _Pair) -> np.ndarray:
    # As one matrix: NumPy multiplies a stack of small ones one by one.
    flat = x.reshape(-1, x.shape[-1]) @ weight_and_bias[0].T + weight_and_bias[1]
    return flat.reshape(*x.shape[:-1], -1)


def read_transformer(config: Mapping[str, Any], weights: Weights, source: str) -> Transformer:
    """The model that `config.json` and the weights are.

    Args:
      config: what `config.json` holds.
      weights: as saved by the library `transformers`.
      source: the folder, for error messages.

    Raises:
      InputError: where the architecture is not supported, or the weights are not of the configured shapes.
    """
    kind = str(config.get("model_type") or "")
    if kind not in FAMILIES:
        named = config.get("architectures") or [kind or "no `model_type` in config.json"]
        raise InputError(
            f"{source} holds a model of the architecture {', '.join(map(str, named))}, which Souk does not run from "
            f"safetensors; it runs {', '.join(FAMILIES)} and static models of model2vec. Any other one it runs from "
            "an ONNX file: export it with `optimum-cli export onnx` into `onnx/model.onnx`"
        )
    family = FAMILIES[kind]
    position = config.get("position_embedding_type") or "absolute"
    if position != "absolute":
        raise InputError(f"{source} has positions of the type {position}; Souk runs absolute ones, or an ONNX file")
    wrong = [name for name in family.settings[:4] if not isinstance(config.get(name), int) or config[name] < 1]
    if wrong:
        raise InputError(f"{source}/config.json has no numbers for {', '.join(wrong)}: it was not saved with the model")
    dim, depth, heads, inner = (int(config[name]) for name in family.settings[:4])
    activation = str(config.get(family.settings[4]))
    activation = "gelu_new" if activation == "gelu_pytorch_tanh" else activation
    if activation not in _ACTIVATIONS:
        raise InputError(f"{source} has the activation {activation}; Souk runs {', '.join(_ACTIVATIONS)}")
    if dim % heads:
        raise InputError(f"{source}/config.json: {heads} attention heads do not divide the width {dim}")
    weights = _without_prefix(weights)
    positions = weights.take("embeddings.position_embeddings.weight", None, dim)
    if kind != "distilbert":
        positions = positions + weights.take("embeddings.token_type_embeddings.weight", None, dim)[0]
    first = family.first_position
    shapes = [(dim, dim)] * 4 + [(dim,), (inner, dim), (dim, inner), (dim,)]
    return Transformer(
        words=weights.take("embeddings.word_embeddings.weight", None, dim),
        positions=positions,
        first_position=int(config.get("pad_token_id", 1)) + 1 if first is None else first,
        norm=_pair(weights, "embeddings.LayerNorm", (dim,)),
        layers=tuple(
            tuple(
                _pair(weights, f"{family.layers}{layer}.{name}", shape)
                for name, shape in zip(family.tensors, shapes, strict=True)
            )
            for layer in range(depth)
        ),
        heads=heads,
        activation=_ACTIVATIONS[activation],
        epsilon=config.get("layer_norm_eps", 1e-12),
    )


def _pair(weights: Weights, name: str, shape: tuple[int, ...]) -> _Pair:
    return weights.take(f"{name}.weight", *shape), weights.take(f"{name}.bias", shape[0])


def _without_prefix(weights: Weights) -> Weights:
    """A model with a head names the encoder's tensors after its kind, `bert.` for example."""
    known = "embeddings.word_embeddings.weight"
    prefixes = [name.removesuffix(known) for name in weights.tensors if name.endswith(known)]
    return Weights(weights.source, weights.tensors, prefixes[0]) if prefixes else weights
