"""What differs between two catalogs for an index: by content, item by item, in whole columns."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from schema import features
from schema.settings import InputError

_LIST_SEPARATOR: Final = "\x1e"
_READ_AT_ONCE: Final = 65_536
# What the item tower, the words and the filters read; leaf and top category come of the path.
_CONTENT: Final = (features.TITLE, features.BRAND, features.CATEGORY_PATH, features.SHOP, features.PRICE)


@dataclass(frozen=True)
class Changes:
    """What an index lacks of a new catalog.

    Attributes:
      added: ids of the items to index, ascending: those that are new, and those whose content is new.
      left_out: ids of what the index must no longer answer with, ascending: items that are gone, are not available, or
        are superseded by their new content, which `added` has under the same id.
      indexed: how many items the index has.
    """

    added: tuple[str, ...]
    left_out: tuple[str, ...]
    indexed: int

    @property
    def removed(self) -> int:
        """How many items are gone or not available."""
        return len(set(self.left_out) - set(self.added))

    @property
    def share(self) -> float:
        """Items that are new, changed or removed, as a share of what is indexed."""
        return (len(self.added) + self.removed) / max(1, self.indexed)

    def digest(self, contents: Iterable[bytes]) -> str:
        """Equal for the same changes.

        Args:
          contents: of the added items, in their order.
        """
        digest = hashlib.blake2b(digest_size=16)
        for text in (*(i.encode() for i in self.left_out), b"", *contents):
            digest.update(len(text).to_bytes(8, "little") + text)
        return digest.hexdigest()


def content_of(columns: Mapping[str, pa.Array], further: Iterable[str]) -> pl.DataFrame:
    """What counts of a catalog: a row per item with its id, its content as scalars, and whether it is `available`.

    Args:
      columns: features of raw catalog examples, [items] lists of bytes or floats; one that is missing has no value.
      further: names of the further columns' features.
    """
    items = len(columns[features.ITEM_ID])
    found = [_scalar(features.ITEM_ID, columns, items)]
    found += [_scalar(name, columns, items) for name in (*_CONTENT, *sorted(further))]
    unavailable = _scalar(features.AVAILABLE, columns, items) == "false"
    return pl.DataFrame([*found, (~unavailable.fill_null(value=False)).alias(features.AVAILABLE)])


def _scalar(name: str, columns: Mapping[str, pa.Array], items: int) -> pl.Series:
    is_number = name in features.CATALOG_FLOAT_FEATURES or name.startswith(features.NUMERIC_PREFIX)
    kind = pl.Float32 if is_number else pl.String
    values = columns.get(name)
    if values is None or pa.types.is_null(values.type):
        return pl.Series(name, [None] * items, kind)
    series = pl.Series(name, pl.from_arrow(values))
    if is_number:
        return series.list.first().cast(pl.Float32)
    joined = series.cast(pl.List(pl.String)).list.join(_LIST_SEPARATOR)
    return joined.replace("", None)


def read_content(pattern: str, further: Iterable[str]) -> pl.DataFrame:
    """`content_of` the raw catalog examples in some gzip TFRecords.

    Raises:
      InputError: there are none.
    """
    files = sorted(tf.io.gfile.glob(pattern))
    if not files:
        raise InputError(
            f"the catalog that the full index was built of is no longer at {pattern}. Run `souk refresh` once, which "
            "leaves it there"
        )
    decoder = ExamplesToRecordBatchDecoder()
    further = tuple(further)
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_READ_AT_ONCE)
    frames = []
    for batch in dataset.as_numpy_iterator():
        decoded = decoder.DecodeBatch(batch.tolist())
        frames.append(content_of(dict(zip(decoded.schema.names, decoded.columns, strict=True)), further))
    return pl.concat(frames)


def changes_between(old: pl.DataFrame, new: pl.DataFrame, drop_duplicates: bool) -> Changes:
    """What an index of `old` must add and leave out to answer as one of `new` would.

    Args:
      old: `content_of` the indexed catalog.
      new: of the present one.
      drop_duplicates: whether of items that are alike only the first is indexed.
    """
    before, after = (_indexed(frame, drop_duplicates) for frame in (old, new))
    added = after.join(before, on=after.columns, how="anti", nulls_equal=True)
    left_out = before.join(after, on=after.columns, how="anti", nulls_equal=True)
    ids = [tuple(frame[features.ITEM_ID].sort().to_list()) for frame in (added, left_out)]
    return Changes(ids[0], ids[1], len(before))


def indexed_ids(content: pl.DataFrame, drop_duplicates: bool) -> list[str]:
    """Ids of the items that an index of a catalog has: those that are available, of those alike the first alone."""
    return _indexed(content, drop_duplicates)[features.ITEM_ID].to_list()


def _indexed(frame: pl.DataFrame, drop_duplicates: bool) -> pl.DataFrame:
    """The items that an index of a catalog has."""
    available = frame.filter(features.AVAILABLE).drop(features.AVAILABLE)
    if not drop_duplicates:
        return available
    content = [name for name in available.columns if name != features.ITEM_ID]
    return available.sort(features.ITEM_ID).unique(content, keep="first", maintain_order=True)
