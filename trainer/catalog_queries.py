"""Training queries made from the catalog's own words.

Clicks teach the words that people have searched for; they say nothing of new items and of words not searched for yet. A
few neighboring words of a title, with some of its brand and category, are a query for which that item is a fair
answer. Drawn for random items in every step, such queries teach a model the whole catalog's vocabulary. [ours]
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schema import features, transformed
from trainer.config import CatalogQueriesConfig
from trainer.item_table import padded
from trainer.randomness import Random

Tensors = Mapping[str, tf.Tensor]


_WORDS_AT_ONCE = 8192
# Share of its character n-grams that a misspelled word keeps.
_KEPT_SUBWORDS = 0.6


def draw_queries(
    items: Tensors,
    word_subwords: tf.Tensor,
    widths: Mapping[str, int],
    config: CatalogQueriesConfig,
    random: Random = tf.random,
) -> dict[str, tf.Tensor]:
    """A query for each item, as a query tower reads it, of a user of whom nothing is known.

    Args:
      items: features of the items (`item_table.gather`), [items, width] int32, 0 is padding.
      word_subwords: [unigrams + 1, width] int32, the character n-grams of each word (`subwords_of_words`).
      widths: of each list that the query tower reads (`SearchReader.query_widths`).
      config: how long the queries are.
      random: draws them.

    Returns:
      [items, width] int32 by feature.
    """
    title, bigrams = items[transformed.TITLE_UNIGRAMS], items[transformed.TITLE_BIGRAMS]
    count = tf.shape(title)[0]
    lengths = tf.reduce_sum(tf.cast(title > 0, tf.int32), axis=1)
    wanted = random.uniform([count], 1, config.longest + 1, tf.int32)
    taken = tf.minimum(wanted, lengths)
    starts = tf.cast(random.uniform([count]) * tf.cast(lengths - taken + 1, tf.float32), tf.int32)
    offsets = tf.range(config.longest)[tf.newaxis, :]
    places = tf.minimum(starts[:, tf.newaxis] + offsets, tf.shape(title)[1] - 1)
    words = tf.where(offsets < taken[:, tf.newaxis], tf.gather(title, places, batch_dims=1), 0)
    attributes = items[transformed.ATTRIBUTE_UNIGRAMS]
    kept = random.uniform(tf.shape(attributes)) < config.attribute_share
    said = tf.concat([words, tf.where(kept, attributes, 0)], axis=1)
    subwords = tf.gather(word_subwords, said)
    misspelled = (random.uniform(tf.shape(said)) < config.misspelled_share) & (subwords[:, :, 0] > 0)
    lost = misspelled[:, :, tf.newaxis] & (random.uniform(tf.shape(subwords)) >= _KEPT_SUBWORDS)
    subwords = tf.reshape(tf.where(lost, 0, subwords), [count, tf.size(subwords) // tf.maximum(count, 1)])
    known = tf.where(misspelled, 0, said)
    # Bigram j of a title joins its units j - 1 and j; the query's own first and last units are not the title's.
    whole = known[:, : config.longest] > 0
    pairs = tf.where(whole[:, 1:] & whole[:, :-1], tf.gather(bigrams, places[:, 1:], batch_dims=1), 0)
    unigrams = left_packed(known)
    made = {
        transformed.QUERY_UNIGRAMS: unigrams,
        transformed.QUERY_BIGRAMS: left_packed(pairs),
        transformed.QUERY_SUBWORDS: left_packed(subwords),
    }
    if transformed.QUERY_SEGMENTS in widths:
        made[transformed.QUERY_SEGMENTS] = unigrams
    return {
        name: _fitted(made[name], width) if name in made else tf.zeros([count, width], tf.int32)
        for name, width in widths.items()
    }


def subwords_of_words(transform: tft.TFTransformOutput, width: int = 16) -> np.ndarray:
    """Character n-grams of each word of the vocabulary, as `QUERY_SUBWORDS` has them, [unigrams + 1, width] int32.

    Rows are unigram ids shifted by one; 0 is padding, and words that are not in the vocabulary have none.
    """
    layer = transform.transform_features_layer()
    terms = [line.split(b" ")[-1] for line in transform.vocabulary_by_name(transformed.UNIGRAMS.name)]
    found = np.zeros((1 + len(terms) + transformed.UNIGRAMS.oov_buckets, width), np.int32)
    for start in range(0, len(terms), _WORDS_AT_ONCE):
        words = terms[start : start + _WORDS_AT_ONCE]
        title = tf.RaggedTensor.from_row_lengths(tf.constant(words), np.ones(len(words), np.int64)).to_sparse()
        subwords = padded(layer({features.TITLE: title})[transformed.TITLE_SUBWORDS], width)
        found[1 + start : 1 + start + len(words)] = subwords
    return found


def left_packed(ids: tf.Tensor) -> tf.Tensor:
    """Moves padding behind the ids, which keep their order: [rows, width] to [rows, width]."""
    present = tf.where(ids > 0)
    place = tf.gather_nd(tf.cumsum(tf.cast(ids > 0, present.dtype), axis=1, exclusive=True), present)
    places = tf.stack([present[:, 0], place], axis=1)
    return tf.scatter_nd(places, tf.gather_nd(ids, present), tf.shape(ids, out_type=present.dtype))


def _fitted(ids: tf.Tensor, width: int) -> tf.Tensor:
    return tf.pad(ids[:, :width], [[0, 0], [0, tf.maximum(width - tf.shape(ids)[1], 0)]])
