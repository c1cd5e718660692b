"""The catalog as the index sees it: ids, item-table columns and vectors, embedded by Beam in batches."""

import io
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.utils import shared
from numpy.typing import NDArray

from components.index_builder.attributes import VALUE_SEPARATOR, ItemAttributes
from components.index_builder.filters import filtered_features
from schema import features, transformed
from schema.settings import InputError
from trainer import artifact
from trainer.item_table import ItemReader, ItemTable, gather
from trainer.query_understanding import FIELDS
from trainer.raw_catalog import fingerprint, raw_catalog_spec

_BATCH = 2048
_PARTS = "parts.json"
_AVAILABLE = tf.io.FixedLenFeature([], tf.string, default_value="")
_UNAVAILABLE = "false"


@dataclass(frozen=True)
class EmbeddedCatalog:
    """A catalog in index order, which is by item id.

    Attributes:
      table: ids and columns, with the unknown item's row last.
      vectors: [items, dim] float32, one per item of the table.
      fingerprints: [items] of bytes; equal for items that are alike in all that a user sees.
      attributes: what the items can be filtered by.
      texts: by raw feature, [items] of bytes, empty for none: what items say beside their attributes.
      available: [items] bool, whether an item may be retrieved; None where all may.
    """

    table: ItemTable
    vectors: np.ndarray
    fingerprints: np.ndarray
    attributes: ItemAttributes
    texts: Mapping[str, NDArray[np.object_]]
    available: NDArray[np.bool_] | None = None


class CatalogEncoder:
    """Encodes serialized raw catalog examples with a trained model's own transform graph and item tower."""

    def __init__(self, model: artifact.TrainedModel):
        layer = model.transform.transform_features_layer()
        spec = raw_catalog_spec(model.sizes.columns)
        reader = ItemReader(model.config, tuple(model.sizes.columns))
        # What led to an item in training is known by its id; an item that is newer has the row of the unknown one.
        row_of_id = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(model.table.item_ids.astype(object), tf.string), tf.range(model.table.size, dtype=tf.int64)
            ),
            default_value=model.table.size,
        )
        clicked = {transformed.CLICKED_UNIGRAMS: tf.constant(model.table.columns[transformed.CLICKED_UNIGRAMS])}
        # What is encoded is not needed again, but for what a servable reads of the table.
        kept = {*model.towers.behavior_columns, *FIELDS, transformed.CLICKED_UNIGRAMS}

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
        def encode(
            serialized: tf.Tensor,
        ) -> tuple[
            tf.Tensor,
            tf.Tensor,
            dict[str, tf.Tensor],
            tf.Tensor,
            dict[str, tf.Tensor],
            dict[str, tf.Tensor],
            tf.Tensor,
        ]:
            raw = tf.io.parse_example(serialized, {**spec, features.AVAILABLE: _AVAILABLE})
            available = raw.pop(features.AVAILABLE) != _UNAVAILABLE
            ids = tf.sparse.to_dense(raw[features.ITEM_ID])[:, 0]
            columns = {**reader.item_columns(layer(raw)), **gather(clicked, row_of_id.lookup(ids))}
            vectors = model.towers.encode_items(columns)
            seen = {n: columns[n] for n in kept}
            return ids, fingerprint(raw), seen, vectors, filtered_by(raw), texts_of(raw), available

        self.encode = encode


def filtered_by(raw: Mapping[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
    """By feature, [batch] string, empty for none, or float32, NaN for none; see `ItemAttributes`."""
    texts, numbers = filtered_features(raw)
    separators = {features.BRAND: "", features.CATEGORY_PATH: features.CATEGORY_SEPARATOR}
    joined = {
        name: tf.strings.reduce_join(
            tf.RaggedTensor.from_sparse(raw[name]), axis=1, separator=separators.get(name, VALUE_SEPARATOR)
        )
        for name in texts
    }
    first = {
        name: tf.RaggedTensor.from_sparse(raw[name]).to_tensor(float("nan"), shape=[None, 1])[:, 0] for name in numbers
    }
    return {**joined, **first}


def texts_of(raw: Mapping[str, tf.SparseTensor]) -> dict[str, tf.Tensor]:
    """Title and further text and categorical columns by raw feature, [batch] string, empty for none."""
    columns = (features.TEXT_PREFIX, features.CATEGORICAL_PREFIX)
    return {
        name: tf.strings.reduce_join(tf.RaggedTensor.from_sparse(raw[name]), axis=1, separator=" ")
        for name in (features.TITLE, *sorted(name for name in raw if name.startswith(columns)))
    }


class LoadedModel:
    """A trained model in this process; what encodes a catalog with it is made when it is first asked for."""

    def __init__(self, model_dir: str):
        self.model = artifact.load(model_dir)

    @cached_property
    def encoder(self) -> CatalogEncoder:
        """Encodes raw catalog examples."""
        return CatalogEncoder(self.model)


class SharedModel:
    """The trained model in a directory, loaded once for all that in one process ask for it."""

    def __init__(self, model_dir: str):
        self._model_dir = model_dir
        self._handle = shared.Shared()

    def load(self) -> LoadedModel:
        """The model, which stays for others as long as someone holds it."""
        loaded: LoadedModel = self._handle.acquire(lambda: LoadedModel(self._model_dir))
        return loaded


class _EmbedBatch(beam.DoFn):
    """Writes one `.npz` part per batch and yields its name."""

    def __init__(self, model: SharedModel, part_dir: str):
        self._model = model
        self._part_dir = part_dir

    def setup(self) -> None:
        self._encoder = self._model.load().encoder

    def process(self, serialized: Sequence[bytes]) -> Iterator[str]:
        name = f"{uuid.uuid4().hex}.npz"
        archive = io.BytesIO()
        np.savez(archive, **embedded_part(self._encoder, serialized))
        with tf.io.gfile.GFile(os.path.join(self._part_dir, name), "wb") as file:
            file.write(archive.getvalue())
        yield name


def embedded_part(encoder: CatalogEncoder, serialized: Sequence[bytes]) -> dict[str, np.ndarray]:
    """A part of an embedded catalog, as `joined_parts` takes it: serialized catalog examples, encoded."""
    ids, fingerprints, columns, vectors, attributes, texts, available = encoder.encode(
        tf.constant(serialized, tf.string)
    )
    arrays = {f"column:{name}": column.numpy() for name, column in columns.items()}
    arrays["vectors"] = vectors.numpy()
    arrays["available"] = available.numpy()
    # As a byte matrix, NumPy needs no pickle for them.
    arrays["ids"] = ids.numpy().astype("S")
    for name, values in attributes.items():
        arrays[f"attribute:{name}"] = values.numpy().astype("S") if values.dtype == tf.string else values.numpy()
    # Not as a matrix, which is as wide as the longest of them.
    for name, column in texts.items():
        arrays[f"text:{name}"] = np.frombuffer(b"".join(column.numpy()), np.uint8)
        arrays[f"text_length:{name}"] = tf.strings.length(column).numpy()
    arrays["fingerprints"] = tf.strings.to_hash_bucket_strong(fingerprints, 2**63 - 1, [71, 911]).numpy()
    return arrays


def embed_catalog(
    pipeline: beam.Pipeline, model: SharedModel, catalog_pattern: str, part_dir: str
) -> beam.PCollection[None]:
    """Adds to a Beam pipeline the embedding of a catalog split; `read_parts` reads the result.

    A batch that a runner works twice, since a worker was lost, leaves two parts; the one that counts is in the list.

    Args:
      pipeline: where the work runs.
      model: its directory must be reachable by the workers; those in this process take what is loaded here.
      catalog_pattern: glob of the raw catalog examples (gzip TFRecords).
      part_dir: an existing directory for the parts.
    """
    return (
        pipeline
        | "ReadCatalog" >> beam.io.ReadFromTFRecord(catalog_pattern)
        | "Batch" >> beam.BatchElements(min_batch_size=_BATCH, max_batch_size=_BATCH)
        | "Embed" >> beam.ParDo(_EmbedBatch(model, part_dir))
        | "Parts" >> beam.combiners.ToList()
        | "List" >> beam.Map(_write_list, os.path.join(part_dir, _PARTS))
    )


def _write_list(names: list[str], path: str) -> None:
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(names))


def read_parts(part_dir: str) -> EmbeddedCatalog:
    """The embedded catalog out of the parts that the Beam job wrote, whatever their number and order."""
    parts: list[dict[str, Any]] = []
    with tf.io.gfile.GFile(os.path.join(part_dir, _PARTS)) as file:
        names = json.loads(file.read())
    for name in names:
        with tf.io.gfile.GFile(os.path.join(part_dir, name), "rb") as file:
            archive = io.BytesIO(file.read())
        with np.load(archive) as arrays:
            parts.append({name: arrays[name] for name in arrays.files})
    if not parts:
        raise ValueError(f"no parts of an embedded catalog in {part_dir}; the catalog split is empty")
    return joined_parts(parts)


def joined_parts(parts: Sequence[dict[str, Any]]) -> EmbeddedCatalog:
    """The embedded catalog out of its parts, at least one. They are emptied: memory holds what they had but once."""
    ids = np.concatenate([part["ids"] for part in parts])
    order = np.argsort(ids, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    of_parts = np.split(places, np.cumsum([len(part["ids"]) for part in parts])[:-1])

    def joined(name: str, more: int = 0) -> np.ndarray:
        kind = max((part[name].dtype for part in parts), key=lambda dtype: dtype.itemsize)
        values = np.zeros((len(ids) + more, *parts[0][name].shape[1:]), kind)
        for part, rows in zip(parts, of_parts, strict=True):
            values[rows] = part.pop(name)
        return values

    def all_of(prefix: str, more: int = 0) -> dict[str, np.ndarray]:
        names = [name for name in parts[0] if name.startswith(prefix)]
        return {name.removeprefix(prefix): joined(name, more) for name in names}

    vectors = joined("vectors")
    for part in parts:
        for name in [name for name in part if name.startswith("text:")]:
            part[name] = _split(part[name], part.pop(name.replace("text:", "text_length:", 1)))
    attributes = all_of("attribute:")
    return EmbeddedCatalog(
        # The unknown item's row is the last one, of zeros.
        ItemTable(ids[order], all_of("column:", more=1)),
        vectors,
        joined("fingerprints"),
        ItemAttributes(
            attributes[features.BRAND],
            attributes[features.CATEGORY_PATH],
            attributes[features.PRICE],
            {name: values for name, values in attributes.items() if name.startswith(features.CATEGORICAL_PREFIX)},
            {name: values for name, values in attributes.items() if name.startswith(features.NUMERIC_PREFIX)},
        ),
        all_of("text:"),
        joined("available"),
    )


def _split(joined: NDArray[np.uint8], lengths: NDArray[np.int32]) -> NDArray[np.object_]:
    content, ends = joined.tobytes(), np.cumsum(lengths)
    texts = np.empty(len(lengths), object)
    texts[:] = [content[start:end] for start, end in zip(ends - lengths, ends, strict=True)]
    return texts


def rows_to_index(catalog: EmbeddedCatalog, drop_duplicates: bool) -> np.ndarray:
    """Rows that the index holds, ascending, [indexed] int32: of available items that are alike only the first is kept.

    Raises:
      InputError: none is available.
    """
    rows = np.arange(catalog.table.size) if catalog.available is None else np.flatnonzero(catalog.available)
    if not len(rows):
        raise InputError("`available` of the catalog is false for every item, so there is nothing to index")
    if drop_duplicates:
        _, first = np.unique(catalog.fingerprints[rows], return_index=True)
        rows = rows[np.sort(first)]
    return rows.astype(np.int32)
