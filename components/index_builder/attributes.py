"""What items can be filtered by, and the inverted lists that say which items have a value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema import features

# Between a field's name and its value; in no text of a catalog.
FIELD_SEPARATOR = b"\x1f"
BRAND_KEY = features.BRAND.encode() + FIELD_SEPARATOR
CATEGORY_KEY = features.CATEGORY_PATH.encode() + FIELD_SEPARATOR

Bytes = NDArray[np.bytes_]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class ItemAttributes:
    """What requests can filter by, an entry per item.

    Attributes:
      brands: [items] bytes, empty for none.
      category_paths: [items] bytes, names from the root joined by `features.CATEGORY_SEPARATOR`, empty for none.
      prices: [items] float32, NaN for none.
    """

    brands: Bytes
    category_paths: Bytes
    prices: NDArray[np.float32]

    def take(self, rows: NDArray[np.integer]) -> "ItemAttributes":
        """The attributes of some of the items, in the order of `rows`."""
        return ItemAttributes(self.brands[rows], self.category_paths[rows], self.prices[rows])


@dataclass(frozen=True)
class Postings:
    """Inverted lists of all brands and of all nodes of the category tree.

    Attributes:
      keys: [values] bytes, `BRAND_KEY` or `CATEGORY_KEY` and the value; a category is the path to its node.
      starts: [values + 2] int32; the items of value `v` are `items[starts[v]:starts[v + 1]]`. The last list is empty:
        it is that of a value which no item has.
      items: [entries] int32, ascending in each list.
      values_of_item: [items, width] int32, the values of each item; padded with -1.
    """

    keys: Bytes
    starts: Ints
    items: Ints
    values_of_item: Ints


def nodes_of(path: bytes) -> list[bytes]:
    """The category nodes that a path leads through, as paths, from the root down."""
    separator = features.CATEGORY_SEPARATOR.encode()
    names = path.split(separator) if path else []
    return [separator.join(names[: depth + 1]) for depth in range(len(names))]


def invert(attributes: ItemAttributes) -> Postings:
    """The inverted lists of items."""
    distinct_paths, path_of_item = np.unique(attributes.category_paths, return_inverse=True)
    nodes = [[CATEGORY_KEY + _one_line(node) for node in nodes_of(path)] for path in distinct_paths.tolist()]
    distinct_brands, brand_of_item = np.unique(attributes.brands, return_inverse=True)
    brands = [[BRAND_KEY + _one_line(brand)] if brand else [] for brand in distinct_brands.tolist()]
    keys = sorted({key for group in (*nodes, *brands) for key in group})
    number = {key: place for place, key in enumerate(keys)}
    of_brand, of_path = (_padded([[number[key] for key in group] for group in found]) for found in (brands, nodes))
    values = np.concatenate([of_brand[brand_of_item], of_path[path_of_item]], axis=1)
    item, place = np.nonzero(values >= 0)
    value = values[item, place]
    counts = np.bincount(value, minlength=len(keys) + 1)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Postings(np.array(keys, dtype="S"), starts, item[np.argsort(value, kind="stable")].astype(np.int32), values)


def _one_line(value: bytes) -> bytes:
    """A value as its line in the file of keys; requests are read alike."""
    return value.replace(b"\n", b" ")


def _padded(lists: list[list[int]]) -> Ints:
    width = max((len(one) for one in lists), default=0)
    return np.array([[*one, *[-1] * (width - len(one))] for one in lists], np.int32).reshape(len(lists), width)
