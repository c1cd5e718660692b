"""Static embeddings: a vector for each token, without context, as model2vec and sentence-transformers save them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from schema.settings import InputError
from trainer.text_encoder import pooling
from trainer.text_encoder.weights import Weights


@dataclass(frozen=True)
class StaticModel:
    """The weighted mean of a text's token vectors; callable on ids and mask, both [batch, tokens].

    Attributes:
      vectors: [vectors, dim].
      rows: for each token id its row in `vectors`, [vocabulary].
      weights: for each token id its weight, [vocabulary].
      unknown: the id of the token for what the vocabulary lacks, which is left out; None where it counts.
    """

    vectors: np.ndarray
    rows: np.ndarray
    weights: np.ndarray
    unknown: int | None

    def __call__(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Vectors [batch, dim]; zeros for a text without known tokens."""
        vectors = self.vectors[self.rows[ids]] * self.weights[ids][:, :, None]
        return pooling.mean(vectors, mask & (ids != self.unknown) if self.unknown is not None else mask)


def read_static(weights: Weights, tokenizer: Mapping[str, Any], skip_unknown: bool) -> StaticModel:
    """The model that the weights are.

    Args:
      weights: `embeddings` (model2vec) or `embedding.weight` (sentence-transformers); optional `weights` and `mapping`.
      tokenizer: what `tokenizer.json` holds.
      skip_unknown: whether unknown tokens are left out, as model2vec does.

    Raises:
      InputError: where these tensors do not fit each other.
    """
    name = "embedding.weight" if "embedding.weight" in weights.tensors else "embeddings"
    vectors = weights.take(name, None, None).astype(np.float32)
    tokens = next((len(weights.tensors[other]) for other in ("mapping", "weights") if other in weights.tensors), None)
    rows = weights.take("mapping", tokens) if "mapping" in weights.tensors else np.arange(tokens or len(vectors))
    if not len(rows) or rows.min() < 0 or rows.max() >= len(vectors):
        raise InputError(
            f"{weights.source} has {len(vectors)} vectors, and weights or a mapping for {len(rows)} tokens that reach "
            "beyond: the file is of no whole model, download it anew"
        )
    factors = weights.take("weights", len(rows)) if "weights" in weights.tensors else np.ones(len(rows))
    return StaticModel(vectors, rows, factors.astype(np.float32), _unknown(tokenizer) if skip_unknown else None)


def _unknown(tokenizer: Mapping[str, Any]) -> int | None:
    """Unigram models name an id, the others a token of their vocabulary."""
    model = tokenizer.get("model") or {}
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    vocabulary = model.get("vocab")
    found = vocabulary.get(model.get("unk_token")) if isinstance(vocabulary, dict) else None
    return None if found is None else int(found)
