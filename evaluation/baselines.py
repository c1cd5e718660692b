"""Rankings that a learned retriever has to beat: popularity, BM25, past clicks, and the page that the shop showed."""

import logging
import re
import unicodedata
from collections.abc import Sequence

import bm25s
import numpy as np
import Stemmer

from evaluation.exact_search import top_k
from evaluation.metrics import NOT_AN_ITEM, FloatArray, IntArray
from evaluation.training_counts import ClickedQueries

# bm25s turns on its own debug messages when it is imported.
logging.getLogger("bm25s").setLevel(logging.WARNING)

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
_RUNS = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+")
# Queries that an item's text takes, those with the most clicks first: more would drown what the item says of itself.
QUERIES_PER_ITEM = 50
_CJK_START = re.compile(rf"[{_CJK}]")


def most_popular(interactions: IntArray, requests: int, k: int) -> IntArray:
    """The items most clicked, carted and ordered in training, the same for every request.

    Args:
      interactions: [items] training interactions; an item without any is never returned.
      requests: number of requests.
      k: list length.

    Returns:
      [requests, k] rows, padded with -1.
    """
    rows = top_k(interactions[None, :].astype(np.float64), k)[0]
    return np.tile(_padded(rows[interactions[rows] > 0], k), (requests, 1))


def memorized_clicks(clicked: ClickedQueries, queries: Sequence[str], k: int) -> IntArray:
    """For a query of the train split the items clicked, carted and ordered for it, most often first; else nothing.

    Args:
      clicked: of the train split.
      queries: normalized, as those of `clicked` are.
      k: list length.

    Returns:
      [requests, k] rows, equal counts by row, padded with -1.
    """
    places = {query: place for place, query in enumerate(clicked.queries)}
    starts = np.searchsorted(clicked.query, np.arange(len(places) + 1))
    ranked = np.full((len(queries), k), NOT_AN_ITEM, dtype=np.int64)
    for request, query in enumerate(queries):
        if (place := places.get(query)) is not None:
            pairs = slice(starts[place], starts[place + 1])
            best = np.argsort(-clicked.clicks[pairs], kind="stable")
            ranked[request] = _padded(clicked.rows[pairs][best], k)
    return ranked


def with_clicked_queries(
    texts: Sequence[str], clicked: ClickedQueries, queries_per_item: int = QUERIES_PER_ITEM
) -> list[str]:
    """The text of each item, followed by the queries that led to a click, a cart or an order on it.

    Each distinct query comes once however often it led there, so that a frequent one does not outweigh the rest.

    Args:
      texts: one per item row.
      clicked: of the train split.
      queries_per_item: at most, those with the most clicks first, equal ones by text.
    """
    by_text = np.argsort(np.array(sorted(range(len(clicked.queries)), key=clicked.queries.__getitem__), dtype=np.int64))
    order = np.lexsort((by_text[clicked.query], -clicked.clicks, clicked.rows))
    starts = np.searchsorted(clicked.rows[order], np.arange(len(texts) + 1))
    longer = []
    for text, start, stop in zip(texts, starts[:-1], starts[1:], strict=True):
        taken = clicked.query[order[start : min(stop, start + queries_per_item)]]
        longer.append(" ".join((text, *(clicked.queries[query] for query in taken))))
    return longer


def tokenize(text: str, stemmer: Stemmer.Stemmer) -> list[str]:
    """Terms of BM25: stemmed lower-case words; of CJK runs the characters and the pairs of neighbors.

    Chinese is written without spaces, so a word index over it would hold whole sentences; characters
    and bigrams are what lexical engines index by default (Lucene's CJK analyzer).
    """
    terms: list[str] = []
    for run in _RUNS.findall(unicodedata.normalize("NFKC", text).lower()):
        if _CJK_START.match(run):
            terms.extend(run)
            terms.extend(run[place : place + 2] for place in range(len(run) - 1))
        else:
            terms.append(stemmer.stemWord(run))
    return terms


class Bm25:
    """BM25 (Lucene's form, k1 1.5, b 0.75, no stop words).

    Args:
      texts: one text per item row.
    """

    def __init__(self, texts: Sequence[str]):
        self._stemmer = Stemmer.Stemmer("english")
        self._index = bm25s.BM25(method="lucene")
        self._items = len(texts)
        terms = [tokenize(text, self._stemmer) for text in texts]
        self._known = {term for document in terms for term in document}
        if self._known:
            self._index.index(terms, show_progress=False)

    def search(self, queries: Sequence[str], k: int) -> IntArray:
        """Best rows per query, [queries, k], equal scores by row, padded with -1; no shared term, no hit."""
        distinct, inverse = np.unique(np.asarray(queries, dtype=object).astype(str), return_inverse=True)
        ranked = np.full((len(distinct), k), NOT_AN_ITEM, dtype=np.int64)
        for place, query in enumerate(distinct):
            terms = [term for term in tokenize(str(query), self._stemmer) if term in self._known]
            if terms:
                scores = self._index.get_scores(terms)
                rows = top_k(scores[None, :], k)[0]
                ranked[place] = _padded(rows[scores[rows] > 0], k)
        return ranked[inverse]

    def scores(self, queries: Sequence[str], rows: IntArray) -> FloatArray:
        """Score of each of the item `rows` [queries, n] for its query; 0 for a row that is no item's."""
        found = np.zeros(rows.shape)
        is_item = (rows >= 0) & (rows < self._items)
        for place, query in enumerate(queries):
            terms = [term for term in tokenize(query, self._stemmer) if term in self._known]
            if terms:
                found[place, is_item[place]] = self._index.get_scores(terms)[rows[place, is_item[place]]]
        return found


def as_shown(shown: IntArray, k: int) -> IntArray:
    """The shop's own page as a ranking, [requests, k], padded with -1.

    On-policy: most clicks came from this very page, so its recall at the page's length is high by construction
    and says nothing about what else the searcher would have liked. It is no contest for a retriever.
    """
    pages = np.full((len(shown), k), NOT_AN_ITEM, dtype=np.int64)
    width = min(k, shown.shape[1])
    pages[:, :width] = shown[:, :width]
    return pages


def _padded(rows: IntArray, k: int) -> IntArray:
    return np.pad(rows[:k], (0, max(0, k - len(rows))), constant_values=NOT_AN_ITEM)
