"""Builds a servable: embed the catalogue, choose the index, put all into one SavedModel."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass

import apache_beam as beam
import numpy as np
import tensorflow as tf
from absl import logging

from components.index_builder.catalogue import embed_catalogue, read_parts, rows_to_index
from components.index_builder.config import IndexConfig
from components.index_builder.parameters import MeasuredIndex, choose_index
from components.index_builder.servable import Servable, raw_search_spec
from components.index_builder.warmup import write_warmup_requests
from trainer import artifact
from trainer.artifact import TrainedModel
from trainer.input import SearchReader

SUMMARY_FILE = os.path.join("assets.extra", "souk.json")


@dataclass(frozen=True)
class ServableSummary:
    """What a servable says of itself, in `assets.extra/souk.json`.

    Attributes:
      model: kind of model.
      k, heads, dim: shape of what it answers and encodes.
      catalogue_items: items in the catalogue; indexed_items: those in the index, duplicates left out.
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
    catalogue_items: int
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
    """Writes the servable to `output_dir`.

    Args:
      model_dir: a trained model (`trainer.artifact`).
      catalog_pattern: glob of raw catalogue examples, gzip TFRecords.
      request_pattern: glob of raw search examples, of which a sample measures the index and warms the server.
      output_dir: of the SavedModel.
      part_dir: for the embedded catalogue, reachable by Beam's workers.
      config: how to index.
      make_pipeline: gives the Beam pipeline that embeds the catalogue.
    """
    with make_pipeline() as pipeline:
        embed_catalogue(pipeline, model_dir, catalog_pattern, part_dir)
    catalogue = read_parts(part_dir)
    rows = rows_to_index(catalogue, config.drop_duplicates)
    logging.info("%d items embedded, %d indexed", catalogue.table.size, len(rows))

    model = artifact.load(model_dir)
    requests = sample_requests(request_pattern, config.sample_requests, config.seed)
    index, curve = choose_index(catalogue.vectors[rows], query_vectors(model, requests), config)
    chosen = next(point for point in curve if point.chosen)
    logging.info("index: %s %s, recall %.4f", chosen.name, chosen.parameters, chosen.recall)

    with tempfile.TemporaryDirectory() as vocabulary_dir:
        servable = Servable(
            model, catalogue.table, index, rows, catalogue.attributes.take(rows), config, vocabulary_dir
        )
        servable.save(output_dir)
    write_warmup_requests(output_dir, config.model_name, requests[: config.warmup_requests])
    summary = ServableSummary(
        model=model.config.model,
        k=config.k,
        heads=model.config.heads,
        dim=model.config.dim,
        catalogue_items=catalogue.table.size,
        indexed_items=len(rows),
        index=chosen.name,
        index_parameters=chosen.parameters,
        index_curve=curve,
        relevance_control=config.relevance_control.default if model.understanding else None,
        understood_terms=model.understanding.terms() if model.understanding else {},
        history={name: list(values) for name, values in model.history.items()},
        trainer=model.config.model_dump(mode="json"),
    )
    with tf.io.gfile.GFile(os.path.join(output_dir, SUMMARY_FILE), "w") as file:
        file.write(json.dumps(asdict(summary), indent=1))
    return summary


def sample_requests(pattern: str, count: int, seed: int) -> list[bytes]:
    """A sample of the serialised examples of a split; the same for the same seed and data."""
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
