"""Vectors of terms from run to run: a vocabulary changes little from one night to the next."""

import io
import json
import posixpath
import zipfile
from collections.abc import Sequence
from typing import Final

import numpy as np
import tensorflow as tf
from absl import logging

from schema.files import write_whole
from trainer.text_encoder.encoder import TextEncoder

# Terms encoded between two lines of the log.
_LOGGED: Final = 2_000
# Terms that a cache keeps; those of the last run go first.
_KEPT: Final = 200_000

Vectors = dict[str, np.ndarray]


def encode_terms(encoder: TextEncoder, terms: Sequence[str], cache_dir: str = "") -> np.ndarray:
    """Vectors [terms, encoder.dim] of terms, each encoded alone, those in the cache not again.

    Args:
      encoder: what encodes.
      terms: the terms.
      cache_dir: a folder, local or remote, that is made if it is missing; "" for no cache. Each encoder has a file
        there, named after its fingerprint. Several processes may use it: a reader finds a whole file, and of two that
        write at the same moment, the terms of one may have to be encoded again. A cache that cannot be read or written
        is a warning.
    """
    path = posixpath.join(cache_dir, f"{encoder.fingerprint}.npz") if cache_dir else ""
    known = _read(path, encoder.dim)
    missing = [term for term in dict.fromkeys(terms) if term not in known]
    found = _encode(encoder, missing)
    if missing and path:
        # Another process may have written meanwhile.
        _write(path, terms, {**_read(path, encoder.dim), **known, **found})
    known.update(found)
    return np.array([known[term] for term in terms], np.float32).reshape(len(terms), encoder.dim)


def _encode(encoder: TextEncoder, terms: Sequence[str]) -> Vectors:
    found: Vectors = {}
    for start in range(0, len(terms), _LOGGED):
        part = terms[start : start + _LOGGED]
        found.update(zip(part, encoder.encode(part), strict=True))
        if len(terms) > _LOGGED:
            logging.info("Text encoder: %d of %d terms encoded", len(found), len(terms))
    return found


def _read(path: str, dim: int) -> Vectors:
    try:
        if not path or not tf.io.gfile.exists(path):
            return {}
        with tf.io.gfile.GFile(path, "rb") as file, np.load(io.BytesIO(file.read()), allow_pickle=False) as stored:
            terms, vectors = json.loads(stored["terms"].tobytes()), stored["vectors"]
        if vectors.shape != (len(terms), dim) or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise ValueError(f"vectors {vectors.dtype} {vectors.shape} of {len(terms)} terms, dim {dim}")
        return dict(zip(terms, vectors, strict=True))
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, tf.errors.OpError) as error:
        logging.warning("The cache %s cannot be read (%s): its terms are encoded again", path, error)
        return {}


def _write(path: str, terms: Sequence[str], vectors: Vectors) -> None:
    kept = list(dict.fromkeys([*terms, *vectors]))[: max(_KEPT, len(terms))]
    content = io.BytesIO()
    np.savez(
        content,
        terms=np.frombuffer(json.dumps(kept).encode(), np.uint8),
        vectors=np.array([vectors[term] for term in kept], np.float32),
    )
    try:
        tf.io.gfile.makedirs(posixpath.dirname(path))
        write_whole(path, content.getvalue())
    except tf.errors.OpError as error:
        logging.warning("The cache %s cannot be written (%s): the next run encodes its terms again", path, error)
