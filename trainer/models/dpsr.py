"""DPSR: Towards Personalized and Semantic Retrieval (JD.com, SIGIR 2020, arXiv 2006.02282).

    query tower: concat[profile; history items; history queries; query tokens] -> K heads of 3 layers -> unit e_1..e_K
    item tower:  concat[title tokens; brand; category; shop; ...]             -> 3 layers            -> unit g
    score:       f(q, s) = sum_k w_k (e_k . g),  w_k = softmax_k(e_k . g / beta)      (training)
                 max_k (e_k . g): a search per head, results united and re-ranked     (serving)

Both towers share the input embeddings. The loss (hinge in the paper) and the mix of random and in-batch negatives are
set by `TrainerConfig`.

Our reading [ours]: a history item is the sum of its field embeddings (brand, categories, shop, price), with one mean
over items for each behavior window; brand and category names are also read as words, in the token matrix. Our
addition: `LexicalSkip`, which `TrainerConfig.lexical_skip` switches off.
"""

from typing import Any

import tensorflow as tf

from schema import transformed
from trainer.config import TrainerConfig
from trainer.layers.embedding import PaddedEmbedding
from trainer.layers.projection import Projection
from trainer.layers.scoring import soft_dot_product
from trainer.layers.shared_tables import IdList
from trainer.models.input_sizes import InputSizes
from trainer.models.towers import Tensors, Towers


class Dpsr(Towers):
    """Personalized multi-head query tower and single-vector item tower."""

    def __init__(self, config: TrainerConfig, sizes: InputSizes, **kwargs: Any):
        super().__init__(config, sizes, **kwargs)
        profile = sizes.profile if config.profile else {}
        self.profile_fields = {
            name: PaddedEmbedding(size, config.embedding_dim, name=name) for name, size in profile.items()
        }
        self.heads = [
            Projection(config.hidden, config.dim, config.dropout, name=f"head_{k}") for k in range(config.heads)
        ]
        self.item_projection = Projection(config.hidden, config.dim, config.dropout, name="item")

    def query_vectors(self, query: Tensors, items: Tensors, training: bool) -> tf.Tensor:
        """See `Towers.query_vectors`."""
        profile = [IdList(embedding, ((query[name], 0),)) for name, embedding in self.profile_fields.items()]
        history = self.settings.history.enabled
        past = [IdList(self.tokens, ((query[transformed.HISTORY_QUERY_UNIGRAMS], 0),))] if history else []
        lists = [*profile, *past, *self.query_lists(query)]
        means, behavior, skip = self.read(lists, query, items, behavior=history, in_parts=training)
        inputs = [*means[: len(profile)], *behavior, *means[len(profile) :]]
        return tf.stack([head(inputs, skip=skip, training=training) for head in self.heads], axis=1)

    def item_vectors(self, item: Tensors, training: bool) -> tf.Tensor:
        """See `Towers.item_vectors`."""
        return self.field_item_vector(item, self.item_projection, training)

    def training_score(self, scores: tf.Tensor) -> tf.Tensor:
        """The soft dot product over heads."""
        return soft_dot_product(scores, self.settings.beta)
