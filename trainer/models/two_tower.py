"""The plain two-tower baseline: query text against item text and fields, no user (DSSM, Huang et al., CIKM 2013)."""

from typing import Any

import tensorflow as tf

from trainer.config import TrainerConfig
from trainer.layers.projection import Projection
from trainer.models.input_sizes import InputSizes
from trainer.models.towers import Tensors, Towers


class TwoTower(Towers):
    """One query vector from the query's tokens; one item vector from title tokens, attribute words and fields."""

    def __init__(self, config: TrainerConfig, sizes: InputSizes, **kwargs: Any):
        super().__init__(config, sizes, **kwargs)
        self.query_projection = Projection(config.hidden, config.dim, config.dropout, name="query")
        self.item_projection = Projection(config.hidden, config.dim, config.dropout, name="item")

    def query_vectors(self, query: Tensors, items: Tensors, training: bool) -> tf.Tensor:
        """See `Towers.query_vectors`; heads is 1."""
        means, _, _ = self.read(self.query_lists(query), query, items, behavior=False)
        return self.query_projection(means, training=training)[:, tf.newaxis, :]

    def item_vectors(self, item: Tensors, training: bool) -> tf.Tensor:
        """See `Towers.item_vectors`."""
        return self.field_item_vector(item, self.item_projection, training)

    def training_score(self, scores: tf.Tensor) -> tf.Tensor:
        """The inner product itself."""
        return tf.squeeze(scores, axis=1)
