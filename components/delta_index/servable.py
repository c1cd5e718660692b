"""The SavedModel of a delta index: no towers, since the full index gives each query's vectors along with its answer."""

import os
from collections.abc import Sequence
from typing import Final

import numpy as np
import tensorflow as tf

from components.index_builder.catalog import EmbeddedCatalog
from components.index_builder.config import IndexConfig
from components.index_builder.filters import Conditions, ItemFilters, any_given, filter_spec
from components.index_builder.lexical.index import LexicalIndex, LexicalQuery
from components.index_builder.lexical.lexicon import Lexicon
from components.index_builder.lookup import place_table
from components.index_builder.relevance import RelevanceFilter, asked_for
from components.index_builder.retrieval import DENSE, Query, Retriever, kinds_asked_for
from components.index_builder.search_index import ExactIndex, choose, when
from components.index_builder.servable import TransformGraph, as_outputs, raw_search_spec
from schema import features, transformed
from schema.features import RelevanceControl
from trainer.artifact import TrainedModel
from trainer.input import SearchReader
from trainer.item_table import padded

_TEXTS: Final = tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64)


class DeltaServable(tf.Module):
    """Answers requests out of the changed items of a catalog, exactly.

    Args:
      model: whose towers have embedded the items.
      catalog: the changed items; None where there are none.
      lexicon: of them; None where there are none.
      config: of the full index.
      full_version: the version of the full index that this belongs to.
      left_out: ids of the full index's items that are superseded or removed.
      vocabulary_dir: where files are written until they are saved as assets.
    """

    def __init__(
        self,
        model: TrainedModel,
        catalog: EmbeddedCatalog | None,
        lexicon: Lexicon | None,
        config: IndexConfig,
        full_version: int,
        left_out: Sequence[bytes],
        vocabulary_dir: str,
    ):
        super().__init__()
        self._k = config.k
        self._full_version = str(full_version)
        self._left_out = tf.Variable(np.array([left_out], object), dtype=tf.string, trainable=False)
        self._heads, self._dim = model.config.heads, model.config.vector_dim
        self._ids: list[bytes] = []
        if catalog is not None and lexicon is not None:
            self._hold(model, catalog, lexicon, config, vocabulary_dir)
        self.retrieve_by_vectors = tf.function(
            self._retrieve,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None], tf.string, name=features.INPUT_EXAMPLES),
                tf.TensorSpec([None, self._heads, self._dim], tf.float32, name=features.INPUT_VECTORS),
            ],
        )

    def _hold(
        self, model: TrainedModel, catalog: EmbeddedCatalog, lexicon: Lexicon, config: IndexConfig, vocabulary_dir: str
    ) -> None:
        self._ids = catalog.table.item_ids.tolist()
        rows = np.arange(len(self._ids), dtype=np.int32)
        index = ExactIndex(catalog.vectors)
        self._filters = ItemFilters(index, catalog.attributes, config.exact_filter_up_to, vocabulary_dir)
        self._lexical = LexicalIndex(lexicon.postings, config.lexical, lexicon.fold_plurals)
        self._retriever = Retriever(
            index,
            self._filters,
            self._lexical,
            config.lexical.postings_per_term,
            lexicon.dense_weight,
            lexicon.longest_vector,
        )
        # What matches is compared with the full index's matches by the client, so one is enough.
        control = config.relevance_control.model_copy(update={"min_hits": 1})
        self._relevance = RelevanceFilter(model.understanding, catalog.table.columns, rows, control)
        self._understands = model.understanding is not None
        self._control_by_default = control.default
        self._retrieval_by_default = config.retrieval
        self._filter_spec = filter_spec(model.sizes.columns)
        self._transform = TransformGraph(model.transform)
        spec = raw_search_spec(tuple(model.sizes.profile))
        self._texts = tuple(name for name in spec if name not in features.BEHAVIOR_ITEM_FEATURES)
        self._reader = SearchReader(model.config, tuple(model.sizes.profile))
        self._indexed_ids = tf.Variable(np.array([*self._ids, b""], object), dtype=tf.string, trainable=False)
        self._position_of_id = place_table(self._ids, os.path.join(vocabulary_dir, "item_ids.txt"), -1)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name=features.INPUT_QUERY)])
    def delta(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        """Whatever is asked [batch], to `full_version` [batch], a number as text, and `left_out` [batch, ids]."""
        rows = tf.size(query)
        return {
            features.OUTPUT_FULL_VERSION: tf.fill([rows], self._full_version),
            features.OUTPUT_LEFT_OUT: tf.repeat(tf.convert_to_tensor(self._left_out), rows, axis=0),
        }

    def _retrieve(self, examples: tf.Tensor, vectors: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized search examples [batch] and their `vectors` to what `Servable.search` answers with."""
        if not self._ids:
            rows = tf.size(examples)
            nothing = tf.zeros([rows, 0], tf.int32), tf.zeros([rows, 0])
            return as_outputs(tf.constant([b""]), *nothing, tf.fill([rows], RelevanceControl.OFF), self._k)
        spec = {features.QUERY: _TEXTS, features.RELEVANCE_CONTROL: _TEXTS, features.RETRIEVAL: _TEXTS}
        raw = tf.io.parse_example(examples, {**spec, **self._filter_spec})
        wanted = asked_for(raw[features.RELEVANCE_CONTROL], self._control_by_default)
        kinds = kinds_asked_for(raw[features.RETRIEVAL], self._retrieval_by_default)
        texts = tf.strings.reduce_join(raw[features.QUERY], axis=1, separator=" ")
        lexical = when(
            tf.reduce_any(kinds != DENSE),
            lambda: self._lexical.understand(texts),
            lambda: self._lexical.nothing(tf.size(texts)),
        )
        query = Query(kinds, vectors, LexicalQuery(*lexical), ())
        units, bigrams = self._no_units(tf.size(texts))
        if self._understands:
            # Only relevance control reads the query by the transform graph.
            units, bigrams = when(
                tf.reduce_any(wanted),
                lambda: self._units(raw[features.QUERY]),
                lambda: (units, bigrams),
            )
        filtered = tf.cast(any_given(raw[name] for name in self._filter_spec), tf.int32)
        return choose(
            filtered,
            [
                lambda: self._answer(query, units, bigrams, wanted),
                lambda: self._answer(query._replace(conditions=self._conditions(raw)), units, bigrams, wanted),
            ],
        )

    def _conditions(self, raw: dict[str, tf.RaggedTensor]) -> Conditions:
        ids = raw[features.EXCLUDE_ITEMS]
        excluded = ids.with_values(tf.cast(self._position_of_id.lookup(ids.values), tf.int32))
        return self._filters.conditions(raw, tf.ragged.boolean_mask(excluded, excluded >= 0))

    def _units(self, queries: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Unigrams and bigrams of the queries, as relevance control reads them."""
        rows = queries.nrows()
        nothing = tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0], tf.string), tf.stack([rows, 0]))
        # The graph gives an output only where all that it depends on is fed.
        values = self._transform({**dict.fromkeys(self._texts, nothing), features.QUERY: queries.to_sparse()})
        widths = self._reader.query_widths()
        units, bigrams = (
            padded(values[name], widths[name]) for name in (transformed.QUERY_UNIGRAMS, transformed.QUERY_BIGRAMS)
        )
        return units, bigrams

    def _no_units(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        widths = self._reader.query_widths()
        return (
            tf.zeros([rows, widths[transformed.QUERY_UNIGRAMS]], tf.int32),
            tf.zeros([rows, widths[transformed.QUERY_BIGRAMS]], tf.int32),
        )

    def _answer(self, query: Query, units: tf.Tensor, bigrams: tf.Tensor, wanted: tf.Tensor) -> dict[str, tf.Tensor]:
        k = min(self._k, len(self._ids))
        positions, scores, done = self._relevance.retrieve(
            self._retriever.search(query, k),
            lambda requests, width: self._retriever.search(query.of(requests), width),
            units,
            bigrams,
            wanted,
            k,
        )
        return as_outputs(self._indexed_ids, positions, scores, done, self._k)

    def save(self, directory: str) -> None:
        """Writes the SavedModel with all signatures."""
        tf.saved_model.save(
            self,
            directory,
            signatures={
                features.SIGNATURE_BY_VECTORS: self.retrieve_by_vectors,
                features.SIGNATURE_DELTA: self.delta,
            },
        )
