"""The servable: query tower, item table and index in one SavedModel, so that they are never of different versions."""

import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from components.index_builder.attributes import ItemAttributes
from components.index_builder.config import IndexConfig
from components.index_builder.filters import Conditions, ItemFilters, filter_spec
from components.index_builder.lexical.index import LexicalIndex, LexicalQuery
from components.index_builder.lexical.lexicon import Lexicon
from components.index_builder.relevance import RelevanceFilter, asked_for
from components.index_builder.retrieval import DENSE, KINDS, LEXICAL, Query, Retriever, kinds_asked_for
from components.index_builder.search_index import SearchIndex
from schema import features, transformed
from trainer.artifact import TrainedModel
from trainer.input import SearchReader
from trainer.item_table import ItemReader, ItemTable
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


def _sparse_spec(spec: Mapping[str, tf.io.VarLenFeature]) -> dict[str, tf.SparseTensorSpec]:
    return {name: tf.SparseTensorSpec([None, None], feature.dtype) for name, feature in spec.items()}


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
        self._towers = model.towers
        self._transform = model.transform.transform_features_layer()
        self._reader = SearchReader(model.config, tuple(model.sizes.profile))
        self._item_reader = ItemReader(model.config, tuple(model.sizes.columns))
        self._heads, self._dim = model.config.heads, model.config.vector_dim
        self._search_spec = raw_search_spec(tuple(model.sizes.profile))
        self._option_spec = {
            features.RELEVANCE_CONTROL: tf.io.VarLenFeature(tf.string),
            features.RETRIEVAL: tf.io.VarLenFeature(tf.string),
            **filter_spec(model.sizes.columns),
        }
        self._catalog_spec = raw_catalog_spec(model.sizes.columns)
        self._columns = {
            name: tf.Variable(table.columns[name], trainable=False, name=name)
            for name in (*model.towers.behavior_columns, transformed.CLICKED_UNIGRAMS)
        }
        self._relevance = RelevanceFilter(model.understanding, table.columns, indexed_rows, config.relevance_control)
        self._indexed_ids = tf.Variable(
            np.append(table.item_ids[indexed_rows], b"").astype(object), dtype=tf.string, trainable=False
        )
        ids_file = os.path.join(vocabulary_dir, "item_ids.txt")
        with open(ids_file, "wb") as file:
            file.write(b"\n".join(table.item_ids) + b"\n")
        self._row_of_id = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                tf.saved_model.Asset(ids_file).asset_path,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            default_value=table.size,
        )

        # Traced once and called by three signatures; inlined in each it would be most of the graph, three times.
        # Without AutoGraph: nothing here branches on tensors in Python, and translating all of it takes longest.
        signature = [_sparse_spec(self._search_spec), tf.TensorSpec([], tf.bool)]
        self._encode = tf.function(self._encode_raw, autograph=False, input_signature=signature)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=features.INPUT_EXAMPLES)])
    def encode_query(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized search examples [batch] to `vectors` [batch, heads, dim]."""
        vectors, _, _ = self._encode(tf.io.parse_example(examples, self._search_spec), tf.constant(True))
        return {features.OUTPUT_VECTORS: vectors}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=features.INPUT_EXAMPLES)])
    def encode_items(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized catalog examples [batch] to `vectors` [batch, dim]."""
        raw = tf.io.parse_example(examples, self._catalog_spec)
        columns = self._item_reader.item_columns(self._transform(raw))
        ids = tf.strings.reduce_join(tf.RaggedTensor.from_sparse(raw[features.ITEM_ID]), axis=1)
        rows = self._row_of_id.lookup(ids)
        columns[transformed.CLICKED_UNIGRAMS] = tf.gather(self._columns[transformed.CLICKED_UNIGRAMS], rows)
        return {features.OUTPUT_VECTORS: self._towers.encode_items(columns)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=features.INPUT_EXAMPLES)])
    def search(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized search examples [batch] to `item_ids` and `scores` [batch, k], and `relevance_control` [batch]."""
        raw = tf.io.parse_example(examples, {**self._search_spec, **self._option_spec})
        options = {name: raw.pop(name) for name in self._option_spec}
        wanted = asked_for(options[features.RELEVANCE_CONTROL], self._control_by_default)
        kinds = kinds_asked_for(options[features.RETRIEVAL], self._retrieval_by_default)
        return self._retrieve(raw, kinds, wanted, self._conditions(options))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=features.INPUT_QUERY)])
    def search_text(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        """Queries [batch] of nobody in particular to the same as `search`."""
        rows = tf.shape(query, out_type=tf.int64)[0]
        absent = tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0], tf.string), tf.stack([rows, 0]))
        raw = dict.fromkeys(self._search_spec, absent)
        raw[features.QUERY] = tf.RaggedTensor.from_row_lengths(query, tf.ones_like(query, tf.int64)).to_sparse()
        kinds = tf.fill(tf.shape(query), KINDS.index(self._retrieval_by_default))
        return self._retrieve(raw, kinds, tf.fill(tf.shape(query), self._control_by_default))

    def _encode_raw(
        self, raw: Mapping[str, tf.SparseTensor], wanted: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Vectors of requests [batch, heads, dim], zeros if not wanted, and the query's unigrams and bigrams."""
        values = dict(self._transform(dict(raw)))
        # The transform graph knows the items of its training day; the served table may be newer.
        for name in features.BEHAVIOR_ITEM_FEATURES:
            ids = tf.RaggedTensor.from_sparse(raw[name])
            values[name] = ids.with_values(self._row_of_id.lookup(ids.values))
        query = self._reader.query_batch(values)
        units, bigrams = query[transformed.QUERY_UNIGRAMS], query[transformed.QUERY_BIGRAMS]
        vectors = tf.cond(
            wanted,
            lambda: self._towers.encode_query(query, self._columns),
            lambda: tf.zeros([tf.shape(units)[0], self._heads, self._dim]),
        )
        return vectors, units, bigrams

    def _conditions(self, options: Mapping[str, tf.SparseTensor]) -> Conditions:
        ids = tf.RaggedTensor.from_sparse(options[features.EXCLUDE_ITEMS])
        excluded = ids.with_values(tf.gather(self._position_of_row, self._row_of_id.lookup(ids.values)))
        return self._filters.conditions(options, tf.ragged.boolean_mask(excluded, excluded >= 0))

    def _retrieve(
        self,
        raw: Mapping[str, tf.SparseTensor],
        kinds: tf.Tensor,
        wanted: tf.Tensor,
        conditions: Conditions | tuple[()] = (),
    ) -> dict[str, tf.Tensor]:
        vectors, units, bigrams = self._encode(raw, tf.reduce_any(kinds != LEXICAL))
        texts = tf.strings.reduce_join(tf.RaggedTensor.from_sparse(raw[features.QUERY]), axis=1, separator=" ")
        lexical = tf.cond(
            tf.reduce_any(kinds != DENSE),
            lambda: self._lexical.understand(texts),
            lambda: self._lexical.nothing(tf.shape(texts)[0]),
        )
        query = Query(kinds, vectors, LexicalQuery(*lexical), conditions)

        def search(requests: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
            return self._retriever.search(query.of(requests), k)

        k = min(self._k, self._indexed)
        positions, scores, done = self._relevance.retrieve(search, units, bigrams, wanted, k)
        missing = [[0, 0], [0, self._k - k]]
        positions = tf.pad(positions, missing, constant_values=-1)
        scores = tf.pad(scores, missing, constant_values=float("-inf"))
        ids = tf.gather(self._indexed_ids, tf.where(positions < 0, self._indexed, positions))
        return {
            features.OUTPUT_ITEM_IDS: ids,
            features.OUTPUT_SCORES: scores,
            features.OUTPUT_RELEVANCE_CONTROL: done,
        }

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
