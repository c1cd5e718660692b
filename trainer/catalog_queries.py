"""Training queries made from the catalog's own words.

Clicks teach the words that people have searched for; they say nothing of new items and of words not searched for yet. A
few neighboring words of a title, with some of its brand and category, are a query for which that item is a fair
answer. Drawn for random items in every step, such queries teach a model the whole catalog's vocabulary. [ours]
"""

from collections.abc import Mapping

import tensorflow as tf

from schema import transformed
from trainer.config import CatalogQueriesConfig
from trainer.randomness import Random

Tensors = Mapping[str, tf.Tensor]


def draw_queries(
    items: Tensors, widths: Mapping[str, int], config: CatalogQueriesConfig, random: Random = tf.random
) -> dict[str, tf.Tensor]:
    """A query for each item, as a query tower reads it, of a user of whom nothing is known.

    Args:
      items: features of the items (`item_table.gather`), [items, width] int32, 0 is padding.
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
    # Bigram j of a title joins its units j - 1 and j; the query's own first and last units are not the title's.
    pairs = tf.where(offsets[:, 1:] < taken[:, tf.newaxis], tf.gather(bigrams, places[:, 1:], batch_dims=1), 0)

    attributes = items[transformed.ATTRIBUTE_UNIGRAMS]
    kept = random.uniform(tf.shape(attributes)) < config.attribute_share
    unigrams = left_packed(tf.concat([words, tf.where(kept, attributes, 0)], axis=1))
    made = {transformed.QUERY_UNIGRAMS: unigrams, transformed.QUERY_BIGRAMS: pairs}
    if transformed.QUERY_SEGMENTS in widths:
        made[transformed.QUERY_SEGMENTS] = unigrams
    return {
        name: _fitted(made[name], width) if name in made else tf.zeros([count, width], tf.int32)
        for name, width in widths.items()
    }


def left_packed(ids: tf.Tensor) -> tf.Tensor:
    """Moves padding behind the ids, which keep their order: [rows, width] to [rows, width]."""
    order = tf.argsort(tf.cast(ids == 0, tf.int32), axis=1, stable=True)
    return tf.gather(ids, order, batch_dims=1)


def _fitted(ids: tf.Tensor, width: int) -> tf.Tensor:
    return tf.pad(ids[:, :width], [[0, 0], [0, tf.maximum(width - tf.shape(ids)[1], 0)]])
