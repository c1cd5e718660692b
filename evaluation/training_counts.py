"""Counts what the train split of an Examples artifact saw: queries, interactions, and which query led to which item."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.eval_set import EvalCatalog, normalize_query
from evaluation.example_columns import StrPath, first_texts, read_columns, text
from evaluation.metrics import IntArray
from schema import features

# Keys of pairs that are kept before equal ones are counted together.
_PENDING = 1 << 20


@dataclass(frozen=True)
class ClickedQueries:
    """Which queries led to a click, a cart or an order on which item, as distinct pairs.

    Attributes:
      queries: distinct normalized queries.
      query: [pairs] place in `queries`, ascending.
      rows: [pairs] catalog rows, ascending within a query.
      clicks: [pairs] clicks, carts and orders.
    """

    queries: tuple[str, ...]
    query: IntArray
    rows: IntArray
    clicks: IntArray


@dataclass(frozen=True)
class TrainingCounts:
    """What the train split saw: requests per normalized query, interactions per catalog row, and which led to which."""

    requests: int
    queries: Mapping[str, int]
    interactions: IntArray
    window_ms: tuple[int, int]
    clicked: ClickedQueries


def read_training(examples_dir: StrPath, catalog: EvalCatalog) -> TrainingCounts:
    """Counts over the train split, in one streaming pass."""
    queries: Counter[str] = Counter()
    interactions = np.zeros(len(catalog), dtype=np.int64)
    pairs = _Pairs(len(catalog))
    requests, first, last = 0, None, None
    wanted = (features.QUERY, features.TIMESTAMP_MS, features.ITEMS, features.STAGES)
    for serialized, columns in read_columns(examples_dir, features.TRAIN_SPLIT, wanted):
        requests += len(serialized)
        asked = [normalize_query(query) for query in first_texts(columns[features.QUERY])]
        queries.update(asked)
        chosen = columns[features.STAGES].values >= features.Stage.CLICKED
        items = columns[features.ITEMS]
        rows = np.array([catalog.rows.get(text(item), -1) for item in items.values[chosen]], dtype=np.int64)
        known = rows >= 0
        np.add.at(interactions, rows[known], 1)
        pairs.add([asked[request] for request in items.row_ids()[chosen][known]], rows[known])
        times = columns[features.TIMESTAMP_MS].values
        if len(times):
            first = min(int(times.min()), first if first is not None else int(times.min()))
            last = max(int(times.max()), last or 0)
    return TrainingCounts(requests, queries, interactions, (first or 0, last or 0), pairs.counted())


class _Pairs:
    """Counts pairs of query and item row as they come, in memory for the distinct ones."""

    def __init__(self, items: int):
        self._items = items
        self._numbers: dict[str, int] = {}
        self._keys: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._pending: list[IntArray] = []

    def add(self, queries: list[str], rows: IntArray) -> None:
        numbers = np.array([self._numbers.setdefault(query, len(self._numbers)) for query in queries], dtype=np.int64)
        self._pending.append(numbers * self._items + rows)
        if sum(map(len, self._pending)) > _PENDING:
            self._count()

    def counted(self) -> ClickedQueries:
        self._count()
        query, rows = np.divmod(self._keys, max(self._items, 1))
        return ClickedQueries(tuple(self._numbers), query, rows, self._counts)

    def _count(self) -> None:
        keys = np.concatenate([self._keys, *self._pending])
        counts = np.concatenate([self._counts, np.ones(len(keys) - len(self._counts), dtype=np.int64)])
        self._keys, place = np.unique(keys, return_inverse=True)
        self._counts = np.bincount(place, counts, len(self._keys)).astype(np.int64)
        self._pending = []
