"""What every model offers: two towers over shared input embeddings."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf
import tf_keras as keras

from schema import features, transformed
from trainer import item_table
from trainer.config import SEGMENT_MODELS, TrainerConfig
from trainer.layers.embedding import PaddedEmbedding, mean_of_embedded, trim
from trainer.layers.lexical import LexicalSkip
from trainer.layers.projection import Projection

Tensors = Mapping[str, tf.Tensor]


@dataclass(frozen=True)
class InputSizes:
    """How many ids each vocabulary has, out-of-vocabulary ids included.

    Attributes:
      unigrams, bigrams, phrases: token id spaces; segments have that of unigrams and then that of phrases.
      items: id space of items.
      brand, leaf_category, top_category, shop: id spaces of the item's fields.
      profile: id space of each `profile_*` feature by name.
    """

    unigrams: int
    bigrams: int
    phrases: int
    items: int
    brand: int
    leaf_category: int
    top_category: int
    shop: int
    profile: dict[str, int]

    @property
    def categories(self) -> dict[str, int]:
        """Id space of each one-valued item feature by feature name."""
        return {
            features.BRAND: self.brand,
            features.LEAF_CATEGORY: self.leaf_category,
            features.TOP_CATEGORY: self.top_category,
            features.SHOP: self.shop,
            transformed.PRICE_BUCKET: transformed.PRICE_BUCKETS,
        }


class Towers(keras.layers.Layer):
    """A query tower and an item tower over one set of input embeddings.

    Vectors have unit length, so that an inner product is a cosine.
    """

    def __init__(self, config: TrainerConfig, sizes: InputSizes, **kwargs):
        super().__init__(**kwargs)
        self.settings = config
        self.sizes = sizes
        # Unigrams, bigrams and phrases have one matrix, their ids following each other in this order.
        tokens = sizes.unigrams + sizes.bigrams + (sizes.phrases if config.model in SEGMENT_MODELS else 0)
        self.tokens = PaddedEmbedding(tokens, config.embedding_dim, name="tokens")
        self.item_fields = {
            name: PaddedEmbedding(size, config.embedding_dim, name=name) for name, size in sizes.categories.items()
        }

    @abstractmethod
    def encode_query(self, query: Tensors, items: Tensors, training: bool = False) -> tf.Tensor:
        """Vectors of search requests.

        Args:
          query: the query tower's input, [batch, width] int32 by feature (`SearchReader.query_batch`). Behaviour lists
            hold item rows shifted by one.
          items: columns of the item table, from which behaviour is joined.
          training: whether dropout is on.

        Returns:
          [batch, heads, dim].
        """

    @abstractmethod
    def encode_items(self, item: Tensors, training: bool = False) -> tf.Tensor:
        """Vectors of items.

        Args:
          item: features of the items (`item_table.gather`), [items] or [items, width] int32 by feature.
          training: whether dropout is on.

        Returns:
          [items, dim].
        """

    @abstractmethod
    def training_score(self, scores: tf.Tensor) -> tf.Tensor:
        """What the loss sees of the heads' inner products: [batch, heads, ...] to [batch, ...]."""

    def query_tokens(self, query: Tensors) -> tf.Tensor:
        """Token ids of a query's unigrams and bigrams, [batch, tokens]."""
        unigrams, bigrams = (
            trim(query[transformed.QUERY_UNIGRAMS]),
            self.bigram_tokens(query[transformed.QUERY_BIGRAMS]),
        )
        return tf.concat([unigrams, bigrams], axis=1)

    def title_tokens(self, item: Tensors) -> tf.Tensor:
        """Token ids of a title's unigrams and bigrams, [items, tokens]."""
        unigrams, bigrams = trim(item[transformed.TITLE_UNIGRAMS]), self.bigram_tokens(item[transformed.TITLE_BIGRAMS])
        return tf.concat([unigrams, bigrams], axis=1)

    def bigram_tokens(self, bigrams: tf.Tensor) -> tf.Tensor:
        """Token ids of bigrams, [batch, bigrams]."""
        bigrams = trim(bigrams)
        return tf.where(bigrams > 0, bigrams + self.sizes.unigrams, 0)

    def segment_tokens(self, segments: tf.Tensor) -> tf.Tensor:
        """Token ids of segments, [batch, segments]: a segment of one unit is that unigram."""
        segments = trim(segments, shortest=1)
        return tf.where(segments > self.sizes.unigrams, segments + self.sizes.bigrams, segments)

    def fields(self, item: Tensors) -> list[tf.Tensor]:
        """Embeddings of an item's brand, categories, shop and price bucket, [..., embedding_dim] each."""
        return [self.item_fields[name](item[name]) for name in self.sizes.categories]

    def field_item_vector(
        self, item: Tensors, projection: Projection, lexical: LexicalSkip | None, training: bool
    ) -> tf.Tensor:
        """DPSR's item tower: title, words of brand and category, and fields, concatenated and projected.

        Args:
          item: features of the items.
          projection: the tower's layers.
          lexical: adds the bag of words, where there is one.
          training: whether dropout is on.

        Returns:
          [items, dim].
        """
        title, attributes = self.title_tokens(item), trim(item[transformed.ATTRIBUTE_UNIGRAMS])
        tokens = tf.concat([title, attributes], axis=1)
        embedded = self.tokens(tokens)
        embedded_title, embedded_attributes = tf.split(embedded, [tf.shape(title)[1], tf.shape(attributes)[1]], axis=1)
        parts = [mean_of_embedded(embedded_title, title), mean_of_embedded(embedded_attributes, attributes)]
        inputs = tf.concat([*parts, *self.fields(item)], axis=-1)
        return projection(inputs, skip=lexical(embedded, tokens) if lexical else None, training=training)

    def behaviour(self, rows: tf.Tensor, items: Tensors) -> tf.Tensor:
        """Mean over a behaviour list of the items' embeddings, each the sum of its fields' embeddings.

        Args:
          rows: [batch, width] int32 item rows shifted by one, 0 is padding.
          items: columns of the item table.

        Returns:
          [batch, embedding_dim].
        """
        rows = trim(rows)
        return mean_of_embedded(tf.add_n(self.fields(behaved_items(rows, items, tuple(self.sizes.categories)))), rows)


def behaved_items(rows: tf.Tensor, items: Tensors, names: Sequence[str]) -> dict[str, tf.Tensor]:
    """One-valued features of the items of a behaviour list, 0 where it is padded.

    Args:
      rows: [batch, steps] int32 item rows shifted by one, 0 is padding.
      items: columns of the item table.
      names: which columns.

    Returns:
      [batch, steps] int32 by name.
    """
    present = tf.cast(rows > 0, tf.int32)
    behaved = item_table.gather({name: items[name] for name in names}, tf.maximum(rows - 1, 0))
    return {name: ids * present for name, ids in behaved.items()}
