"""MMSE: Learning Multi-Stage Multi-Grained Semantic Embeddings for E-Commerce Search (JD.com, WWW 2023, 2303.11009).

    v_g   = tower_g(grain g of the request),  g in {unigrams, bigrams, segments, behavior, profile}
    s     = sum over g of w_g(q) (v_g . i)                              (post-fusion)
    L     = L_retrieval (ordered and clicked against random and in-batch items)
            + lambda L_ranking (ordered over clicked over unclicked within one search)

From the abstract: multi-stage items (ordered, clicked, unclicked, random), post-fusion of similarities, a retrieval
loss joined with a ranking loss. All else is our reading [ours]: which grains there are; that the weights are a softmax
over grains, computed from the request alone, so that one vector `sum over g of w_g v_g` serves for the sum of
similarities; the item tower, which is DPSR's (arXiv 2006.02282); margins by difference of stage
(`trainer.losses.stage_ranking_loss`). With `fusion` off the grains are concatenated before one tower (pre-fusion); with
`multi_grain` off the query's text is one grain, its unigrams. `TrainerConfig` sets losses and negatives, and
`LexicalSkip`, our addition.
"""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from schema import transformed
from trainer.config import TrainerConfig
from trainer.layers.embedding import PaddedEmbedding
from trainer.layers.projection import Projection
from trainer.models.towers import InputSizes, Tensors, Towers


class Mmse(Towers):
    """Query tower per grain, fused after each has met the item."""

    def __init__(self, config: TrainerConfig, sizes: InputSizes, **kwargs: Any):
        super().__init__(config, sizes, **kwargs)
        profile = sizes.profile if config.profile else {}
        self.profile_fields = {
            name: PaddedEmbedding(size, config.embedding_dim, name=name) for name, size in profile.items()
        }
        names = self._grain_names() if config.fusion else ("all",)
        self.grain_towers = {
            name: Projection(config.hidden, config.dim, config.dropout, name=f"grain_{name}") for name in names
        }
        self.grain_weights = keras.layers.Dense(len(names), name="grain_weights") if config.fusion else None
        self.item_projection = Projection(config.hidden, config.dim, config.dropout, name="item")

    def query_vectors(self, query: Tensors, items: Tensors, training: bool) -> tf.Tensor:
        """See `Towers.query_vectors`; heads is 1, and the vector is `sum over g of w_g v_g`, shorter than one."""
        grains = self.grains(query, items)
        skip = None
        if self.lexical:
            skip = self.lexical(self.query_bags(query))
        everything = tf.concat(list(grains.values()), axis=-1)
        if self.grain_weights is None:
            return self.grain_towers["all"](everything, skip=skip, training=training)[:, tf.newaxis, :]
        towers = [self.grain_towers[name](grain, skip=skip, training=training) for name, grain in grains.items()]
        weights = tf.nn.softmax(self.grain_weights(everything))
        return tf.einsum("bg,bgd->bd", weights, tf.stack(towers, axis=1))[:, tf.newaxis, :]

    def item_vectors(self, item: Tensors, training: bool) -> tf.Tensor:
        """See `Towers.item_vectors`."""
        return self.field_item_vector(item, self.item_projection, training)

    def training_score(self, scores: tf.Tensor) -> tf.Tensor:
        """The inner product itself, which is the fused similarity."""
        return tf.squeeze(scores, axis=1)

    def grains(self, query: Tensors, items: Tensors) -> dict[str, tf.Tensor]:
        """What each grain's tower reads, [batch, width] by grain."""
        grains = {"unigrams": self.tokens.mean(query[transformed.QUERY_UNIGRAMS])}
        if self.settings.multi_grain:
            grains["bigrams"] = self.tokens.mean(self.bigram_tokens(query[transformed.QUERY_BIGRAMS]))
            grains["subwords"] = self.subwords.mean(query[transformed.QUERY_SUBWORDS])
            grains["segments"] = self.tokens.mean(self.segment_tokens(query[transformed.QUERY_SEGMENTS]))
        if self.settings.history.enabled:
            past_queries = self.tokens.mean(query[transformed.HISTORY_QUERY_UNIGRAMS])
            grains["behavior"] = tf.concat([self.behavior(query, items), past_queries], axis=-1)
        if self.profile_fields:
            fields = [embedding(query[name][:, 0]) for name, embedding in self.profile_fields.items()]
            grains["profile"] = tf.concat(fields, axis=-1)
        return grains

    def _grain_names(self) -> tuple[str, ...]:
        text = ("unigrams", "bigrams", "subwords", "segments") if self.settings.multi_grain else ("unigrams",)
        behavior = ("behavior",) if self.settings.history.enabled else ()
        return text + behavior + (("profile",) if self.profile_fields else ())
