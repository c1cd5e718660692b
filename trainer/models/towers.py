"""What every model offers: two towers over shared input embeddings."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf
import tf_keras as keras

from schema import features, transformed
from trainer import item_table
from trainer.config import SEGMENT_MODELS, TrainerConfig
from trainer.layers.embedding import EncodedWords, PaddedEmbedding, embed_lists, trim
from trainer.layers.lexical import Bag, LexicalSkip
from trainer.layers.projection import Part, Projection, Repeated, present_rows
from trainer.layers.shared_tables import IdList, SharedTables
from trainer.models.input_sizes import InputSizes

Tensors = Mapping[str, tf.Tensor]

# A column of items of its own: their fields as rows of the shared tables (`Towers.share_tables`).
PACKED: Final = "packed"
# Id spaces of terms.
TOKENS: Final = "tokens"
SUBWORDS: Final = "subwords"
# What a text column, and the queries that led to an item, count beside the title before training.
_TEXT_COLUMN_WEIGHT = 0.3
_CLICKED_WEIGHT = 0.5
_KERAS_LISTS = frozenset({"_self_tracked_trackables", "_trainable_weights", "_non_trainable_weights"})


class Towers(keras.layers.Layer):
    """A query tower and an item tower over one set of input embeddings.

    Vectors have unit length, so that an inner product is a cosine. Those of a text encoder, where there is one, follow
    in dimensions of their own. The loss does not see them unless they are trained: towers that may rely on them learn
    less of the words that the encoder does not know.
    """

    def __init__(self, config: TrainerConfig, sizes: InputSizes, **kwargs: Any):
        super().__init__(**kwargs)
        self.settings = config
        self.sizes = sizes
        # Unigrams, bigrams and phrases have one matrix, their ids following each other in this order.
        tokens = sizes.unigrams + sizes.bigrams + (sizes.phrases if config.model in SEGMENT_MODELS else 0)
        self.tokens = PaddedEmbedding(tokens, config.embedding_dim, name="tokens")
        self.subwords = PaddedEmbedding(transformed.SUBWORD_BUCKETS, config.embedding_dim, name="subwords")
        self.item_fields = {
            name: PaddedEmbedding(size, config.embedding_dim, name=name) for name, size in sizes.categories.items()
        }

        self._shared: SharedTables | None = None
        # Where a model starts from the words themselves; see `LexicalSkip`.
        self.lexical: LexicalSkip | None = None
        if config.lexical_skip and config.model != "two_tower":
            spaces = {TOKENS: tokens, SUBWORDS: transformed.SUBWORD_BUCKETS}
            weights = {transformed.CLICKED_UNIGRAMS: _CLICKED_WEIGHT, **dict.fromkeys(sizes.texts, _TEXT_COLUMN_WEIGHT)}
            self.lexical = LexicalSkip(spaces, weights, config.dim, name="lexical")

        encoder = config.text_encoder
        self.encoded: EncodedWords | None = None
        if encoder.folder:
            self.encoded = EncodedWords(
                sizes.unigrams, encoder.dim, encoder.share, trainable=encoder.trainable, name="encoded"
            )

    def encode_query(self, query: Tensors, items: Tensors, training: bool = False) -> tf.Tensor:
        """Vectors of search requests.

        Args:
          query: the query tower's input, [batch, width] int32 by feature (`SearchReader.query_batch`). Behavior lists
            hold item rows shifted by one.
          items: columns of the item table, from which behavior is joined.
          training: whether dropout is on.

        Returns:
          [batch, heads, `config.vector_dim`]; in training without what is not trained, [batch, heads, dim].
        """
        heads = self.query_vectors(query, items, training)
        if self.encoded is None or (training and not self.encoded.trainable):
            return heads
        encoded = self.encoded(query[transformed.QUERY_UNIGRAMS])[:, tf.newaxis]
        return tf.concat([heads, tf.repeat(encoded, heads.shape[1], axis=1)], axis=-1)

    def encode_items(self, item: Tensors, training: bool = False) -> tf.Tensor:
        """Vectors of items.

        Args:
          item: features of the items (`item_table.gather`), [items] or [items, width] int32 by feature.
          training: whether dropout is on.

        Returns:
          [items, `config.vector_dim`]; in training without what is not trained, [items, dim].
        """
        vectors = self.item_vectors(item, training)
        if self.encoded is None or (training and not self.encoded.trainable):
            return vectors
        words = tf.concat([item[transformed.TITLE_UNIGRAMS], item[transformed.ATTRIBUTE_UNIGRAMS]], axis=1)
        return tf.concat([vectors, self.encoded(words)], axis=-1)

    @abstractmethod
    def query_vectors(self, query: Tensors, items: Tensors, training: bool) -> tf.Tensor:
        """What the query tower learns, [batch, heads, dim]; for the rest see `encode_query`."""

    @abstractmethod
    def item_vectors(self, item: Tensors, training: bool) -> tf.Tensor:
        """What the item tower learns, [items, dim]; for the rest see `encode_items`."""

    @abstractmethod
    def training_score(self, scores: tf.Tensor) -> tf.Tensor:
        """What the loss sees of the heads' inner products: [batch, heads, ...] to [batch, ...]."""

    @property
    def behavior_columns(self) -> tuple[str, ...]:
        """Which columns of the item table `encode_query` reads."""
        return tuple(self.sizes.categories)

    def variables_by_path(self) -> dict[str, tf.Variable]:
        """Every weight by the attributes that lead to it, as in `heads/0/_last/kernel`.

        The same part has the same path in every model that has it.
        """
        found = self._flatten(with_path=True, predicate=lambda value: isinstance(value, tf.Variable))
        weights = {id(weight) for weight in self.weights}
        # Keras also lists everything under attributes of its own.
        return {
            "/".join(map(str, path)): variable
            for path, variable in found
            if id(variable) in weights and not _KERAS_LISTS.intersection(path)
        }

    def share_tables(self) -> None:
        """Puts the tables of all embeddings of ids into one, for serving: a request then runs a fraction of the ops.

        Nothing can be trained or saved as a checkpoint after.
        """
        if self._shared is not None:
            return
        embeddings = [part for part in self.submodules if isinstance(part, PaddedEmbedding)]
        embeddings = [part for part in embeddings if part.built and part.dim == self.settings.embedding_dim]
        embeddings.sort(key=lambda part: part.name)
        weights = {}
        if self.lexical is not None:
            of_space = ((self.tokens, TOKENS), (self.subwords, SUBWORDS))
            weights = {embeddings.index(part): self.lexical.weights(space) for part, space in of_space}
        shared = SharedTables(embeddings, weights)
        # Not a part of the layer, whose weights are trained.
        object.__setattr__(self, "_shared", shared)

    @property
    def served_variables(self) -> list[tf.Variable]:
        """All that the towers read once their tables are shared."""
        assert self._shared is not None
        return [*self._shared.variables_read, *self.weights]

    def served_columns(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What `encode_query` reads of the item table once the tables are shared."""
        assert self._shared is not None
        names = tuple(self.sizes.categories)
        fields = self._shared.pack([columns[name] for name in names], [self.item_fields[name] for name in names])
        return {PACKED: fields}

    def read(
        self, lists: Sequence[IdList], query: Tensors, items: Tensors, behavior: bool, in_parts: bool = False
    ) -> tuple[list[Part], list[Part], tf.Tensor | None]:
        """Means of lists and of behavior, and the lexical vector of those lists that take part in the match.

        Args:
          lists: of ids.
          query: the query tower's input.
          items: columns of the item table.
          behavior: whether behavior is read.
          in_parts: whether the means are read by `Projection` alone, which maps equal rows once; for training.

        Returns:
          [batch, dim] for each of `lists`; what there is of behavior, parts of [batch, lists * dim]; [batch, dim] or
          None.
        """
        if self._shared is None or (behavior and PACKED not in items):
            means: list[Part] = []
            bags = []
            for one in lists:
                ids = one.ids
                if one.space is None and ids.shape[1] == 1:
                    means.append(embedded(one.embedding, ids[:, 0], in_parts))
                    continue
                terms = one.embedding.lists(ids)
                means.append(terms.mean())
                if one.space is not None:
                    bags.append(Bag(terms, one.space))
            skip = self.lexical(bags) if self.lexical else None
            behaved = self.behavior(query, items) if behavior else None
            if behaved is None:
                return means, [], skip
            by_list = tf.unstack(behaved, axis=1)
            return means, [present_rows(one) for one in by_list] if in_parts else [tf.concat(by_list, axis=-1)], skip
        rows = [query[name] for name in features.BEHAVIOR_ITEM_FEATURES] if behavior else []
        sums = self._shared.read(lists, rows, items.get(PACKED))
        means = list(tf.unstack(sums.means[:, : len(lists)], axis=1))
        found: list[Part] = []
        if behavior:
            found = [tf.reshape(sums.means[:, len(lists) :], [-1, len(rows) * self.settings.embedding_dim])]
        if self.lexical is None:
            return means, found, None
        assert sums.weighted is not None
        taking_part = tf.constant([[[float(one.space is not None)] for one in lists] + [[0.0]] * len(rows)])
        return means, found, self.lexical.of_sum(tf.reduce_sum(sums.weighted * taking_part, axis=1))

    def query_lists(self, query: Tensors) -> list[IdList]:
        """A query's words, which are unigrams and bigrams, and subwords."""
        words = (query[transformed.QUERY_UNIGRAMS], 0), (query[transformed.QUERY_BIGRAMS], self.sizes.unigrams)
        return [
            IdList(self.tokens, words, TOKENS),
            IdList(self.subwords, ((query[transformed.QUERY_SUBWORDS], 0),), SUBWORDS),
        ]

    def query_tokens(self, query: Tensors) -> tf.Tensor:
        """Token ids of a query's unigrams and bigrams, [batch, tokens]."""
        # Not trimmed: for the few rows of a request that takes longer than it saves.
        return tf.concat(
            [query[transformed.QUERY_UNIGRAMS], self.bigram_tokens(query[transformed.QUERY_BIGRAMS])], axis=1
        )

    def title_tokens(self, item: Tensors) -> tf.Tensor:
        """Token ids of a title's unigrams and bigrams, [items, tokens]."""
        unigrams, bigrams = trim(item[transformed.TITLE_UNIGRAMS]), trim(item[transformed.TITLE_BIGRAMS])
        return tf.concat([unigrams, self.bigram_tokens(bigrams)], axis=1)

    def bigram_tokens(self, bigrams: tf.Tensor) -> tf.Tensor:
        """Token ids of bigrams, [batch, bigrams]."""
        return tf.where(bigrams > 0, bigrams + self.sizes.unigrams, 0)

    def segment_tokens(self, segments: tf.Tensor) -> tf.Tensor:
        """Token ids of segments, [batch, segments]: a segment of one unit is that unigram."""
        # For the few rows of a request trimming takes longer than it saves.
        segments = trim(segments, shortest=1) if self._shared is None else segments
        return tf.where(segments > self.sizes.unigrams, segments + self.sizes.bigrams, segments)

    def fields(self, item: Tensors) -> list[tf.Tensor]:
        """Embeddings of an item's one-valued features, brand and price bucket among them, [..., embedding_dim] each."""
        return [self.item_fields[name](item[name]) for name in self.sizes.categories]

    def query_bags(self, query: Tensors) -> list[Bag]:
        """A query's words and subwords."""
        subwords = self.subwords.lists(query[transformed.QUERY_SUBWORDS])
        return [self._words(self.query_tokens(query)), Bag(subwords, SUBWORDS)]

    def item_bags(self, item: Tensors) -> list[Bag]:
        """An item's words and subwords: title, words of brand and categories, n-grams of the title, words of the
        queries that led to it, text columns.
        """
        return [
            self._words(self.title_tokens(item)),
            self._words(trim(item[transformed.ATTRIBUTE_UNIGRAMS])),
            Bag(self.subwords.lists(trim(item[transformed.TITLE_SUBWORDS])), SUBWORDS),
            self._words(item[transformed.CLICKED_UNIGRAMS], transformed.CLICKED_UNIGRAMS),
            *(self._words(trim(item[name]), name) for name in self.sizes.texts),
        ]

    def _words(self, ids: tf.Tensor, field: str | None = None) -> Bag:
        return Bag(self.tokens.lists(ids), TOKENS, field)

    def field_item_vector(self, item: Tensors, projection: Projection, training: bool) -> tf.Tensor:
        """DPSR's item tower: means of the texts' embeddings and fields, concatenated and projected.

        Args:
          item: features of the items.
          projection: the tower's layers.
          training: whether dropout is on.

        Returns:
          [items, dim].
        """
        bags = self.item_bags(item)
        texts = [present_rows(bag.terms.mean()) if training and bag.field else bag.terms.mean() for bag in bags]
        fields = [embedded(self.item_fields[name], item[name], training) for name in self.sizes.categories]
        return projection([*texts, *fields], skip=self.lexical(bags) if self.lexical else None, training=training)

    def behavior(self, query: Tensors, items: Tensors) -> tf.Tensor:
        """Means over each behavior list of the items' embeddings, each the sum of its fields' embeddings.

        Args:
          query: the query tower's input.
          items: columns of the item table.

        Returns:
          [batch, lists, embedding_dim].
        """
        lists = [query[name] for name in features.BEHAVIOR_ITEM_FEATURES]
        width = max(rows.shape[1] for rows in lists)
        # All lists at once, for an item is in several of them, and one list is hardly less work than five.
        rows = tf.stack([tf.pad(rows, [[0, 0], [0, width - rows.shape[1]]]) for rows in lists], axis=1)
        columns = {name: items[name] for name in self.sizes.categories}

        def embed(rows: tf.Tensor) -> tf.Tensor:
            return tf.add_n(self.fields(item_table.gather(columns, rows - 1)))

        means = embed_lists(tf.reshape(rows, [-1, width]), embed).mean()
        return tf.reshape(means, [-1, len(lists), self.settings.embedding_dim])


def embedded(embedding: PaddedEmbedding, ids: tf.Tensor, in_parts: bool) -> Part:
    """Embeddings of one id each: [batch] int32 to [batch, dim]."""
    if not in_parts:
        return embedding(ids)
    # Counted for the reason that `embed_lists` gives.
    distinct, place, _ = tf.unique_with_counts(ids)
    return Repeated(embedding(distinct), place)


def behaved_items(rows: tf.Tensor, items: Tensors, names: Sequence[str]) -> dict[str, tf.Tensor]:
    """One-valued features of the items of a behavior list, 0 where it is padded.

    Args:
      rows: [...] int32 item rows shifted by one, 0 is padding.
      items: columns of the item table.
      names: which columns.

    Returns:
      [...] int32 by name.
    """
    present = tf.cast(rows > 0, tf.int32)
    behaved = item_table.gather({name: items[name] for name in names}, tf.maximum(rows - 1, 0))
    return {name: ids * present for name, ids in behaved.items()}
