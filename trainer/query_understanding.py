"""What a query says of brand and category, looked up in the graph: MGDSPR's relevance control (arXiv 2106.09297).

A *verdict* is the set of brands, or categories, that a term leaves as likely; an empty set says nothing. Terms are
whole queries, pairs of neighboring units and single units. The longer term knows better: a whole query with a verdict
of its own overrules its parts, and a pair its two units, even with a verdict that says nothing ("apple juice" is no
Apple). What verdicts are left must agree; where no value is in all of them, any of them will do ("nike adidas"). [ours:
the paper says no more than that brand and category terms are matched.]

`trainer.query_evidence` learns the verdicts.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import tensorflow as tf

from schema import features

FIELDS: Final = (features.BRAND, features.LEAF_CATEGORY, features.TOP_CATEGORY)

# Rows of verdicts that every understanding has: no evidence, and evidence for no field.
UNKNOWN, SAYS_NOTHING = 0, 1
# Neither is a fingerprint, which is never negative.
_NO_KEY, _NO_QUERY = -2, -1
_ALLOWED = "allowed:"


@dataclass(frozen=True)
class QueryUnderstanding:
    """Verdicts by term. Ids are shifted by one, as in a query batch, and 0 is "none".

    Attributes:
      unit_rows: [known unigrams + 1] int32, the row of a unit's verdict; `UNKNOWN` where there is not enough evidence.
      pair_rows: [known bigrams + 1] int32, the same of pairs.
      query_keys: [queries] int64, fingerprints of the queries that have a verdict, ascending; at least one.
      query_rows: [queries] int32, their rows.
      allowed: by field of `FIELDS`, [rows, values] int32: the field's values that a verdict leaves, padded with 0;
        all 0 where it says nothing.
    """

    unit_rows: np.ndarray
    pair_rows: np.ndarray
    query_keys: np.ndarray
    query_rows: np.ndarray
    allowed: Mapping[str, np.ndarray]

    @classmethod
    def of(
        cls,
        unit_rows: np.ndarray,
        pair_rows: np.ndarray,
        query_rows: Mapping[int, int],
        allowed: Mapping[str, np.ndarray],
    ) -> "QueryUnderstanding":
        """As the constructor, with rows of whole queries by fingerprint."""
        by_key = sorted(query_rows.items()) or [(_NO_KEY, UNKNOWN)]
        keys, rows = zip(*by_key, strict=True)
        return cls(unit_rows, pair_rows, np.array(keys, np.int64), np.array(rows, np.int32), allowed)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it, in the form that `understand` reads."""
        return {
            "unit_rows": self.unit_rows,
            "pair_rows": self.pair_rows,
            "query_keys": self.query_keys,
            "query_rows": self.query_rows,
            **{_ALLOWED + name: values for name, values in self.allowed.items()},
        }

    def terms(self) -> dict[str, int]:
        """By field, how many terms say something of it."""
        rows = np.concatenate([self.unit_rows, self.pair_rows, self.query_rows])
        return {name: int(np.count_nonzero(values[rows, 0])) for name, values in self.allowed.items()}

    def save(self, path: str) -> None:
        """Writes it as one `.npz` file."""
        # Through memory: an archive is written with seeks, which object stores do not have.
        archive = io.BytesIO()
        np.savez_compressed(archive, **self.arrays())
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(archive.getvalue())

    @classmethod
    def load(cls, path: str) -> "QueryUnderstanding":
        """Reads what `save` wrote."""
        with tf.io.gfile.GFile(path, "rb") as file:
            archive = io.BytesIO(file.read())
        with np.load(archive) as stored:
            arrays = {name: stored[name] for name in stored.files}
        allowed = {name.removeprefix(_ALLOWED): arrays.pop(name) for name in list(arrays) if name.startswith(_ALLOWED)}
        return cls(allowed=allowed, **arrays)


def fingerprints(units: tf.Tensor, known: int) -> tf.Tensor:
    """Keys of whole queries: equal for equal units, -1 for a query that is empty or has a unit that is not known.

    Args:
      units: [batch, width] int32, shifted by one and padded with 0.
      known: units above this are hash buckets, which stand for many words.

    Returns:
      [batch] int64.
    """
    words = tf.RaggedTensor.from_tensor(units, padding=0)
    text = tf.strings.reduce_join(words.with_values(tf.strings.as_string(words.values)), axis=1, separator=" ")
    keys = tf.strings.to_hash_bucket_fast(text, np.iinfo(np.int64).max)
    whole = tf.reduce_all(units <= known, axis=1) & tf.reduce_any(units > 0, axis=1)
    return tf.where(whole, keys, tf.cast(_NO_QUERY, tf.int64))


def pairs_of(units: tf.Tensor, bigrams: tf.Tensor) -> tf.Tensor:
    """Pairs of neighboring units: pair `i` is of the units `i` and `i + 1`. [batch, width - 1] int32.

    Args:
      units: [batch, width] int32.
      bigrams: [batch, width + 1] int32 of the same queries, with the marked ones at head and tail.
    """
    return tf.where(units[:, 1:] > 0, bigrams[:, 1 : tf.shape(units)[1]], 0)


def understand(arrays: Mapping[str, tf.Tensor], units: tf.Tensor, bigrams: tf.Tensor) -> dict[str, tf.Tensor]:
    """The values that queries leave, by field of `FIELDS`: [batch, (values)] int32 with 0s in between.

    All 0 where a query says nothing of a field.

    Args:
      arrays: of `QueryUnderstanding.arrays`, as tensors or variables.
      units: [batch, width] int32 unigrams of the queries, shifted by one and padded with 0.
      bigrams: [batch, width + 1] int32.
    """
    # A query is a few words long, and the work below grows with the square of the width.
    width = tf.maximum(tf.reduce_max(tf.math.count_nonzero(units, axis=1)), 1)
    units, bigrams = units[:, :width], bigrams[:, : width + 1]

    known = tf.shape(arrays["unit_rows"])[0] - 1
    keys = tf.convert_to_tensor(arrays["query_keys"])
    wanted = fingerprints(units, known)
    place = tf.minimum(tf.searchsorted(keys, wanted), tf.shape(keys)[0] - 1)
    whole = tf.where(tf.gather(keys, place) == wanted, tf.gather(arrays["query_rows"], place), UNKNOWN)[:, tf.newaxis]
    pair_rows = _rows(arrays["pair_rows"], pairs_of(units, bigrams))
    in_pair = tf.pad(pair_rows != UNKNOWN, [[0, 0], [1, 1]])
    in_pair = in_pair[:, 1:] | in_pair[:, :-1]
    unit_rows = tf.where(in_pair, UNKNOWN, _rows(arrays["unit_rows"], units))
    parts = tf.where(whole != UNKNOWN, UNKNOWN, tf.concat([pair_rows, unit_rows], axis=1))
    rows = tf.concat([whole, parts], axis=1)
    return {name: agreed(tf.gather(arrays[_ALLOWED + name], rows)) for name in FIELDS}


def _rows(rows: tf.Tensor, terms: tf.Tensor) -> tf.Tensor:
    """Rows of terms; those beyond the table are hash buckets, of which nothing is known."""
    inside = terms < tf.shape(rows)[0]
    return tf.where(inside, tf.gather(rows, tf.where(inside, terms, 0)), UNKNOWN)


def agreed(verdicts: tf.Tensor) -> tf.Tensor:
    """Values that are in every verdict; where there is no such value, those that are in any.

    Args:
      verdicts: [batch, terms, values] int32, padded with 0; a verdict of 0s takes no part.

    Returns:
      [batch, terms * values] int32 with 0s in between; a value may come more than once.
    """
    values = tf.reshape(verdicts, [tf.shape(verdicts)[0], -1])
    held = tf.reduce_any(values[:, :, tf.newaxis, tf.newaxis] == verdicts[:, tf.newaxis], axis=3)
    speaking = tf.math.count_nonzero(tf.reduce_any(verdicts > 0, axis=2), axis=1)
    unanimous = (values > 0) & (tf.math.count_nonzero(held, axis=2) == speaking[:, tf.newaxis])
    disputed = ~tf.reduce_any(unanimous, axis=1, keepdims=True)
    return tf.where(unanimous | disputed, values, 0)
