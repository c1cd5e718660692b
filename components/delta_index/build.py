"""Builds a delta index: embeds the changed items, and writes them as a SavedModel with what they replace."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import tensorflow as tf

from components.delta_index.changes import Changes
from components.delta_index.servable import DeltaServable
from components.index_builder.catalog import CatalogEncoder, EmbeddedCatalog, embedded_part, joined_parts
from components.index_builder.delta_basis import DeltaBasis
from components.index_builder.lexical.lexicon import Lexicon, fields_of
from components.index_builder.lexical.postings import build_postings
from components.index_builder.warmup import with_options, write_records
from schema import features
from schema.artifacts import DELTA_CARD_FILE
from souk_client.examples import search_example
from trainer.artifact import TrainedModel

_EMBEDDED_AT_ONCE = 2048


@dataclass(frozen=True)
class DeltaCard:
    """What a delta index says of itself, in `assets.extra/delta.json`.

    Attributes:
      full_version: the version of the full index that it belongs to.
      items: how many it has, new and changed.
      left_out: how many ids of the full index are superseded or removed; removed: those that nothing supersedes.
      digest: equal for equal changes.
    """

    full_version: int
    items: int
    left_out: int
    removed: int
    digest: str


def embed(model: TrainedModel, examples: Sequence[bytes]) -> EmbeddedCatalog | None:
    """The items of raw catalog examples, by id; None for none."""
    if not examples:
        return None
    encoder = CatalogEncoder(model)
    starts = range(0, len(examples), _EMBEDDED_AT_ONCE)
    return joined_parts([embedded_part(encoder, examples[start : start + _EMBEDDED_AT_ONCE]) for start in starts])


def lexicon_of(catalog: EmbeddedCatalog, basis: DeltaBasis) -> Lexicon:
    """Finds the items by their words, with the scores that they would have in the full index."""
    config = basis.config.lexical
    clicked = [basis.clicked_queries.get(item_id, b"") for item_id in catalog.table.item_ids.tolist()]
    fields = fields_of(catalog.attributes, catalog.texts, clicked, config)
    postings = basis.rebased(build_postings(fields, config, basis.fold_plurals, basis.average_lengths))
    return Lexicon(postings, basis.fold_plurals, basis.longest_vector, basis.dense_weight)


def write_delta(
    model: TrainedModel,
    catalog: EmbeddedCatalog | None,
    basis: DeltaBasis,
    changes: Changes,
    card: DeltaCard,
    directory: str,
    model_name: str,
) -> None:
    """Writes the SavedModel, its card, and the requests that a server replays before it answers.

    Args:
      model: the full index's.
      catalog: the embedded items of `changes.added`; None for none.
      basis: of the full index.
      changes: of the catalog.
      card: of this delta index.
      directory: of the SavedModel.
      model_name: under which it is served.
    """
    lexicon = None if catalog is None else lexicon_of(catalog, basis)
    left_out = [item_id.encode() for item_id in changes.left_out]
    with tempfile.TemporaryDirectory() as vocabulary_dir:
        delta = DeltaServable(model, catalog, lexicon, basis.config, card.full_version, left_out, vocabulary_dir)
        delta.save(directory)
    _write_warm_up(model, directory, model_name)
    with tf.io.gfile.GFile(os.path.join(directory, DELTA_CARD_FILE), "w") as file:
        file.write(json.dumps(asdict(card), indent=1))


def read_card(directory: str) -> DeltaCard | None:
    """What the delta index in the folder says of itself; None where there is none."""
    path = os.path.join(directory, DELTA_CARD_FILE)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return DeltaCard(**json.loads(file.read()))


def _write_warm_up(model: TrainedModel, directory: str, model_name: str) -> None:
    first = search_example("shoes")
    # Any will do: a server is to run the graph once.
    vectors = np.ones([1, model.config.heads, model.config.vector_dim], np.float32)
    examples = (first, *with_options(first))
    inputs = [{features.INPUT_EXAMPLES: [example], features.INPUT_VECTORS: vectors} for example in examples]
    write_records(directory, model_name, [(features.SIGNATURE_BY_VECTORS, one) for one in inputs])
