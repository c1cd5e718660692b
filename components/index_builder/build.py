"""Builds a servable: embed the catalog, choose the index, put all into one SavedModel."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import apache_beam as beam
import numpy as np
import tensorflow as tf
from absl import logging

from components.index_builder.catalog import EmbeddedCatalog, embed_catalog, read_parts, rows_to_index
from components.index_builder.config import IndexConfig
from components.index_builder.parameters import MeasuredIndex, choose_index
from components.index_builder.servable import Servable, raw_search_spec
from components.index_builder.warmup import write_warmup_requests
from schema.artifacts import CARD_FILE
from schema.servable_files import items_per_shard, shard_of, write_shard_map
from schema.shards import ShardMap
from souk_client.protocol import shard_folder, shard_models
from trainer import artifact
from trainer.artifact import TrainedModel
from trainer.input import SearchReader


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

    Raises:
      InputError: there are so many shards that one would have no item.
    """
    with make_pipeline() as pipeline:
        embed_catalog(pipeline, model_dir, catalog_pattern, part_dir)
    catalog = read_parts(part_dir)
    rows = rows_to_index(catalog, config.drop_duplicates)
    logging.info("%d items embedded, %d indexed", catalog.table.size, len(rows))

    model = artifact.load(model_dir)
    requests = sample_requests(request_pattern, config.sample_requests, config.seed)
    work = _Work(model, catalog, requests, query_vectors(model, requests), config)
    if config.shards == 1:
        return work.save(rows, catalog.table.size, output_dir, config.model_name)
    return _save_shards(work, rows, output_dir)


@dataclass(frozen=True)
class _Work:
    """What all shards are made from; `query_vectors` are those of `requests`."""

    model: TrainedModel
    catalog: EmbeddedCatalog
    requests: list[bytes]
    query_vectors: np.ndarray
    config: IndexConfig

    def save(self, rows: np.ndarray, items: int, output_dir: str, model_name: str) -> ServableSummary:
        """Writes one SavedModel with all that belongs to it.

        Every servable has the whole table of items, from which it encodes what users did.

        Args:
          rows: of the items that can be found.
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
            Servable(model, self.catalog.table, index, rows, attributes, config, vocabulary_dir).save(output_dir)
        write_warmup_requests(output_dir, model_name, self.requests[: config.warmup_requests])
        summary = ServableSummary(
            model=model.config.model,
            k=config.k,
            heads=model.config.heads,
            dim=model.config.dim,
            catalog_items=items,
            indexed_items=len(rows),
            index=chosen.name,
            index_parameters=chosen.parameters,
            index_curve=curve,
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
        summaries.append(work.save(rows[owner[rows] == shard], items[shard], folder, name))
    folders = tuple(shard_folder(shard, shards) for shard in range(shards))
    write_shard_map(output_dir, ShardMap(items=items, indexed_items=indexed, folders=folders))
    largest = max(summaries, key=lambda summary: summary.indexed_items)
    return replace(largest, catalog_items=work.catalog.table.size, indexed_items=len(rows))


def sample_requests(pattern: str, count: int, seed: int) -> list[bytes]:
    """A sample of the serialized examples of a split; the same for the same seed and data."""
    files = sorted(tf.io.gfile.glob(pattern))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return [example.numpy() for example in dataset.shuffle(64 * count, seed=seed).take(count)]


def query_vectors(model: TrainedModel, examples: list[bytes]) -> np.ndarray:
    """Vectors of requests, every head a row: [requests * heads, dim]."""
    profile = tuple(model.sizes.profile)
    raw = tf.io.parse_example(tf.constant(examples), raw_search_spec(profile))
    query = SearchReader(model.config, profile).query_batch(model.transform.transform_features_layer()(raw))
    vectors = model.towers.encode_query(query, model.table.as_tensors())
    return vectors.numpy().reshape(-1, model.config.dim)
