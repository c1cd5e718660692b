"""The words of the queries that led to an item, as a feature of the item.

What people searched for when they took an item is the best description of it that a log has. A request must not see
its own click: `without_own` leaves out the words that no other request has led to the item with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import tensorflow as tf

from schema import features, transformed
from trainer.item_table import ItemTable


def with_clicked_words(
    table: ItemTable, requests: Iterable[Mapping[str, tf.Tensor]], known_unigrams: int, width: int
) -> ItemTable:
    """The table with the columns `CLICKED_UNIGRAMS` and `CLICKED_COUNTS`, both [items + 1, width].

    Args:
      table: the catalog.
      requests: parsed training requests in chunks of any size.
      known_unigrams: how many unigrams the vocabulary has; words that it does not have are left out.
      width: words of an item that are kept, those that most requests led to it with.
    """
    keys, counts = _counted(requests, table.size, known_unigrams)
    rows, ids = np.divmod(keys, known_unigrams + 1)
    order = np.lexsort([ids, -counts, rows])
    rows, ids, counts = rows[order], ids[order], counts[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = rank < width
    columns = {name: np.zeros((table.size + 1, width), np.int32) for name in transformed.CLICKED_WORDS}
    for name, values in ((transformed.CLICKED_UNIGRAMS, ids), (transformed.CLICKED_COUNTS, counts)):
        columns[name][rows[kept], rank[kept]] = values[kept]
    return replace(table, columns={**table.columns, **columns})


def _counted(
    requests: Iterable[Mapping[str, tf.Tensor]], items: int, known_unigrams: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of item row and word, as `row * (known_unigrams + 1) + word`, and how many requests have each."""
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for batch in requests:
        rows = batch[features.ITEMS].numpy().astype(np.int64) - 1
        words = _distinct(batch[transformed.QUERY_UNIGRAMS].numpy().astype(np.int64))
        pairs = rows[:, :, np.newaxis] * (known_unigrams + 1) + words[:, np.newaxis, :]
        valid = ((rows >= 0) & (rows < items))[:, :, np.newaxis] & ((words > 0) & (words <= known_unigrams))[:, None]
        found.append(np.unique(pairs[valid], return_counts=True))
    keys, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    keys, number = np.unique(keys, return_inverse=True)
    return keys, np.bincount(number, counts, minlength=len(keys)).astype(np.int64)


def _distinct(words: np.ndarray) -> np.ndarray:
    """Each word of a query once, 0 for the others: [queries, width] to [queries, width]."""
    words = np.sort(words, axis=1)
    words[:, 1:][words[:, 1:] == words[:, :-1]] = 0
    return words


def without_own(item: Mapping[str, tf.Tensor], queries: tf.Tensor) -> dict[str, tf.Tensor]:
    """Features of items as they are but for one click each.

    Args:
      item: features of the items, [items, width] int32.
      queries: [items, query width] int32, the unigrams of the query whose click is left out.
    """
    words = item[transformed.CLICKED_UNIGRAMS]
    own = tf.reduce_any(words[:, :, tf.newaxis] == queries[:, tf.newaxis, :], axis=2)
    left = tf.where(own & (item[transformed.CLICKED_COUNTS] <= 1), 0, words)
    return {**item, transformed.CLICKED_UNIGRAMS: left}
