"""MGDSPR: Embedding-based Product Retrieval in Taobao Search (KDD 2021, arXiv 2106.09297).

    q_1gram, q_2gram, q_seg = means of the query's unigrams, bigrams, segments
    q_seg_seq = mean(Transformer(segments));  q_his_seq = softmax(q_seg . Q_his^T) Q_his;  q_mix = their sum
    Q_mgs     = [q_1gram; q_2gram; q_seg; q_seg_seq; q_his_seq; q_mix]
    H_real    = attend(Q_mgs, [0; self-attention(LSTM(R))]);  H_short = attend(Q_mgs, [0; self-attention(S)])
    H_long    = sum over a in {item, shop, leaf, brand} of attend(Q_mgs, [0; mean click_a; mean order_a; mean cart_a])
    query     = first position of self-attention([CLS; Q_mgs; H_real; H_short; H_long])
    item      = e_id + tanh(W . mean title) + sum of e_field over the item's fields

Sampled softmax with temperature, in-batch negatives and the hard mixtures I_mix are set by `TrainerConfig`.

Our reading [ours]: title words are the title's segments and the words of brand and category, which Taobao's titles
hold; the Transformer over segments has learned positions, and the one that fuses has learned types of grains and of
what they found, where CLS is a type alone; a past query is the mean of its unigrams, and q_his_seq may find the zero
vector, as behavior may; an item of a behavior list and the item tower share one id embedding; with `multi_grain` off
Q_mgs is q_1gram alone, and past queries are not read; with `fusion` off the means of the four blocks are concatenated
and mapped linearly; a further text column of the catalog is read as the title is. Our additions: the embeddings of the
item's fields, brand and price bucket among them, so that all models know the same of an item; and, switched by
`TrainerConfig`, vectors of unit length, hidden ids in training, `LexicalSkip`.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from schema import features, transformed
from trainer.config import TrainerConfig
from trainer.layers.attention import SelfAttention, attend, attend_each
from trainer.layers.embedding import PaddedEmbedding, mean_of_embedded, trim
from trainer.layers.projection import map_parts
from trainer.layers.recurrent import ResidualLstm
from trainer.models.input_sizes import InputSizes
from trainer.models.towers import Tensors, Towers, behaved_items, embedded

_ITEM_FIELDS = (transformed.ITEM_ROW, features.LEAF_CATEGORY, features.TOP_CATEGORY, features.BRAND, features.SHOP)
_LONG_TERM_ATTRIBUTES = (transformed.ITEM_ROW, features.SHOP, features.LEAF_CATEGORY, features.BRAND)
# Behavior lists up to each of these lengths are read together in training.
_LIST_LENGTHS = (3, 8, 20, 50)
_LONG_TERM = (features.LONG_TERM_CLICKS, features.LONG_TERM_ORDERS, features.LONG_TERM_CARTS)


class Mgdspr(Towers):
    """Query of six grains and three spans of behavior, fused by a Transformer; item of id, title and fields."""

    def __init__(self, config: TrainerConfig, sizes: InputSizes, **kwargs: Any):
        super().__init__(config, sizes, **kwargs)
        dim, heads = config.dim, config.attention_heads
        # Besides the items of the vocabulary one id for any other, which also stands in for hidden ids.
        self.item_fields[transformed.ITEM_ROW] = PaddedEmbedding(sizes.items, dim, name="item_id")
        self.random = tf.random.Generator.from_seed(config.seed)
        self.segment_positions = PaddedEmbedding(config.query_units, dim, name="segment_positions")
        self.segment_transformer = SelfAttention(dim, heads, 4 * dim, config.dropout, name="segment_transformer")
        self.behaved_item = keras.layers.Dense(dim, name="behaved_item")
        self.real_time_lstm = ResidualLstm(dim, name="real_time_lstm")
        self.real_time_attention = SelfAttention(dim, heads, name="real_time_attention")
        self.short_term_attention = SelfAttention(dim, heads, name="short_term_attention")
        if config.fusion:
            grains = 1 if not config.multi_grain else 6 if config.history.enabled else 5
            blocks = 4 if config.history.enabled else 1
            # What tells CLS, the grains and what each found in each span of behavior from each other.
            self.types = self.add_weight(name="types", shape=[1 + blocks * grains, dim], initializer="random_uniform")
            self.fusion = SelfAttention(dim, heads, 4 * dim, config.dropout, name="fusion")
        else:
            self.concatenation = keras.layers.Dense(dim, name="concatenation")
        self.texts = {
            name: keras.layers.Dense(dim, activation="tanh", use_bias=False, name=name)
            for name in ("title", *sizes.texts)
        }

    @property
    def behavior_columns(self) -> tuple[str, ...]:
        """See `Towers.behavior_columns`."""
        return _ITEM_FIELDS

    def served_columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Towers.served_columns`."""
        return {name: columns[name] for name in _ITEM_FIELDS}

    def query_vectors(self, query: Tensors, items: Tensors, training: bool) -> tf.Tensor:
        """See `Towers.query_vectors`; heads is 1."""
        grains = self.grains(query, training) if self.settings.multi_grain else self._unigrams(query)[:, tf.newaxis]
        blocks = [grains]
        if self.settings.history.enabled:
            blocks += [
                self.real_time(grains, query[features.REAL_TIME_ITEMS], items, training),
                self.short_term(grains, query[features.SHORT_TERM_ITEMS], items, training),
                self.long_term(grains, query, items),
            ]
        vector = self.fuse(blocks, training)
        if self.lexical:
            vector += self.lexical(self.query_bags(query))
        return self._finish(vector)[:, tf.newaxis, :]

    def item_vectors(self, item: Tensors, training: bool) -> tf.Tensor:
        """See `Towers.item_vectors`."""
        ids = item[transformed.ITEM_ROW]
        if training and self.settings.id_dropout:
            hidden = self.random.uniform(tf.shape(ids)) < self.settings.id_dropout
            ids = tf.where(hidden, self.sizes.items, ids)
        attributes = trim(item[transformed.ATTRIBUTE_UNIGRAMS])
        words = tf.concat([self.segment_tokens(item[transformed.TITLE_SEGMENTS]), attributes], axis=1)
        vector = self.item_fields[transformed.ITEM_ROW](ids) + self.texts["title"](self.tokens.mean(words))
        vector += tf.add_n(self.fields(item))
        for name in self.sizes.texts:
            vector += self.texts[name](self.tokens.mean(item[name]))
        if self.lexical:
            vector += self.lexical(self.item_bags(item))
        return self._finish(vector)

    def training_score(self, scores: tf.Tensor) -> tf.Tensor:
        """The inner product itself."""
        return tf.squeeze(scores, axis=1)

    def grains(self, query: Tensors, training: bool = False) -> tf.Tensor:
        """Q_mgs, [batch, 6, dim]."""
        unigrams = self._unigrams(query)
        bigrams = self.tokens.mean(self.bigram_tokens(query[transformed.QUERY_BIGRAMS]))
        segment_ids = self.segment_tokens(query[transformed.QUERY_SEGMENTS])
        present = segment_ids > 0
        embedded = self.tokens(segment_ids)
        segments = mean_of_embedded(embedded, segment_ids)
        positions = tf.cast(present, tf.int32) * (1 + tf.range(tf.shape(segment_ids)[1]))
        sequence = self.segment_transformer(embedded + self.segment_positions(positions), present, training=training)
        sequence = mean_of_embedded(sequence, segment_ids)
        grains = [unigrams, bigrams, segments, sequence]
        if self.settings.history.enabled:
            past, past_present = self.past_queries(query)
            grains.append(attend(segments[:, tf.newaxis], past, past_present)[:, 0])
        return tf.stack([*grains, tf.add_n(grains)], axis=1)

    def past_queries(self, query: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Q_his, [batch, past queries, embedding_dim], and which of them there are, [batch, past queries]."""
        units = trim(query[transformed.HISTORY_QUERY_UNIGRAMS], shortest=1)
        of_query = query[transformed.HISTORY_QUERY_INDEX][:, : tf.shape(units)[1]]
        # Index 0 is padding; it is left out by starting at 1.
        belongs = tf.equal(of_query[:, tf.newaxis, :], tf.range(1, tf.reduce_max(of_query) + 1)[:, tf.newaxis])
        belongs = tf.cast(belongs, tf.float32)
        count = tf.reduce_sum(belongs, axis=2, keepdims=True)
        past = tf.math.divide_no_nan(tf.matmul(belongs, self.tokens(units)), count)
        return past, count[..., 0] > 0

    def real_time(self, grains: tf.Tensor, rows: tf.Tensor, items: Tensors, training: bool = False) -> tf.Tensor:
        """H_real: what the grains find in the last day's items, [batch, grains, dim]."""
        vectors, rows = self._behaved(rows, items, training)

        def states(rows: tf.Tensor) -> tf.Tensor:
            read = self.real_time_lstm(tf.gather(vectors, rows), rows > 0, training=training)
            return self.real_time_attention(read, rows > 0, training=training)

        return _attend(grains, rows, states, training)

    def short_term(self, grains: tf.Tensor, rows: tf.Tensor, items: Tensors, training: bool = False) -> tf.Tensor:
        """H_short: what the grains find in the items of the days before, [batch, grains, dim]."""
        vectors, rows = self._behaved(rows, items, training)

        def states(rows: tf.Tensor) -> tf.Tensor:
            return self.short_term_attention(tf.gather(vectors, rows), rows > 0, training=training)

        return _attend(grains, rows, states, training)

    def long_term(self, grains: tf.Tensor, query: Tensors, items: Tensors) -> tf.Tensor:
        """H_long: what the grains find in the attributes of clicked, ordered and carted items, [batch, grains, dim]."""
        lists = [trim(query[name]) for name in _LONG_TERM]
        attributes = [behaved_items(rows, items, _LONG_TERM_ATTRIBUTES) for rows in lists]
        present = tf.stack([query[name][:, 0] > 0 for name in _LONG_TERM], axis=1)
        memories = [
            tf.stack(
                [
                    mean_of_embedded(self.item_fields[name](ids[name]), rows)
                    for rows, ids in zip(lists, attributes, strict=True)
                ],
                axis=1,
            )
            for name in _LONG_TERM_ATTRIBUTES
        ]
        return attend_each(grains, tf.stack(memories, axis=1), present)

    def fuse(self, blocks: list[tf.Tensor], training: bool = False) -> tf.Tensor:
        """H_qu: one vector of the grains and what they found in behavior.

        Args:
          blocks: [batch, grains, dim] each.
          training: whether dropout is on.

        Returns:
          [batch, dim].
        """
        if not self.settings.fusion:
            return self.concatenation(tf.concat([tf.reduce_mean(block, axis=1) for block in blocks], axis=1))
        sequence = tf.pad(tf.concat(blocks, axis=1), [[0, 0], [1, 0], [0, 0]]) + self.types
        fused = self.fusion.first(sequence, training=training)
        # The normalization at the end of the block gives length sqrt(dim), as inner products have it in the paper; this
        # brings it to that of a lexical vector.
        return fused / self.settings.dim**0.5 if self.settings.unit_vectors else fused

    def _unigrams(self, query: Tensors) -> tf.Tensor:
        return self.tokens.mean(query[transformed.QUERY_UNIGRAMS])

    def _behaved(self, rows: tf.Tensor, items: Tensors, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """Each item of some lists once, however many lists it is in: vectors, and the lists as rows of these.

        Args:
          rows: [batch, width] int32 item rows shifted by one, 0 is padding.
          items: columns of the item table.
          training: whether equal fields of items are mapped once, which costs a single request more than it saves.

        Returns:
          [distinct, dim], the first one that of padding, and [batch, width] int32, 0 is padding.
        """
        distinct, place, _ = tf.unique_with_counts(tf.concat([[0], tf.reshape(rows, [-1])], axis=0))
        fields = behaved_items(distinct, items, _ITEM_FIELDS)
        # All ids of items are distinct already.
        parts = [
            embedded(self.item_fields[name], fields[name], in_parts=training and name != transformed.ITEM_ROW)
            for name in _ITEM_FIELDS
        ]
        return map_parts(self.behaved_item, parts), tf.reshape(place[1:], tf.shape(rows))

    def _finish(self, vector: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(vector, axis=-1, epsilon=1e-12) if self.settings.unit_vectors else vector


def _attend(grains: tf.Tensor, rows: tf.Tensor, states: Callable[[tf.Tensor], tf.Tensor], training: bool) -> tf.Tensor:
    """Attends to the states of behavior lists.

    Most lists are empty or short, and side by side with long ones they cost as much as those: a training step reads
    lists of about one length together, and empty ones not at all.

    Args:
      grains: [batch, grains, dim].
      rows: [batch, width] int32, item rows shifted by one, 0 is padding.
      states: gives the states [some, steps, dim] of some of the lists, [some, steps] int32.
      training: whether the lists are those of a training step.

    Returns:
      [batch, grains, dim]; zero for an empty list.
    """
    if not training:
        held = trim(rows, shortest=1)
        return attend(grains, states(held), held > 0)
    lengths = tf.reduce_sum(tf.cast(rows > 0, tf.int32), axis=1)
    found = []
    for shortest, longest in itertools.pairwise((0, *_LIST_LENGTHS, rows.dtype.max)):
        some = tf.where((lengths > shortest) & (lengths <= longest))
        # A list of nothing beside them: of no list at all the LSTM's op leaves its gradient as it finds the memory.
        held = trim(tf.pad(tf.gather_nd(rows, some), [[0, 1], [0, 0]]), shortest=1)
        memory = attend(tf.gather_nd(grains, some), states(held)[:-1], held[:-1] > 0)
        found.append(tf.scatter_nd(some, memory, tf.shape(grains, out_type=tf.int64)))
    return tf.add_n(found)
