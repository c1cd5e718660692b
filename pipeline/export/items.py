"""The items of the pushed full index with vectors and fields, encoded batch by batch."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tensorflow as tf

from components.delta_index.changes import indexed_ids, read_content
from components.index_builder.attributes import values_in
from components.index_builder.catalog import CatalogEncoder, EmbeddedCatalog, embedded_part, joined_parts
from components.index_builder.filters import filtered_features
from pipeline.delta import FullIndex
from schema import features

_AT_ONCE: Final = 2048

Record = dict[str, Any]


@dataclass(frozen=True)
class Fields:
    """What an item has beside its id, title and vector: by feature, what the field is called.

    Attributes:
      texts: lists of texts that are compared as a whole: brand, category and the categorical columns.
      figures: numbers: the price and the numeric columns.
    """

    texts: Mapping[str, str]
    figures: Mapping[str, str]

    @property
    def keywords(self) -> tuple[str, ...]:
        """The names of the texts."""
        return tuple(self.texts.values())

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the figures."""
        return tuple(self.figures.values())


def fields_of(columns: Iterable[str]) -> Fields:
    """The fields of a catalog with further columns, named as the columns.

    A name that is taken gets `_` behind it, as where a column is both categorical and numeric.

    Args:
      columns: their features.
    """
    texts, figures = filtered_features(columns)
    taken = ["item_id", "title", "vector"]
    names = {}
    for feature in (*texts, *figures):
        prefix = next((p for p in features.COLUMN_PREFIXES if feature.startswith(p)), "")
        name = "category" if feature == features.CATEGORY_PATH else feature.removeprefix(prefix)
        while name in taken:
            name += "_"
        taken.append(name)
        names[feature] = name
    return Fields({feature: names[feature] for feature in texts}, {feature: names[feature] for feature in figures})


def read_items(full: FullIndex, fields: Fields) -> Iterator[list[Record]]:
    """The indexed items, some at a time: `item_id`, `title`, `vector` [dim] float32 and the fields that each has.

    A category is every node of its path, "Home" and "Home > Lamps", so that a filter by either finds the item.
    """
    content = read_content(full.catalog, full.model.sizes.columns)
    wanted = {item_id.encode() for item_id in indexed_ids(content, full.basis.config.drop_duplicates)}
    encoder = CatalogEncoder(full.model)
    files = sorted(tf.io.gfile.glob(full.catalog))
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_AT_ONCE).as_numpy_iterator():
        records = records_of(joined_parts([embedded_part(encoder, batch.tolist())]), fields)
        yield [record for record in records if record["item_id"].encode() in wanted]


def records_of(catalog: EmbeddedCatalog, fields: Fields) -> list[Record]:
    """The items of an embedded catalog; what an item lacks is left out."""
    attributes, found = catalog.attributes, []
    titles = catalog.texts[features.TITLE]
    for row, item_id in enumerate(catalog.table.item_ids):
        record: Record = {"item_id": item_id.decode(), "title": _text(titles[row]), "vector": catalog.vectors[row]}
        for feature, name in fields.texts.items():
            values = values_in(feature, bytes(attributes.texts[feature][row]))
            if values:
                record[name] = [_text(value) for value in values]
        for feature, name in fields.figures.items():
            number = float(attributes.numbers[feature][row])
            if np.isfinite(number):
                record[name] = number
        found.append(record)
    return found


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")
