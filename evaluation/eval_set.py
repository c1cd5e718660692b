"""Reads what the gate measures on out of an Examples artifact: the requests and the catalog.

The requests are sampled by a hash of their id, so the same request is in or out of the sample whatever the
order of the files, and two models are asked the same. What came of a request (items, stages, positions) is
taken out of the examples before a servable sees them.
"""

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evaluation.example_columns import (
    READ_BATCH,
    Column,
    StrPath,
    first_texts,
    parse_columns,
    read_batches,
    read_columns,
    text,
)
from evaluation.metrics import IntArray, Relevant
from schema import features
from schema.settings import InputError

_LABELS = (features.ITEMS, features.STAGES, features.POSITIONS)
_CATALOG_FEATURES = (
    features.ITEM_ID,
    features.TITLE,
    features.BRAND,
    features.CATEGORY_PATH,
    features.TOP_CATEGORY,
    features.AVAILABLE,
)
# Further columns that are read as words.
_WORDS = (features.TEXT_PREFIX, features.CATEGORICAL_PREFIX)
_HISTORY = (features.HISTORY_QUERIES, *features.BEHAVIOR_ITEM_FEATURES)


@dataclass(frozen=True)
class EvalCatalog:
    """The items that can be found; an item's row is its place here.

    Attributes:
      examples: serialized catalog tf.Examples, as `encode_items` takes them.
      further: features of the catalog's further columns, `text_*`, `categorical_*` and `numeric_*`.
      unavailable: ids of the items that are in the catalog and not to be retrieved; they have no row.
    """

    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    brands: tuple[str, ...]
    category_paths: tuple[tuple[str, ...], ...]
    top_categories: tuple[str, ...]
    examples: tuple[bytes, ...]
    rows: Mapping[str, int]
    further: tuple[str, ...] = ()
    unavailable: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.item_ids)

    def texts(self) -> list[str]:
        """Title, brand, category and the further text and categorical columns of each item, for lexical search."""
        return [
            " ".join(filter(None, (title, brand, *path, *further)))
            for title, brand, path, further in zip(
                self.titles, self.brands, self.category_paths, self._further_texts(), strict=True
            )
        ]

    def _further_texts(self) -> Iterator[list[str]]:
        # Long texts are decoded only here, where they are wanted.
        names = tuple(name for name in self.further if name.startswith(_WORDS))
        for start in range(0, len(self.examples), READ_BATCH):
            serialized = list(self.examples[start : start + READ_BATCH])
            rows = [column.rows() for column in parse_columns(serialized, names).values()]
            for row in range(len(serialized)):
                yield [text(value) for column in rows for value in column[row]]


@dataclass(frozen=True)
class _AllBut(Container[str]):
    """Every item but some."""

    ids: frozenset[str]

    def __contains__(self, item: object) -> bool:
        return item not in self.ids


@dataclass(frozen=True)
class EvalRequests:
    """The sampled requests that led to a click, a cart or an order.

    Attributes:
      examples: serialized search tf.Examples without what came of them.
      relevant: clicked, carted and ordered items. An item that is not in the catalog keeps a row past
        the catalog's end: it cannot be found and counts as missed.
      stages: [relevant] the `Stage` of each relevant item.
      on_page: [relevant] whether it was on the page that the shop showed; others were found some other way.
      shown: [requests, widest page] item rows by position on the shop's own page, padded with -1.
      has_impressions: whether the log has items that were shown and led to nothing. Without any, pages are not known.
      read, usable: requests in the split, and those of them with a relevant item.
      gone: share of the split's clicked, carted and ordered items that the catalog does not have.
      window_ms: first and last request time of the sample, epoch ms; (0, 0) when empty.
    """

    examples: tuple[bytes, ...]
    queries: tuple[str, ...]
    has_history: NDArray[np.bool_]
    relevant: Relevant
    stages: IntArray
    on_page: NDArray[np.bool_]
    shown: IntArray
    has_impressions: bool
    read: int
    usable: int
    gone: float
    window_ms: tuple[int, int]

    def __len__(self) -> int:
        return len(self.queries)


def normalize_query(query: str) -> str:
    """The form under which two queries count as the same one."""
    return " ".join(query.lower().split())


def read_catalog(examples_dir: StrPath) -> EvalCatalog:
    """The catalog split.

    Raises:
      InputError: the split is missing or holds no item.
    """
    catalog = parse_catalog(read_batches(examples_dir, features.CATALOG_SPLIT))
    if not len(catalog):
        raise InputError(
            f"{examples_dir}: the `{features.CATALOG_SPLIT}` split holds no item, so there is nothing to "
            "find. Run the example generator with a catalog."
        )
    return catalog


def parse_catalog(batches: Iterable[list[bytes]]) -> EvalCatalog:
    """A catalog out of batches of serialized catalog examples."""
    ids: list[str] = []
    titles: list[str] = []
    brands: list[str] = []
    paths: list[tuple[str, ...]] = []
    tops: list[str] = []
    examples: list[bytes] = []
    unavailable: set[str] = set()
    for batch in batches:
        serialized = batch
        columns = parse_columns(serialized, _CATALOG_FEATURES)
        if (closed := columns[features.AVAILABLE].lengths() > 0).any():
            texts = first_texts(columns[features.ITEM_ID])
            unavailable.update(texts[row] for row in np.flatnonzero(closed))
            serialized = [batch[row] for row in np.flatnonzero(~closed)]
            columns = parse_columns(serialized, _CATALOG_FEATURES)
        examples.extend(serialized)
        ids.extend(first_texts(columns[features.ITEM_ID]))
        titles.extend(first_texts(columns[features.TITLE]))
        brands.extend(first_texts(columns[features.BRAND]))
        tops.extend(first_texts(columns[features.TOP_CATEGORY]))
        paths.extend(tuple(map(text, row)) for row in columns[features.CATEGORY_PATH].rows())
    rows = {item_id: row for row, item_id in enumerate(ids)}
    further = _further_features(examples[0]) if examples else ()
    return EvalCatalog(
        tuple(ids),
        tuple(titles),
        tuple(brands),
        tuple(paths),
        tuple(tops),
        tuple(examples),
        rows,
        further,
        frozenset(unavailable),
    )


def read_requests(
    examples_dir: StrPath,
    catalog: EvalCatalog,
    max_requests: int,
    seed: int,
    gains: Mapping[int, float],
    counted: Container[str] | None = None,
) -> EvalRequests:
    """A seeded sample of the eval split's requests that have a relevant item.

    Args:
      examples_dir: root of an Examples artifact.
      catalog: gives the item rows.
      max_requests: size of the sample; fewer usable requests are all taken.
      seed: another seed draws another sample.
      gains: worth of an item by its `Stage` value, for every stage from CLICKED up.
      counted: the items that may be relevant; None for all but those that are not to be retrieved. Of an item that has
        left the catalog no servable can be asked, so what came of it says nothing.
    """
    if counted is None and catalog.unavailable:
        counted = _AllBut(catalog.unavailable)
    known = catalog.rows.keys() | catalog.unavailable
    read = usable = taken = left = only_shown = 0
    sample: list[tuple[bytes, bytes]] = []
    wanted = (features.REQUEST_ID, features.ITEMS, features.STAGES)
    for serialized, columns in read_columns(examples_dir, features.EVAL_SPLIT, wanted):
        read += len(serialized)
        only_shown += int(np.count_nonzero(columns[features.STAGES].values == features.Stage.SHOWN))
        taken += int(_chosen(columns, None).sum())
        left += int(_chosen(columns, known).sum())
        relevant = _chosen(columns, counted)
        clicked = np.bincount(columns[features.STAGES].row_ids(), relevant, len(serialized)) > 0
        usable += int(clicked.sum())
        request_ids = first_texts(columns[features.REQUEST_ID])
        sample.extend((_priority(request_ids[row], seed), serialized[row]) for row in np.flatnonzero(clicked))
        if len(sample) > 4 * max_requests + READ_BATCH:
            sample = sorted(sample)[:max_requests]
    chosen = [serialized for _, serialized in sorted(sample)[:max_requests]]
    found = _requests(chosen, catalog, gains, counted)
    gone = 1.0 - left / taken if taken else 0.0
    return replace(found, has_impressions=only_shown > 0, read=read, usable=usable, gone=gone)


def _requests(
    serialized: list[bytes], catalog: EvalCatalog, gains: Mapping[int, float], counted: Container[str] | None
) -> EvalRequests:
    columns = parse_columns(serialized, (features.QUERY, features.TIMESTAMP_MS, *_LABELS, *_HISTORY))
    requests = len(serialized)
    items, stages = columns[features.ITEMS], columns[features.STAGES].values
    positions = columns[features.POSITIONS].values
    request = items.row_ids()
    rows = _rows(items.values, catalog)

    # Of an item that comes twice in one request the furthest stage counts, and of equal ones that on the page.
    order = np.lexsort((-positions, -stages, rows, request))
    pair = np.stack([request[order], rows[order]], axis=1)
    distinct = np.ones(len(order), dtype=bool)
    distinct[1:] = (pair[1:] != pair[:-1]).any(axis=1)
    kept = order[distinct & _chosen(columns, counted)[order]]
    worth = np.array([gains[int(stage)] for stage in stages[kept]], dtype=np.float64)

    times = columns[features.TIMESTAMP_MS].values
    history = sum(columns[name].lengths() for name in _HISTORY)
    return EvalRequests(
        examples=tuple(_without_labels(example) for example in serialized),
        queries=tuple(first_texts(columns[features.QUERY])),
        has_history=np.asarray(history) > 0,
        relevant=Relevant(request[kept], rows[kept], worth, requests),
        stages=stages[kept].astype(np.int64),
        on_page=positions[kept] > 0,
        shown=_pages(request, rows, positions, requests),
        has_impressions=False,
        read=requests,
        usable=requests,
        gone=0.0,
        window_ms=(int(times.min()), int(times.max())) if len(times) else (0, 0),
    )


def _chosen(columns: Mapping[str, Column], counted: Container[str] | None) -> NDArray[np.bool_]:
    """Which items were clicked, carted or ordered, of those that count; None for all."""
    chosen: NDArray[np.bool_] = columns[features.STAGES].values >= features.Stage.CLICKED
    if counted is None:
        return chosen
    return chosen & np.array([text(item) in counted for item in columns[features.ITEMS].values], dtype=bool)


def _rows(item_ids: NDArray[np.object_], catalog: EvalCatalog) -> IntArray:
    """Catalog rows; ids outside of the catalog get rows past its end, the same id the same row."""
    known = dict(catalog.rows)
    rows = (known.setdefault(text(item), len(known)) for item in item_ids)
    return np.fromiter(rows, dtype=np.int64, count=len(item_ids))


def _pages(request: IntArray, rows: IntArray, positions: IntArray, requests: int) -> IntArray:
    """Item rows by position, [requests, widest page]; position 0 is not on the page."""
    shown = np.flatnonzero(positions > 0)
    shown = shown[np.lexsort((positions[shown], request[shown]))]
    counts = np.bincount(request[shown], minlength=requests)
    starts = np.concatenate([[0], np.cumsum(counts)])[request[shown]]
    pages = np.full((requests, int(counts.max(initial=0))), -1, dtype=np.int64)
    pages[request[shown], np.arange(len(shown)) - starts] = rows[shown]
    return pages


def _without_labels(serialized: bytes) -> bytes:
    example = tf.train.Example.FromString(serialized)
    for name in _LABELS:
        example.features.feature.pop(name, None)
    return bytes(example.SerializeToString(deterministic=True))


def _priority(request_id: str, seed: int) -> bytes:
    return hashlib.blake2b(request_id.encode(), digest_size=8, key=str(seed).encode()).digest()


def _further_features(serialized: bytes) -> tuple[str, ...]:
    """The features of a catalog's further columns: ingestion names every one in every example."""
    named = tf.train.Example.FromString(serialized).features.feature
    return tuple(sorted(name for name in named if name.startswith(features.COLUMN_PREFIXES)))
