"""The servable: query tower, item table and index in one SavedModel, so that they are never of different versions."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.index_builder.attributes import ItemAttributes
from components.index_builder.config import IndexConfig
from components.index_builder.filters import Conditions, ItemFilters, any_given, filter_spec
from components.index_builder.lexical.index import LexicalIndex, LexicalQuery
from components.index_builder.lexical.lexicon import Lexicon
from components.index_builder.lookup import place_table
from components.index_builder.relevance import RelevanceFilter, asked_for
from components.index_builder.retrieval import DENSE, KINDS, LEXICAL, Query, Retriever, kinds_asked_for
from components.index_builder.search_index import SearchIndex, choose, once, when
from schema import features, transformed
from schema.features import RelevanceControl
from trainer.artifact import TrainedModel
from trainer.input import Batch, SearchReader
from trainer.item_table import ItemReader, ItemTable, stacked
from trainer.raw_catalog import raw_catalog_spec

# ScaNN's ops are outside TensorFlow's own registry; a SavedModel that holds them must be told so.
SAVE_OPTIONS = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])


def raw_search_spec(profile_features: tuple[str, ...]) -> dict[str, tf.io.VarLenFeature]:
    """Parsing spec of what a model reads of a request: any subset of the search features."""
    names = (
        features.QUERY,
        features.HISTORY_QUERIES,
        *features.BEHAVIOR_ITEM_FEATURES,
        *profile_features,
    )
    return {name: tf.io.VarLenFeature(tf.string) for name in names}


_TEXTS = tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64)


class TransformGraph(tf.Module):
    """The transform graph as a function of raw features.

    It holds what its Keras layer calls and reads, and not the layer, which Keras would trace and save three times over.
    """

    def __init__(self, transform: tft.TFTransformOutput):
        super().__init__()
        layer = transform.transform_features_layer()
        self._call: Callable[[Mapping[str, Any]], dict[str, Any]] = layer.call
        self._state = layer._saved_model_loader_tracked_dict

    def __call__(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Features by name; an output is given only where all that it depends on is fed."""
        return self._call(raw)


class _Encoder(NamedTuple):
    """The towers as functions: as a layer, Keras would trace and save each of their parts again."""

    query: Callable[[Batch, Mapping[str, tf.Tensor]], tf.Tensor]
    items: Callable[[Mapping[str, tf.Tensor]], tf.Tensor]


class _Request(NamedTuple):
    """A batch of requests, understood: vectors [batch, heads, dim], terms, unigrams and bigrams [batch, width]."""

    vectors: tf.Tensor
    lexical: LexicalQuery
    units: tf.Tensor
    pairs: tf.Tensor


def _texts(raw: Mapping[str, tf.SparseTensor]) -> tf.Tensor:
    """The text of each request, [batch] string."""
    texts = raw[features.QUERY]
    return tf.strings.unsorted_segment_join(texts.values, texts.indices[:, 0], texts.dense_shape[0], " ")


def as_outputs(
    indexed_ids: tf.Tensor | tf.Variable, positions: tf.Tensor, scores: tf.Tensor, done: tf.Tensor, k: int
) -> dict[str, tf.Tensor]:
    """Hits as a signature answers with them: `item_ids` and `scores` [batch, k], and `relevance_control` [batch].

    Args:
      indexed_ids: [indexed + 1] string; the last is "".
      positions: [batch, hits] int32, at most k hits, -1 for none.
      scores: [batch, hits] float32.
      done: [batch] string, what relevance control did.
      k: places of an answer.
    """
    last = indexed_ids.shape[0] - 1
    missing = k - min(k, last)
    if missing:
        positions = tf.pad(positions, [[0, 0], [0, missing]], constant_values=-1)
        scores = tf.pad(scores, [[0, 0], [0, missing]], constant_values=float("-inf"))
    return {
        features.OUTPUT_ITEM_IDS: tf.gather(indexed_ids, tf.where(positions < 0, last, positions)),
        features.OUTPUT_SCORES: scores,
        features.OUTPUT_RELEVANCE_CONTROL: done,
    }


class Servable(tf.Module):
    """What TF Serving loads.

    Args:
      model: the trained towers and their transform graph.
      table: the catalog that is served; may be newer than the one that the model was trained with.
      index: over the vectors of `indexed_rows`.
      indexed_rows: [indexed] int32, table rows by index position.
      attributes: what the indexed items can be filtered by, by index position.
      lexicon: finds the indexed items by their words, by index position.
      config: hits per request, and how relevance control goes about it.
      vocabulary_dir: where the file of item ids is written until it is saved as an asset.
    """

    def __init__(
        self,
        model: TrainedModel,
        table: ItemTable,
        index: SearchIndex,
        indexed_rows: np.ndarray,
        attributes: ItemAttributes,
        lexicon: Lexicon,
        config: IndexConfig,
        vocabulary_dir: str,
    ):
        super().__init__()
        self._k = config.k
        self._control_by_default = config.relevance_control.default
        self._indexed = len(indexed_rows)
        self._retrieval_by_default = config.retrieval
        self._filters = ItemFilters(index, attributes, config.exact_filter_up_to, vocabulary_dir)
        self._lexical = LexicalIndex(lexicon.postings, config.lexical, lexicon.fold_plurals)
        self._retriever = Retriever(
            index,
            self._filters,
            self._lexical,
            config.lexical.postings_per_term,
            lexicon.dense_weight,
            lexicon.longest_vector,
        )
        positions = np.full(table.size + 1, -1, np.int32)
        positions[indexed_rows] = np.arange(len(indexed_rows))
        self._position_of_row = tf.Variable(positions, trainable=False)
        model.towers.share_tables()
        self._weights = model.towers.served_variables
        self._encoder = _Encoder(model.towers.encode_query, model.towers.encode_items)
        self._transform = TransformGraph(model.transform)
        self._reader = SearchReader(model.config, tuple(model.sizes.profile))
        self._item_reader = ItemReader(model.config, tuple(model.sizes.columns))
        self._heads, self._dim = model.config.heads, model.config.vector_dim
        # Behavior is looked up here and not by the transform graph, which knows the items of its training day: the
        # served table may be newer.
        self._search_spec = raw_search_spec(tuple(model.sizes.profile))
        self._filter_spec = filter_spec(model.sizes.columns)
        self._option_spec = {features.RELEVANCE_CONTROL: _TEXTS, features.RETRIEVAL: _TEXTS, **self._filter_spec}
        self._catalog_spec = raw_catalog_spec(model.sizes.columns)
        self._columns = {
            name: tf.Variable(column, trainable=False, name=name)
            for name, column in model.towers.served_columns(table.columns).items()
        }
        clicked = transformed.CLICKED_UNIGRAMS
        self._clicked = tf.Variable(table.columns[clicked], trainable=False, name=clicked)
        self._relevance = RelevanceFilter(model.understanding, table.columns, indexed_rows, config.relevance_control)
        self._indexed_ids = tf.Variable(
            np.append(table.item_ids[indexed_rows], b"").astype(object), dtype=tf.string, trainable=False
        )
        self._row_of_id = place_table(table.item_ids, os.path.join(vocabulary_dir, "item_ids.txt"), table.size)

        # Traced once and called by several signatures. Without AutoGraph: nothing here branches on tensors in Python,
        # and translating all of it takes longest.
        raw = dict.fromkeys(self._search_spec, tf.SparseTensorSpec([None, None], tf.string))
        self._read = tf.function(self._query_batch, autograph=False, input_signature=[raw])
        batch = {name: tf.TensorSpec([None, width], tf.int32) for name, width in self._reader.query_widths().items()}
        self._encode = tf.function(
            lambda query: self._encoder.query(query, self._columns), autograph=False, input_signature=[batch]
        )
        self._understand = once(self._lexical.understand, [tf.TensorSpec([None], tf.string)])
        vectors = tf.TensorSpec([None, self._heads, self._dim])
        terms = (tf.TensorSpec([None, config.lexical.query_terms], dtype) for dtype in (tf.int32, tf.float32))
        asked = [vectors, LexicalQuery(*terms)]
        self._answers_alike = [once(partial(self._answer_alike, kind), asked) for kind in range(len(KINDS))]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=features.INPUT_EXAMPLES)])
    def encode_query(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized search examples [batch] to `vectors` [batch, heads, dim]."""
        return {features.OUTPUT_VECTORS: self._encode(self._read(tf.io.parse_example(examples, self._search_spec)))}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=features.INPUT_EXAMPLES)])
    def encode_items(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized catalog examples [batch] to `vectors` [batch, dim]."""
        raw = tf.io.parse_example(examples, self._catalog_spec)
        columns = self._item_reader.item_columns(self._transform(raw))
        ids = tf.strings.reduce_join(tf.RaggedTensor.from_sparse(raw[features.ITEM_ID]), axis=1)
        rows = self._row_of_id.lookup(ids)
        columns[transformed.CLICKED_UNIGRAMS] = tf.gather(self._clicked, rows)
        return {features.OUTPUT_VECTORS: self._encoder.items(columns)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=features.INPUT_EXAMPLES)])
    def search(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized search examples [batch] to `item_ids` and `scores` [batch, k], and `relevance_control` [batch].

        And to `vectors` [batch, heads, dim], by which a client asks the delta index; of no use where all are lexical.
        """
        raw = tf.io.parse_example(examples, {**self._search_spec, **self._option_spec})
        wanted = asked_for(raw[features.RELEVANCE_CONTROL], self._control_by_default) & self._relevance.available
        kinds = kinds_asked_for(raw[features.RETRIEVAL], self._retrieval_by_default)
        filtered = any_given(raw[name] for name in self._filter_spec)
        request = self._understood({name: raw[name] for name in self._search_spec}, kinds, wanted)
        # Those alike that have no filter and ask for nothing else than a kind of retrieval.
        kind = tf.minimum(tf.reduce_min(kinds), len(KINDS) - 1)
        alike = ~filtered & ~tf.reduce_any(wanted) & tf.reduce_all(kinds == kind)
        answer = choose(
            tf.where(alike, kind, len(KINDS)),
            [
                *(lambda answer=answer: answer(request.vectors, request.lexical) for answer in self._answers_alike),
                # Parses once more what few requests bring: each tensor that a branch takes is an op of every request.
                lambda: self._answer_any(request, kinds, wanted, filtered, examples),
            ],
        )
        return {**answer, features.OUTPUT_VECTORS: request.vectors}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=features.INPUT_QUERY)])
    def search_text(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        """Queries [batch] of nobody in particular to the same as `search`."""
        rows = tf.shape(query, out_type=tf.int64)[0]
        nothing = tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0], tf.string), tf.stack([rows, 0]))
        raw = dict.fromkeys(self._search_spec, nothing)
        places = tf.stack([tf.range(rows), tf.zeros([rows], tf.int64)], axis=1)
        raw[features.QUERY] = tf.SparseTensor(places, query, tf.stack([rows, 1]))
        kind = KINDS.index(self._retrieval_by_default)
        if self._control_by_default and self._relevance.available:
            kinds, wanted, never = tf.fill(tf.shape(query), kind), tf.fill(tf.shape(query), True), tf.constant(False)
            return self._answer_any(self._understood(raw, kinds, wanted), kinds, wanted, never, tf.fill([rows], ""))
        # Nothing is spent on what the kind does not read.
        nobody = tf.zeros(tf.stack([rows, self._heads, self._dim]))
        vectors = nobody if kind == LEXICAL else self._encode(self._read(raw))
        lexical = self._lexical.nothing(tf.size(query)) if kind == DENSE else self._understand(query)
        return self._answers_alike[kind](vectors, lexical)

    def _query_batch(self, raw: Mapping[str, tf.SparseTensor]) -> Batch:
        """The query tower's input."""
        lists = [raw[name] for name in features.BEHAVIOR_ITEM_FEATURES]
        values = self._transform(
            {name: value for name, value in raw.items() if name not in features.BEHAVIOR_ITEM_FEATURES}
        )
        # One look-up for all lists.
        ids = stacked(lists, [raw[features.QUERY].dense_shape[0]] * len(lists))
        rows = tf.SparseTensor(ids.indices, self._row_of_id.lookup(ids.values), ids.dense_shape)
        return self._reader.request_batch(values, rows)

    def _understood(self, raw: Mapping[str, tf.SparseTensor], kinds: tf.Tensor, wanted: tf.Tensor) -> _Request:
        """Requests as they are searched; nothing is spent on vectors, or on words, where none of them asks for it."""
        texts = _texts(raw)
        requests = tf.size(texts)

        def encoded() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            batch = self._read(raw)
            return self._encode(batch), batch[transformed.QUERY_UNIGRAMS], batch[transformed.QUERY_BIGRAMS]

        def nothing() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            units, pairs = (
                tf.zeros(tf.stack([requests, self._reader.query_widths()[name]]), tf.int32)
                for name in (transformed.QUERY_UNIGRAMS, transformed.QUERY_BIGRAMS)
            )
            return tf.zeros(tf.stack([requests, self._heads, self._dim])), units, pairs

        # Inlined, for it has many weights, each of which a call would take by two ops.
        vectors, units, pairs = tf.cond(tf.reduce_any((kinds != LEXICAL) | wanted), encoded, nothing)
        lexical = when(
            tf.reduce_any(kinds != DENSE),
            lambda: self._understand(texts),
            lambda: self._lexical.nothing(requests),
        )
        return _Request(vectors, LexicalQuery(*lexical), units, pairs)

    def _answer_alike(self, kind: int, vectors: tf.Tensor, lexical: LexicalQuery) -> dict[str, tf.Tensor]:
        """Answers requests that have no filter and ask for the same kind of retrieval, and for nothing else."""
        positions, scores = self._retriever.search_alike(kind, vectors, lexical, min(self._k, self._indexed))
        return self._answer(positions, scores, tf.fill(tf.shape(vectors)[:1], RelevanceControl.OFF))

    def _answer_any(
        self, request: _Request, kinds: tf.Tensor, wanted: tf.Tensor, filtered: tf.Tensor, examples: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Answers requests that may differ in what they ask for."""
        k, requests = min(self._k, self._indexed), tf.size(kinds)
        conditions = when(
            filtered,
            lambda: self._conditions(examples),
            lambda: self._filters.no_conditions(requests),
        )
        query = Query(kinds, request.vectors, request.lexical, conditions)
        find = once(self._retriever.search)

        def search(query: Query, width: int) -> tuple[tf.Tensor, tf.Tensor]:
            positions, scores = find(query, tf.constant(width))
            return tf.ensure_shape(positions, [None, width]), tf.ensure_shape(scores, [None, width])

        return self._answer(
            *self._relevance.retrieve(
                search(query, k),
                lambda some, width: search(query.of(some), width),
                request.units,
                request.pairs,
                wanted,
                k,
            )
        )

    def _conditions(self, examples: tf.Tensor) -> Conditions:
        options = tf.io.parse_example(examples, self._filter_spec)
        ids = options[features.EXCLUDE_ITEMS]
        excluded = ids.with_values(tf.gather(self._position_of_row, self._row_of_id.lookup(ids.values)))
        return self._filters.conditions(options, tf.ragged.boolean_mask(excluded, excluded >= 0))

    def _answer(self, positions: tf.Tensor, scores: tf.Tensor, done: tf.Tensor) -> dict[str, tf.Tensor]:
        return as_outputs(self._indexed_ids, positions, scores, done, self._k)

    def save(self, directory: str) -> None:
        """Writes the SavedModel with all signatures."""
        tf.saved_model.save(
            self,
            directory,
            signatures={
                features.SIGNATURE_DEFAULT: self.search,
                features.SIGNATURE_QUERY_TEXT: self.search_text,
                features.SIGNATURE_ENCODE_QUERY: self.encode_query,
                features.SIGNATURE_ENCODE_ITEMS: self.encode_items,
            },
            options=SAVE_OPTIONS,
        )
