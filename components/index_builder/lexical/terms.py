"""Terms of texts: words, and neighboring words joined to one.

A term is known by the 64-bit fingerprint of its bytes, so neither the dictionary nor its look-up holds strings. Words
and joined neighbors share one dictionary: "smartwatch" in a query finds "smart watch" in a title, and the other way
round.
"""

from typing import NamedTuple

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import tokens
from schema import features, transformed
from trainer.raw_catalog import raw_catalog_spec

# Fingerprints are taken modulo the largest number of buckets that the op allows.
_FINGERPRINTS = 2**63 - 1
# Singular and plural of words that the plural rules are about, and of which hardly all share hash buckets by chance.
_PLURALS = (("shoe", "shoes"), ("battery", "batteries"), ("glass", "glasses"), ("lamp", "lamps"))


class Terms(NamedTuple):
    """Terms of a batch of texts.

    Attributes:
      units: [batch, (words)] string.
      words: [batch, (words)] int64 fingerprints.
      joined: [batch, (words - 1, at least 0)] int64 fingerprints of neighbors written as one word.
    """

    units: tf.RaggedTensor
    words: tf.RaggedTensor
    joined: tf.RaggedTensor


def terms_of(texts: tf.Tensor, most_words: int, fold_plurals: bool) -> Terms:
    """The terms of texts [batch] string, of at most `most_words` words each; the same for queries and items."""
    units = tokens.tokenize(texts, most_words, fold_plurals)
    joined = tokens.neighbors(units)
    return Terms(units, *(text.with_values(fingerprints(text.values)) for text in (units, joined)))


def fingerprints(texts: tf.Tensor) -> tf.Tensor:
    """FarmHash of each string, [...] int64."""
    return tf.strings.to_hash_bucket_fast(texts, _FINGERPRINTS)


def folds_plurals(transform: tft.TFTransformOutput) -> bool:
    """Whether a transform graph makes plurals singular: asked of the graph itself, the one record of what it does."""
    words = tf.constant([word for pair in _PLURALS for word in pair])
    # The graph gives an output only where all that it depends on is fed, such as the catalog's further columns.
    spec = raw_catalog_spec(transform.raw_feature_spec())
    raw = tf.io.parse_example(tf.fill(tf.shape(words), b""), spec)
    raw[features.TITLE] = tf.RaggedTensor.from_row_lengths(words, tf.ones(tf.shape(words), tf.int64)).to_sparse()
    ids = transform.transform_features_layer()(raw)[transformed.TITLE_UNIGRAMS].values
    return bool(tf.reduce_all(ids[::2] == ids[1::2]))
