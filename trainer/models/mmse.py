"""MMSE: Learning Multi-Stage Multi-Grained Semantic Embeddings for E-Commerce Search (JD.com, WWW 2023, 2303.11009).

    v_g   = tower_g(grain g of the request),  g in {unigrams, bigrams, subwords, segments, behavior, profile}
    s     = sum over g of w_g(q) (v_g . i) / |sum over g of w_g v_g|    (post-fusion)
    L     = L_retrieval (ordered and clicked against random and in-batch items)
            + lambda L_ranking (ordered over clicked over unclicked within one search)

From the abstract: multi-stage items (ordered, clicked, unclicked, random), post-fusion of similarities, a retrieval
loss joined with a ranking loss. All else is our reading [ours]: which grains there are; that the weights are a softmax
over grains, computed from the request alone, so that one vector `sum over g of w_g v_g` serves for the sum of
similarities; that this vector has unit length, as grains that disagree would make it short and so soften the softmax of
the loss; the item tower, which is DPSR's (arXiv 2006.02282); margins by difference of stage
(`trainer.losses.stage_ranking_loss`). With `fusion` off the grains are concatenated before one tower (pre-fusion); with
`multi_grain` off the query's text is one grain, its unigrams. `TrainerConfig` sets losses and negatives, and
`LexicalSkip`, our addition, which reads bigrams and subwords in either case.
"""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from schema import transformed
from trainer.config import TrainerConfig
from trainer.layers.embedding import PaddedEmbedding
from trainer.layers.projection import Projection
from trainer.layers.shared_tables import IdList
from trainer.models.input_sizes import InputSizes
from trainer.models.towers import Tensors, Towers

_TEXT_GRAINS = ("unigrams", "bigrams", "subwords", "segments")


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
        """See `Towers.query_vectors`; heads is 1, and the vector is `sum over g of w_g v_g` at unit length."""
        grains, skip = self.grains(query, items)
        everything = tf.concat(list(grains.values()), axis=-1)
        if self.grain_weights is None:
            return self.grain_towers["all"](everything, skip=skip, training=training)[:, tf.newaxis, :]
        towers = [
            self.grain_towers[name](grain, skip=skip if name in _TEXT_GRAINS else None, training=training)
            for name, grain in grains.items()
        ]
        weights = tf.nn.softmax(self.grain_weights(everything))
        fused = tf.einsum("bg,bgd->bd", weights, tf.stack(towers, axis=1))
        return tf.math.l2_normalize(fused, axis=-1, epsilon=1e-12)[:, tf.newaxis, :]

    def item_vectors(self, item: Tensors, training: bool) -> tf.Tensor:
        """See `Towers.item_vectors`."""
        return self.field_item_vector(item, self.item_projection, training)

    def training_score(self, scores: tf.Tensor) -> tf.Tensor:
        """The inner product itself, which is the fused similarity."""
        return tf.squeeze(scores, axis=1)

    def grains(self, query: Tensors, items: Tensors) -> tuple[dict[str, tf.Tensor], tf.Tensor | None]:
        """What each grain's tower reads, [batch, width] by grain, and the lexical vector, [batch, dim]."""
        unigrams, bigrams = query[transformed.QUERY_UNIGRAMS], query[transformed.QUERY_BIGRAMS]
        words, subwords = self.query_lists(query)
        lists = {"unigrams": IdList(self.tokens, ((unigrams, 0),)), "subwords": subwords}
        if self.lexical:
            lists["words"] = words
        if self.settings.multi_grain:
            segments = self.segment_tokens(query[transformed.QUERY_SEGMENTS])
            lists["bigrams"] = IdList(self.tokens, ((bigrams, self.sizes.unigrams),))
            lists["segments"] = IdList(self.tokens, ((segments, 0),))
        history = self.settings.history.enabled
        if history:
            lists["past"] = IdList(self.tokens, ((query[transformed.HISTORY_QUERY_UNIGRAMS], 0),))
        for name, embedding in self.profile_fields.items():
            lists[name] = IdList(embedding, ((query[name], 0),))
        means, behavior, skip = self.read(list(lists.values()), query, items, behavior=history)
        found = dict(zip(lists, means, strict=True))
        if history:
            found["behavior"] = tf.concat([*behavior, found["past"]], axis=-1)
        if self.profile_fields:
            found["profile"] = tf.concat([found[name] for name in self.profile_fields], axis=-1)
        return {name: found[name] for name in self._grain_names()}, skip

    def _grain_names(self) -> tuple[str, ...]:
        text = _TEXT_GRAINS if self.settings.multi_grain else ("unigrams",)
        behavior = ("behavior",) if self.settings.history.enabled else ()
        return text + behavior + (("profile",) if self.profile_fields else ())
