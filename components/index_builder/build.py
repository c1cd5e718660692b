"""Builds a servable: embed the catalog, choose the index, put all into one SavedModel."""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeAlias

import apache_beam as beam
import numpy as np
import polars as pl
import tensorflow as tf
from absl import logging

from components.index_builder.catalog import EmbeddedCatalog, SharedModel, embed_catalog, read_parts, rows_to_index
from components.index_builder.config import IndexConfig
from components.index_builder.delta_basis import basis_of
from components.index_builder.lexical.clicked_queries import clicked_queries, read_clicks
from components.index_builder.lexical.index import LexicalIndex
from components.index_builder.lexical.lexicon import Lexicon, MeasuredWeight, fields_of
from components.index_builder.lexical.postings import Postings, build_postings
from components.index_builder.lexical.terms import folds_plurals
from components.index_builder.lexical.weight import (
    DEFAULT_DENSE_WEIGHT,
    FEWEST_REQUESTS,
    best_weight,
    measure_weights,
    read_validation_requests,
)
from components.index_builder.parameters import MeasuredIndex, choose_index
from components.index_builder.search_index import ExactIndex
from components.index_builder.servable import Servable, raw_search_spec
from components.index_builder.warmup import write_warmup_requests
from schema.artifacts import CARD_FILE
from schema.servable_files import items_per_shard, shard_of, write_shard_map
from schema.shards import ShardMap
from souk_client.protocol import shard_folder, shard_models
from trainer.artifact import TrainedModel
from trainer.input import SearchReader

QueryEncoder: TypeAlias = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class ServableSummary:
    """What a servable says of itself, in `assets.extra/souk.json`.

    Attributes:
      model: kind of model.
      k, heads, dim: shape of what it answers and encodes.
      catalog_items: items in the catalog (of a shard: its own); indexed_items: those that can be found.
      index: kind of the chosen index.
      index_parameters: its parameters.
      index_curve: every measured point.
      retrieval: how requests are answered that do not say.
      dense_weight: what the dense score counts in a hybrid answer.
      dense_weight_curve: every measured weight; empty where it was not chosen by measuring.
      lexical_terms, lexical_postings: of the lexical channel.
      relevance_control: whether it is done for requests that do not say; `None` where the model cannot.
      understood_terms: by item field, how many query terms say something of it.
      history: training metrics by epoch.
      trainer: settings of the training.
    """

    model: str
    k: int
    heads: int
    dim: int
    catalog_items: int
    indexed_items: int
    index: str
    index_parameters: dict[str, int | float]
    index_curve: list[MeasuredIndex]
    retrieval: str
    dense_weight: float
    dense_weight_curve: list[MeasuredWeight]
    lexical_terms: int
    lexical_postings: int
    relevance_control: bool | None
    understood_terms: dict[str, int]
    history: dict[str, list[float]]
    trainer: dict


def build_servable(
    model_dir: str,
    catalog_pattern: str,
    request_pattern: str,
    output_dir: str,
    part_dir: str,
    config: IndexConfig,
    make_pipeline: Callable[[], beam.Pipeline],
    basis_dir: str = "",
) -> ServableSummary:
    """Writes the servable to `output_dir`: its SavedModel, or with `config.shards` a folder for each and their map.

    Args:
      model_dir: a trained model (`trainer.artifact`).
      catalog_pattern: glob of raw catalog examples, gzip TFRecords.
      request_pattern: glob of raw search examples, of which a sample measures the index and warms the server.
      output_dir: of the servable.
      part_dir: for the embedded catalog, reachable by Beam's workers.
      config: how to index.
      make_pipeline: gives the Beam pipeline that embeds the catalog.
      basis_dir: gets what a delta index of this one needs (`delta_basis.DeltaBasis`); "" keeps nothing.

    Raises:
      InputError: there are so many shards that one would have no item.
    """
    shared_model = SharedModel(model_dir)
    loaded = shared_model.load()
    with make_pipeline() as pipeline:
        embed_catalog(pipeline, shared_model, catalog_pattern, part_dir)
    catalog = read_parts(part_dir)
    rows = rows_to_index(catalog, config.drop_duplicates)
    logging.info("%d items embedded, %d indexed", catalog.table.size, len(rows))

    model = loaded.model
    encode = query_encoder(model)
    requests = sample_requests(request_pattern, config.sample_requests, config.seed)
    vectors = encode(tf.constant(requests)).numpy()
    lexicon = build_lexicon(model, encode, catalog, rows, request_pattern, config)
    if basis_dir:
        basis_of(lexicon, catalog.table.item_ids[rows], config).save(basis_dir)
    work = _Work(model, catalog, lexicon, requests, vectors.reshape(-1, model.config.vector_dim), config)
    if config.shards == 1:
        return work.save(rows, lexicon, catalog.table.size, output_dir, config.model_name)
    return _save_shards(work, rows, output_dir)


@dataclass(frozen=True)
class _Work:
    """What all shards are made from; `query_vectors` are those of `requests`, every head a row."""

    model: TrainedModel
    catalog: EmbeddedCatalog
    lexicon: Lexicon
    requests: list[bytes]
    query_vectors: np.ndarray
    config: IndexConfig

    def save(self, rows: np.ndarray, lexicon: Lexicon, items: int, output_dir: str, model_name: str) -> ServableSummary:
        """Writes one SavedModel with all that belongs to it.

        Every servable has the whole table of items, from which it encodes what users did.

        Args:
          rows: of the items that can be found.
          lexicon: of these.
          items: how many the catalog has, those left out with them.
          output_dir: of the SavedModel.
          model_name: under which it is served.
        """
        model, config = self.model, self.config
        index, curve = choose_index(self.catalog.vectors[rows], self.query_vectors, config)
        chosen = next(point for point in curve if point.chosen)
        logging.info("index: %s %s, recall %.4f", chosen.name, chosen.parameters, chosen.recall)
        with tempfile.TemporaryDirectory() as vocabulary_dir:
            attributes = self.catalog.attributes.take(rows)
            servable = Servable(model, self.catalog.table, index, rows, attributes, lexicon, config, vocabulary_dir)
            servable.save(output_dir)
        write_warmup_requests(output_dir, model_name, self.requests[: config.warmup_requests])
        summary = ServableSummary(
            model=model.config.model,
            k=config.k,
            heads=model.config.heads,
            dim=model.config.vector_dim,
            catalog_items=items,
            indexed_items=len(rows),
            index=chosen.name,
            index_parameters=chosen.parameters,
            index_curve=curve,
            retrieval=config.retrieval,
            dense_weight=lexicon.dense_weight,
            dense_weight_curve=lexicon.weight_curve,
            lexical_terms=len(lexicon.postings.fingerprints),
            lexical_postings=len(lexicon.postings.items),
            relevance_control=config.relevance_control.default if model.understanding else None,
            understood_terms=model.understanding.terms() if model.understanding else {},
            history={name: list(values) for name, values in model.history.items()},
            trainer=model.config.model_dump(mode="json"),
        )
        with tf.io.gfile.GFile(os.path.join(output_dir, CARD_FILE), "w") as file:
            file.write(json.dumps(asdict(summary), indent=1))
        return summary


def _save_shards(work: _Work, rows: np.ndarray, output_dir: str) -> ServableSummary:
    """Writes a SavedModel per shard and their map; what the summary says of an index is that of the largest shard.

    Items that look alike are left out before, so that they are not found again in another shard.
    """
    shards = work.config.shards
    owner = shard_of(work.catalog.table.item_ids, shards)
    items, indexed = (items_per_shard(of, shards) for of in (owner, owner[rows]))
    summaries = []
    for shard, name in enumerate(shard_models(work.config.model_name, shards)):
        logging.info("shard %d of %d: %d items", shard, shards, indexed[shard])
        folder = os.path.join(output_dir, shard_folder(shard, shards))
        own = np.flatnonzero(owner[rows] == shard)
        summaries.append(work.save(rows[own], work.lexicon.of(own), items[shard], folder, name))
    folders = tuple(shard_folder(shard, shards) for shard in range(shards))
    write_shard_map(output_dir, ShardMap(items=items, indexed_items=indexed, folders=folders))
    largest = max(summaries, key=lambda summary: summary.indexed_items)
    return replace(
        largest,
        catalog_items=work.catalog.table.size,
        indexed_items=len(rows),
        lexical_postings=len(work.lexicon.postings.items),
    )


def build_lexicon(
    model: TrainedModel,
    encode: QueryEncoder,
    catalog: EmbeddedCatalog,
    rows: np.ndarray,
    request_pattern: str,
    config: IndexConfig,
) -> Lexicon:
    """Finds the items at `rows` of the catalog by their words, and says what that counts beside their vectors.

    Args:
      model: a trained model.
      encode: its `query_encoder`.
      catalog: embedded with it.
      rows: of the items that can be found.
      request_pattern: glob of raw search examples.
      config: how to index.
    """
    fold_plurals = folds_plurals(model.transform)
    ids = catalog.table.item_ids[rows]
    share = model.validation_share or 0.0
    clicks = read_clicks(request_pattern, share, ids)

    texts = {name: values[rows] for name, values in catalog.texts.items()}

    def postings_with(queries: Sequence[bytes]) -> Postings:
        fields = fields_of(catalog.attributes.take(rows), texts, queries, config.lexical)
        return build_postings(fields, config.lexical, fold_plurals)

    queries = clicked_queries(clicks, len(rows))
    postings = postings_with(queries)
    logging.info("%d terms, %d postings", len(postings.fingerprints), len(postings.items))
    vectors = catalog.vectors[rows]
    longest = float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max()))
    weight = config.lexical.dense_weight
    lexicon = Lexicon(
        postings,
        fold_plurals,
        longest,
        DEFAULT_DENSE_WEIGHT if weight is None else weight,
        clicked_queries=queries,
    )
    if weight is not None or not share:
        return lexicon
    requests = read_validation_requests(request_pattern, share, ids, config.seed)
    if len(requests.examples) < FEWEST_REQUESTS:
        logging.info("%d validation requests are too few to choose `dense_weight` on", len(requests.examples))
        return lexicon
    # A validation request must not find the item that it led to by its own click.
    unseen = postings_with(clicked_queries(clicks.filter(~pl.col("in_validation")), len(rows)))
    curve = measure_weights(
        ExactIndex(vectors),
        LexicalIndex(unseen, config.lexical, fold_plurals),
        encode(tf.constant(requests.examples)).numpy(),
        requests.queries,
        requests.relevant(ids),
        min(config.k, len(rows)),
        config.lexical.postings_per_term,
        longest,
    )
    logging.info("dense weight %.2f", best_weight(curve))
    return replace(lexicon, dense_weight=best_weight(curve), weight_curve=curve)


def sample_requests(pattern: str, count: int, seed: int) -> list[bytes]:
    """A sample of the serialized examples of a split; the same for the same seed and data."""
    files = sorted(tf.io.gfile.glob(pattern))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return [example.numpy() for example in dataset.shuffle(64 * count, seed=seed).take(count)]


def query_vectors(model: TrainedModel, examples: list[bytes]) -> np.ndarray:
    """Vectors of requests, [requests, heads, dim]."""
    return query_encoder(model)(tf.constant(examples)).numpy()


def query_encoder(model: TrainedModel) -> QueryEncoder:
    """Encodes serialized search examples, [requests] string to [requests, heads, dim]; traced when first called."""
    profile = tuple(model.sizes.profile)
    spec, reader = raw_search_spec(profile), SearchReader(model.config, profile)
    layer, columns = model.transform.transform_features_layer(), model.table.as_tensors()

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(examples: tf.Tensor) -> tf.Tensor:
        return model.towers.encode_query(reader.query_batch(layer(tf.io.parse_example(examples, spec))), columns)

    return encode
