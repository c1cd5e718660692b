"""What an encoder knows of the terms of a vocabulary, in as many dimensions as are wanted."""

from collections.abc import Sequence

import numpy as np
from absl import logging

from trainer.text_encoder.cache import encode_terms
from trainer.text_encoder.encoder import TextEncoder
from trainer.text_encoder.pooling import normalized

# Variance, as a share of the largest component's, below which a component is rounding.
_ROUNDING = 1e-10


def term_vectors(
    encoder: TextEncoder,
    terms: Sequence[str],
    dim: int,
    weights: Sequence[float] | np.ndarray | None = None,
    cache_dir: str = "",
) -> np.ndarray:
    """Vectors [terms, dim], float32, of unit length, whose cosines are close to those of the encoder's vectors.

    Each term is encoded alone. The vectors are centered and reduced by PCA, both weighted. Equal arguments and an equal
    cache give equal vectors on one machine. Where the encoder's vectors span fewer than `dim` dimensions, the last ones
    are zeros. A term without a direction, such as one whose tokens a static model does not know, is zeros.

    Args:
      encoder: see `load_encoder`.
      terms: distinct; at least one.
      dim: width of the vectors.
      weights: how much each term counts in center and PCA, [terms], not negative: its frequency for example; None for
        one each.
      cache_dir: as for `encode_terms`.
    """
    shares = np.ones(len(terms)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (len(terms),) or not np.isfinite(shares).all() or (shares < 0.0).any() or shares.sum() <= 0.0:
        raise ValueError(f"weights {shares.shape} of {len(terms)} terms must be finite, not negative, and not all zero")
    vectors = encode_terms(encoder, terms, cache_dir).astype(np.float64)
    # What the encoder does not know at all says nothing of where the center is.
    known = vectors.any(axis=1)
    shares = np.where(known, shares, 0.0)
    shares /= shares.sum() or 1.0
    centered = np.where(known[:, None], vectors - shares @ vectors, 0.0)
    components = _components(centered, shares, dim)
    if components.shape[1] < dim:
        logging.warning(
            "The text encoder's vectors of %d terms span %d dimensions: the last %d of %d are zeros",
            len(terms),
            components.shape[1],
            dim - components.shape[1],
            dim,
        )
    reduced = np.zeros((len(terms), dim))
    reduced[:, : components.shape[1]] = centered @ components
    return normalized(reduced).astype(np.float32)


def _components(centered: np.ndarray, shares: np.ndarray, dim: int) -> np.ndarray:
    """Principal components [encoder dim, at most dim], the largest variance first."""
    variances, components = np.linalg.eigh((centered * shares[:, None]).T @ centered)
    order = np.argsort(variances)[::-1][:dim]
    order = order[variances[order] > _ROUNDING * variances.max(initial=0.0)]
    components = components[:, order]
    # A component and its negative are the same to an eigensolver; the largest entry is made positive.
    largest = components[np.abs(components).argmax(axis=0), np.arange(components.shape[1])]
    return components * np.sign(largest)
