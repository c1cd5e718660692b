"""The shop's lexical engine: BM25 over title and brand, with a popularity prior."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import bm25s
import numpy as np
import polars as pl
import Stemmer
from scipy.sparse import csr_matrix

from schema.settings import InputError

_RUN = re.compile(r"[\u3400-\u9fff]+|[a-z0-9]+")
STOPWORDS = frozenset(["a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"])
# More than BM25 and popularity can make good, so that items with more of the terms always come first.
MISSING_TERM = 4.0
# Above any BM25 score of a query.
_PER_TERM = 2.0**20
_BLOCK = 256
_STEMMER = Stemmer.Stemmer("english")


def words_of(text: str) -> list[str]:
    """English words in lower case, and runs of Chinese characters cut into pairs that do not overlap."""
    found: list[str] = []
    for run in _RUN.findall(text.lower().replace("'s", "s")):
        found.extend([run[at : at + 2] for at in range(0, len(run), 2)] if run[0] >= "\u3400" else [run])
    return found


def stem(word: str) -> str:
    """The stem of an English word; anything else as it is."""
    return _STEMMER.stemWord(word)


def terms(text: str) -> list[str]:
    """Index terms: stems of English words, and overlapping pairs of a run of Chinese characters."""
    found: list[str] = []
    for run in _RUN.findall(text.lower().replace("'s", "s")):
        if run[0] >= "\u3400":
            found.extend(run[at : at + 2] for at in range(max(len(run) - 1, 1)))
        elif run not in STOPWORDS:
            found.append(stem(run))
    return found


@dataclass(frozen=True)
class LexicalEngine:
    """Ranks items for a query by `BM25 / best BM25 + popularity_weight * popularity - MISSING_TERM * terms missing`.

    Terms missing are counted against the items that hold the most of the query's terms; the best BM25 is one of
    theirs. Items with more terms always come first, as in engines that ask for all terms and fall back to fewer.
    It knows no synonyms, corrects no spelling and does not know the user. Items without any term of the query are
    never found.

    Attributes:
      item_ids: ids by row.
      vocabulary: column of each term.
      weights: BM25 weight of each term in each item, plus _PER_TERM where it occurs, so that one product gives
        both the BM25 score and the number of terms held [terms, items].
      prior: popularity times its weight [items].
    """

    item_ids: tuple[str, ...]
    vocabulary: dict[str, int]
    weights: csr_matrix
    prior: np.ndarray

    @classmethod
    def build(
        cls,
        item_ids: Sequence[str],
        titles: Sequence[str],
        brands: Sequence[str | None],
        popularity: np.ndarray,
        popularity_weight: float = 0.08,
    ) -> Self:
        """An engine over a catalog, `popularity` with mean 0 and deviation 1 [items]."""
        vocabulary: dict[str, int] = {}
        documents = []
        for title, brand in zip(titles, brands, strict=True):
            document = terms(f"{title} {brand or ''}")
            documents.append([vocabulary.setdefault(term, len(vocabulary)) for term in document])
        index = bm25s.BM25(method="lucene")
        index.index((documents, vocabulary), show_progress=False)
        scores = index.scores
        shape = (len(scores["indptr"]) - 1, len(item_ids))
        weights = csr_matrix(
            (scores["data"].astype(np.float64) + _PER_TERM, scores["indices"], scores["indptr"]), shape=shape
        )
        prior = (popularity_weight * np.asarray(popularity)).astype(np.float32)
        return cls(tuple(item_ids), vocabulary, weights, prior)

    @classmethod
    def from_catalog(cls, path: str | Path, popularity_weight: float = 0.08) -> Self:
        """The engine of a shop out of the `catalog.jsonl.gz` that `simulate` wrote, free of per-request noise.

        Raises:
          InputError: there is no such file, or it lacks a column.
        """
        if not Path(path).is_file():
            raise InputError(f"there is no catalog file {path}; give the catalog.jsonl.gz of a simulated shop")
        rows = pl.read_ndjson(path, infer_schema_length=None)
        missing = {"item_id", "title", "brand", "popularity"} - set(rows.columns)
        if missing:
            raise InputError(
                f"{path} has no column {', '.join(sorted(missing))}; give the catalog.jsonl.gz of a simulated shop"
            )
        return cls.build(
            rows["item_id"].to_list(),
            rows["title"].to_list(),
            rows["brand"].to_list(),
            rows["popularity"].to_numpy(),
            popularity_weight,
        )

    def search(self, query: str, k: int) -> list[str]:
        """At most `k` item ids for the query, best first, the same at every call."""
        items, _ = self.top([query], k)
        return [self.item_ids[item] for item in items[0] if item >= 0]

    def top(self, queries: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the best `k` items and their scores in shares of the best BM25 score, both [queries, k].

        Where fewer match, rows are padded with -1 and scores with -inf.
        """
        rows = np.full((len(queries), k), -1, np.int32)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for start in range(0, len(queries), _BLOCK):
            found = self._term_matrix(queries[start : start + _BLOCK]) @ self.weights
            for number, (low, high) in enumerate(pairwise(found.indptr), start):
                if low == high:
                    continue
                best, values = self._best(found.indices[low:high], found.data[low:high], k)
                rows[number, : len(best)], scores[number, : len(best)] = best, values
        return rows, scores

    def _term_matrix(self, queries: Sequence[str]) -> csr_matrix:
        columns: list[int] = []
        starts = [0]
        for query in queries:
            columns.extend(self.vocabulary[term] for term in dict.fromkeys(terms(query)) if term in self.vocabulary)
            starts.append(len(columns))
        return csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(queries), self.weights.shape[0]))

    def _best(self, items: np.ndarray, sums: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` of `items`, whose `sums` are BM25 plus _PER_TERM for each term held."""
        most = int(sums.max() / _PER_TERM)
        chosen = sums >= most * _PER_TERM
        least = most
        while np.count_nonzero(chosen) < k and least > 1:
            least -= 1
            chosen = sums >= least * _PER_TERM
        items, sums = items[chosen], sums[chosen]
        held = np.floor(sums / _PER_TERM)
        values = sums - _PER_TERM * held
        values = values / values[held == most].max() + self.prior[items] - MISSING_TERM * (most - held)
        if len(items) > k:
            best = np.argpartition(-values, k - 1)[:k]
            items, values = items[best], values[best]
        order = np.lexsort((items, -values))
        return items[order], values[order]
