"""What items can be filtered by, and the inverted lists that say which items have a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schema import features

# Between a field's name and its value, and between an item's values of a categorical column; in no text of a catalog.
FIELD_SEPARATOR = b"\x1f"
VALUE_SEPARATOR = b"\x1e"

Bytes = NDArray[np.bytes_]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class ItemAttributes:
    """What requests can filter by, an entry per item.

    Attributes:
      brands: [items] bytes, empty for none.
      category_paths: [items] bytes, names from the root joined by `features.CATEGORY_SEPARATOR`, empty for none.
      prices: [items] float32, NaN for none.
      categorical: by feature of a categorical column, [items] bytes, its values joined by `VALUE_SEPARATOR`.
      numeric: by feature of a numeric column, [items] float32, NaN for none.
    """

    brands: Bytes
    category_paths: Bytes
    prices: NDArray[np.float32]
    categorical: Mapping[str, Bytes] = field(default_factory=dict)
    numeric: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, Bytes]:
        """By feature, [items] bytes: what an inverted list for each value is made of."""
        return {features.BRAND: self.brands, features.CATEGORY_PATH: self.category_paths, **self.categorical}

    @property
    def numbers(self) -> dict[str, NDArray[np.float32]]:
        """By feature, [items] float32: what ranges are asked of."""
        return {features.PRICE: self.prices, **self.numeric}

    def take(self, rows: NDArray[np.integer]) -> "ItemAttributes":
        """The attributes of some of the items, in the order of `rows`."""
        return ItemAttributes(
            self.brands[rows],
            self.category_paths[rows],
            self.prices[rows],
            {name: values[rows] for name, values in self.categorical.items()},
            {name: numbers[rows] for name, numbers in self.numeric.items()},
        )


@dataclass(frozen=True)
class Postings:
    """Inverted lists of all brands, nodes of the category tree and values of categorical columns.

    Attributes:
      keys: [values] bytes, `key_of` each; a category is the path to its node.
      starts: [values + 2] int32; the items of value `v` are `items[starts[v]:starts[v + 1]]`. The last list is empty:
        it is that of a value which no item has.
      items: [entries] int32, ascending in each list.
      values_of_item: [items, width] int32, the values of each item; padded with -1.
    """

    keys: Bytes
    starts: Ints
    items: Ints
    values_of_item: Ints


def key_of(name: str, value: bytes) -> bytes:
    """A feature's value as the key of its list: one line, as a line of a file is; requests are read alike."""
    return name.encode() + FIELD_SEPARATOR + value.replace(b"\n", b" ")


def values_in(name: str, text: bytes) -> list[bytes]:
    """The values that an item's text of a feature is found by: of a category path all nodes that it leads through."""
    if not text:
        return []
    if name == features.BRAND:
        return [text]
    if name != features.CATEGORY_PATH:
        return text.split(VALUE_SEPARATOR)
    separator = features.CATEGORY_SEPARATOR.encode()
    names = text.split(separator)
    return [separator.join(names[: depth + 1]) for depth in range(len(names))]


def invert(attributes: ItemAttributes) -> Postings:
    """The inverted lists of items."""
    found = []
    for name, texts in attributes.texts.items():
        distinct, of_item = np.unique(texts, return_inverse=True)
        # Two values may be one line.
        keys_of_text = [
            list(dict.fromkeys(key_of(name, v) for v in values_in(name, text))) for text in distinct.tolist()
        ]
        found.append((keys_of_text, of_item))
    keys = sorted({key for keys_of_text, _ in found for group in keys_of_text for key in group})
    number = {key: place for place, key in enumerate(keys)}
    values = np.concatenate(
        [_padded([[number[key] for key in group] for group in groups])[of_item] for groups, of_item in found], axis=1
    )
    item, place = np.nonzero(values >= 0)
    value = values[item, place]
    counts = np.bincount(value, minlength=len(keys) + 1)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Postings(np.array(keys, dtype="S"), starts, item[np.argsort(value, kind="stable")].astype(np.int32), values)


def _padded(lists: list[list[int]]) -> Ints:
    width = max((len(one) for one in lists), default=0)
    return np.array([[*one, *[-1] * (width - len(one))] for one in lists], np.int32).reshape(len(lists), width)
