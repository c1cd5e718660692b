"""The catalog's transformed features as dense arrays in memory, joined by row number.

DPSR (arXiv 2006.02282) keeps item features out of the training examples and joins them on the fly, which made its data
90 % smaller. Row `i` is the item with id `i` of the item vocabulary; the last row is the unknown item.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from schema import features, transformed
from trainer.config import TrainerConfig

# More than a list can be long.
_ANY_WIDTH = tf.int32.max


@dataclass(frozen=True)
class ItemTable:
    """Features of every item, padded with 0.

    Attributes:
      item_ids: [items] of bytes, the catalog's ids by row.
      columns: by feature name, [items + 1, width] or [items + 1] int32. Ids are shifted by one, 0 is "none"; the last
        row, of the unknown item, is all 0.
    """

    item_ids: np.ndarray
    columns: Mapping[str, np.ndarray]

    @property
    def size(self) -> int:
        """How many items there are, the unknown one not counted."""
        return len(self.item_ids)

    def as_tensors(self) -> dict[str, tf.Tensor]:
        """The columns as tensors, to gather from in a graph."""
        return {name: tf.constant(column) for name, column in self.columns.items()}

    def save(self, path: str | Path) -> None:
        """Writes the table as one `.npz` file."""
        # Through memory: an archive is written with seeks, which object stores do not have.
        archive = io.BytesIO()
        np.savez(archive, item_ids=self.item_ids, **self.columns)
        with tf.io.gfile.GFile(str(path), "wb") as file:
            file.write(archive.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "ItemTable":
        """Reads what `save` wrote."""
        with tf.io.gfile.GFile(str(path), "rb") as file:
            archive = io.BytesIO(file.read())
        with np.load(archive) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
        return cls(columns.pop("item_ids"), columns)


def gather(columns: Mapping[str, tf.Tensor], rows: tf.Tensor) -> dict[str, tf.Tensor]:
    """Features of the items at `rows`: [...] int to [...] or [..., width] by feature name."""
    return {name: tf.gather(column, rows) for name, column in columns.items()}


def padded(ids: tf.RaggedTensor | tf.SparseTensor, width: int) -> tf.Tensor:
    """Id lists as a matrix: cut at `width`, shifted by one, padded with 0. [batch, width] int32."""
    if isinstance(ids, tf.SparseTensor):
        return padded_together([ids], [width])[0]
    dense = ids.to_tensor(default_value=-1, shape=[None, width])
    return tf.cast(dense, tf.int32) + 1


def padded_together(lists: Sequence[tf.SparseTensor], widths: Sequence[int], below: int = 0) -> list[tf.Tensor]:
    """As `padded` of each of some lists of the same rows, in a fraction of the ops.

    Args:
      lists: int64 ids without gaps within a row.
      widths: of each list.
      below: how many lists the last one is, one below the other (`stacked`); 0 for none.

    Returns:
      [batch, width] int32 for each width.
    """
    rows = lists[0].dense_shape[0]
    together = stacked(lists, [*[rows] * (len(lists) - 1), rows * max(1, below)])
    dense = tf.raw_ops.RaggedTensorToTensor(
        shape=tf.constant([-1, max(widths)], tf.int64),
        values=together.values,
        default_value=tf.constant(-1, tf.int64),
        row_partition_tensors=[together.dense_shape[0], together.indices[:, 0]],
        row_partition_types=["FIRST_DIM_SIZE", "VALUE_ROWIDS"],
    )
    by_list = tf.unstack(tf.reshape(tf.cast(dense, tf.int32) + 1, [len(widths), -1, max(widths)]))
    return [ids[:, :width] if width < max(widths) else ids for ids, width in zip(by_list, widths, strict=True)]


def stacked(lists: Sequence[tf.SparseTensor], rows: Sequence[tf.Tensor]) -> tf.SparseTensor:
    """Lists one below the other, whose width is then meaningless.

    Args:
      lists: of one type.
      rows: how many each has, int64; the same tensor for as many as can be.
    """
    if len(lists) == 1:
        return lists[0]
    # The op wants them of one width.
    width = tf.constant(_ANY_WIDTH, tf.int64)
    shapes = {count.ref(): tf.stack([count, width]) for count in rows}
    indices, values, shape = tf.raw_ops.SparseConcat(
        indices=[one.indices for one in lists],
        values=[one.values for one in lists],
        shapes=[shapes[count.ref()] for count in rows],
        concat_dim=0,
    )
    return tf.SparseTensor(indices, values, shape)


@dataclass(frozen=True)
class ItemReader:
    """Reads transformed catalog examples as a model wants them.

    Attributes:
      config: how much of each list is kept.
      columns: names of the further columns of the catalog, `text_*`, `categorical_*` and `numeric_*`.
    """

    config: TrainerConfig
    columns: Sequence[str] = ()

    def widths(self) -> dict[str, int]:
        """Width of each column that holds a list."""
        config = self.config
        return {
            transformed.TITLE_UNIGRAMS: config.title_units,
            transformed.TITLE_BIGRAMS: config.title_units + 1,
            transformed.TITLE_SEGMENTS: config.title_units,
            transformed.TITLE_SUBWORDS: config.title_subwords,
            transformed.ATTRIBUTE_UNIGRAMS: config.title_units,
            **{name: config.text_units for name in self.columns if name.startswith(features.TEXT_PREFIX)},
        }

    def singles(self) -> tuple[str, ...]:
        """The columns that hold one id."""
        further = (name for name in self.columns if not name.startswith(features.TEXT_PREFIX))
        return (*transformed.CATALOG_CATEGORIES, transformed.ITEM_ROW, *further)

    def item_columns(self, values: Mapping[str, tf.RaggedTensor | tf.SparseTensor]) -> dict[str, tf.Tensor]:
        """Columns of a batch of transformed catalog examples, in the form that an `ItemTable` holds."""
        lists = {name: padded(values[name], width) for name, width in self.widths().items()}
        return lists | {name: padded(values[name], 1)[:, 0] for name in self.singles()}


def read_item_table(reader: ItemReader, files: Sequence[str], item_ids: Sequence[bytes]) -> ItemTable:
    """The table of a transformed catalog split.

    Args:
      reader: says which columns.
      files: TFRecord (gzip) files of transformed catalog examples, in any order.
      item_ids: the item vocabulary, by id.

    Raises:
      ValueError: where the split lacks items of the vocabulary, which means it is of another transform.
    """
    spec = {name: tf.io.RaggedFeature(tf.int64) for name in (*reader.widths(), *reader.singles())}
    columns: dict[str, np.ndarray] = {}
    seen = np.zeros(len(item_ids), bool)
    for serialized in tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(4096):
        values = tf.io.parse_example(serialized, spec)
        rows = values[transformed.ITEM_ROW].values.numpy()
        seen[rows] = True
        for name, batch in reader.item_columns(values).items():
            if name not in columns:
                columns[name] = np.zeros((len(item_ids) + 1, *batch.shape[1:]), np.int32)
            columns[name][rows] = batch.numpy()
    if not seen.all():
        raise ValueError(
            f"the transformed catalog has {int(seen.sum())} of the {len(item_ids)} items of the item vocabulary; "
            "it must come from the transform that made the vocabulary"
        )
    return ItemTable(np.asarray(item_ids, dtype="S"), columns)
