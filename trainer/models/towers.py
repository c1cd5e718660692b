"""What every model offers: two towers over shared input embeddings."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf
import tf_keras as keras

from schema import features, transformed
from trainer import item_table
from trainer.config import TrainerConfig
from trainer.layers.embedding import PaddedEmbedding, mean_of_embedded, trim

Tensors = Mapping[str, tf.Tensor]


@dataclass(frozen=True)
class InputSizes:
    """How many ids each vocabulary has, out-of-vocabulary ids included.

    Attributes:
      unigrams, bigrams: token id spaces.
      brand, leaf_category, top_category, shop: id spaces of the item's fields.
      profile: id space of each `profile_*` feature by name.
    """

    unigrams: int
    bigrams: int
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
        # Unigrams and bigrams have one matrix; bigram ids follow the unigram ids.
        self.tokens = PaddedEmbedding(sizes.unigrams + sizes.bigrams, config.embedding_dim, name="tokens")
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
        return self._token_ids(query[transformed.QUERY_UNIGRAMS], query[transformed.QUERY_BIGRAMS])

    def title_tokens(self, item: Tensors) -> tf.Tensor:
        """Token ids of a title's unigrams and bigrams, [items, tokens]."""
        return self._token_ids(item[transformed.TITLE_UNIGRAMS], item[transformed.TITLE_BIGRAMS])

    def fields(self, item: Tensors) -> list[tf.Tensor]:
        """Embeddings of an item's brand, categories, shop and price bucket, [..., embedding_dim] each."""
        return [self.item_fields[name](item[name]) for name in self.sizes.categories]

    def behaviour(self, rows: tf.Tensor, items: Tensors) -> tf.Tensor:
        """Mean over a behaviour list of the items' embeddings, each the sum of its fields' embeddings.

        Args:
          rows: [batch, width] int32 item rows shifted by one, 0 is padding.
          items: columns of the item table.

        Returns:
          [batch, embedding_dim].
        """
        rows = trim(rows)
        present = tf.cast(rows > 0, tf.int32)
        behaved = item_table.gather({name: items[name] for name in self.sizes.categories}, tf.maximum(rows - 1, 0))
        fields = self.fields({name: ids * present for name, ids in behaved.items()})
        return mean_of_embedded(tf.add_n(fields), rows)

    def _token_ids(self, unigrams: tf.Tensor, bigrams: tf.Tensor) -> tf.Tensor:
        bigrams = trim(bigrams)
        shifted = tf.where(bigrams > 0, bigrams + self.sizes.unigrams, 0)
        return tf.concat([trim(unigrams), shifted], axis=1)
