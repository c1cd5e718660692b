"""Builds the term dictionary and the posting lists of a catalog, in whole arrays.

Scores are those of BM25F (Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, section
3.5): of each field, occurrences of a term are discounted by the field's length and weighted; their sum over all fields
is saturated once, `s = tf / (k1 + tf)`, and counts as much as the term is rare, `ln(1 + (N - n + 0.5) / (n + 0.5))`, as
in Lucene.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.index_builder.lexical.config import LexicalConfig
from components.index_builder.lexical.similar import Words, build_words
from components.index_builder.lexical.terms import fingerprints, terms_of

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]
Texts: TypeAlias = Sequence[bytes] | NDArray[np.object_] | NDArray[np.bytes_]

# Saturations are in (0, 1) and kept in 16 bits: an error of 1e-5, far below what tells items apart.
SATURATION_STEPS = 65_535
# Words of an item's field that are read.
_MOST_WORDS = 512
_ITEMS_AT_ONCE = 50_000
# Their texts are tokenized side by side, each on one processor.
_FIELDS_AT_ONCE = 2


@dataclass(frozen=True)
class Field:
    """Texts of items in which queries are found.

    Attributes:
      name: of the field.
      weight: what an occurrence counts.
      b: how much a long text is discounted, from 0 to 1.
      texts: [items] of bytes, UTF-8; empty for an item without.
      joined: whether neighboring words are also terms written as one.
    """

    name: str
    weight: float
    b: float
    texts: Texts
    joined: bool = True


@dataclass(frozen=True)
class Postings:
    """Which items have a term, those first in which it counts most, items in their order where it counts as much.

    Attributes:
      fingerprints: [terms] int64, ascending.
      idf: [terms] float32, what the term counts at most.
      most: [terms] float32, its largest saturation in the whole catalog.
      starts: [terms + 2] int32; the items of term `t` are `items[starts[t]:starts[t + 1]]`. The last list is empty: it
        is that of no term.
      items: [postings] int32 positions.
      saturations: [postings] uint16, in steps of 1 / `SATURATION_STEPS`.
      words: the words of the catalog, to find those that are similar to a word that is not among them.
      count: how many items there are.
      average_lengths: by field, that of the items that have it, in words.
    """

    fingerprints: Longs
    idf: Floats
    most: Floats
    starts: Ints
    items: Ints
    saturations: NDArray[np.uint16]
    words: Words
    count: int
    average_lengths: Mapping[str, float] = field(default_factory=dict)

    def of(self, positions: NDArray[np.integer]) -> "Postings":
        """The lists of some of the items alone, which get new positions; what terms count stays that of all items.

        Args:
          positions: [some], ascending.
        """
        place = np.full(self.count, -1, np.int32)
        place[positions] = np.arange(len(positions), dtype=np.int32)
        moved = place[self.items]
        kept = moved >= 0
        before = np.concatenate([[0], np.cumsum(kept)])
        return replace(
            self,
            starts=before[self.starts].astype(np.int32),
            items=moved[kept],
            saturations=self.saturations[kept],
            count=len(positions),
        )


@dataclass(frozen=True)
class _Occurrences:
    """What one field of some items holds, an entry for each word and each pair of neighbors.

    Attributes:
      words: [distinct words] of bytes.
      lengths: [items] int32, in words.
      terms: [entries] int64 fingerprints, or places in an array of them.
      items: [entries] int32 positions.
      counts: [entries] float32, 1 for a word.
    """

    words: list[bytes]
    lengths: Ints
    terms: NDArray[np.signedinteger]
    items: Ints
    counts: Floats


def build_postings(
    fields: Sequence[Field],
    config: LexicalConfig,
    fold_plurals: bool,
    average_lengths: Mapping[str, float] | None = None,
) -> Postings:
    """The dictionary and the posting lists of items.

    Args:
      fields: each with a text for every item; at least one.
      config: what joined neighbors count, and how occurrences saturate.
      fold_plurals: whether plurals count as their singular.
      average_lengths: by field, those of a larger catalog that these items belong to; of a field that is not there,
        and by default, that of these items.
    """
    count = len(fields[0].texts)
    parts: list[tuple[Longs, list[_Occurrences]]] = []
    words: set[bytes] = set()
    with ThreadPoolExecutor(_FIELDS_AT_ONCE) as threads:
        for start in range(0, count, _ITEMS_AT_ONCE):
            read = list(threads.map(lambda one, at=start: _read(one, at, config.joined_weight, fold_plurals), fields))
            words.update(*(occurrences.words for occurrences in read))
            distinct, place = np.unique(np.concatenate([part.terms for part in read]), return_inverse=True)
            places = np.split(place.astype(np.int32), np.cumsum([len(part.terms) for part in read])[:-1])
            parts.append((distinct, [replace(part, terms=p, words=[]) for part, p in zip(read, places, strict=True)]))
    known = np.unique(np.concatenate([distinct for distinct, _ in parts]))
    lengths = [np.concatenate([read[number].lengths for _, read in parts]) for number in range(len(fields))]
    own = {one.name: _average(of_items) for one, of_items in zip(fields, lengths, strict=True)}
    averages = {**own, **(average_lengths or {})}
    norms = [_norms(one, of_items, averages[one.name]) for one, of_items in zip(fields, lengths, strict=True)]
    entries = _saturated(parts, known, norms, config.k1)
    term, item, saturation = (np.concatenate(values) for values in zip(*entries, strict=True))
    found = np.bincount(term, minlength=len(known) + 1)
    # Stable, and the entries come by item: of equal impacts the first item stays first.
    order = np.argsort((term.astype(np.int64) << 16) | (SATURATION_STEPS - saturation.astype(np.int64)), kind="stable")
    starts = np.concatenate([[0], np.cumsum(found)]).astype(np.int32)
    found, saturation = found[:-1], saturation[order]
    idf = np.log1p((count - found + 0.5) / (found + 0.5)).astype(np.float32)
    most = (saturation[starts[:-2]] / SATURATION_STEPS).astype(np.float32)
    texts = sorted(words)
    places = np.searchsorted(known, fingerprints(tf.constant(texts, tf.string)).numpy())
    similar = build_words(texts, places, found[places])
    return Postings(known, idf, most, starts, item[order], saturation, similar, count, averages)


def _read(field: Field, start: int, joined_weight: float, fold_plurals: bool) -> _Occurrences:
    texts = tf.constant(list(field.texts[start : start + _ITEMS_AT_ONCE]), tf.string)
    terms = terms_of(texts, _MOST_WORDS, fold_plurals)
    found = (
        [(terms.words, 1.0), (terms.joined, joined_weight)] if joined_weight and field.joined else [(terms.words, 1.0)]
    )
    return _Occurrences(
        words=tf.unique(terms.units.values).y.numpy().tolist(),
        lengths=terms.words.row_lengths().numpy().astype(np.int32),
        terms=np.concatenate([kind.values.numpy() for kind, _ in found]),
        items=np.concatenate([kind.value_rowids().numpy() for kind, _ in found]).astype(np.int32) + np.int32(start),
        counts=np.repeat([counts for _, counts in found], [len(kind.values) for kind, _ in found]).astype(np.float32),
    )


def _average(lengths: Ints) -> float:
    """The average length of a field of the items that have it."""
    return float(lengths[lengths > 0].mean()) if lengths.any() else 1.0


def _norms(field: Field, lengths: Ints, average: float) -> Floats:
    """What an occurrence counts in each item's field, [items]."""
    return (field.weight / (1 - field.b + field.b * np.maximum(lengths, 1) / average)).astype(np.float32)


def _saturated(
    parts: Sequence[tuple[Longs, list[_Occurrences]]], known: Longs, norms: Sequence[Floats], k1: float
) -> Iterator[tuple[Ints, Ints, NDArray[np.uint16]]]:
    """Term, item and saturation of each pair of term and item, the items in their order."""
    for distinct, read in parts:
        items = np.concatenate([part.items for part in read])
        weights = np.concatenate([norm[part.items] * part.counts for norm, part in zip(norms, read, strict=True)])
        keys = items.astype(np.int64) * len(distinct) + np.concatenate([part.terms for part in read])
        keys, number = np.unique(keys, return_inverse=True)
        frequency = np.bincount(number, weights)
        saturation = np.rint(frequency / (k1 + frequency) * SATURATION_STEPS).astype(np.uint16)
        term = np.searchsorted(known, distinct)[keys % len(distinct)].astype(np.int32)
        yield term, (keys // len(distinct)).astype(np.int32), saturation
