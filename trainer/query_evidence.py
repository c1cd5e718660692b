"""Learns what query terms say of brand and category: from the items that training requests led to, and the catalog.

Evidence for a term is which items were clicked or ordered by queries that hold it, and, for words of brand and category
names, which items bear them: a new brand has no clicks yet. Shares are taken with absolute discounting (Ney, Essen and
Kneser, 1994): every value that was seen gives up half a click to the values that were not, so that ten clicks on ten
brands are no evidence for those ten. A term's verdict is the smallest set of values that covers most of its mass, if
that set is small; otherwise the term says nothing ("gift").
"""

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from schema import features, transformed
from trainer.config import QueryUnderstandingConfig
from trainer.item_table import ItemTable
from trainer.models import InputSizes
from trainer.query_understanding import FIELDS, SAYS_NOTHING, QueryUnderstanding, fingerprints, pairs_of

# Evidence is a set of triples: term, item row, weight.
Evidence = tuple[np.ndarray, np.ndarray, np.ndarray]

_BLOCK = 16_384
_DISCOUNT = 0.5
# Sums of shares are compared with settings; this is far above their rounding errors and far below what matters.
_ROUNDING = 1e-6


def learn(
    requests: Iterable[Mapping[str, tf.Tensor]], table: ItemTable, sizes: InputSizes, config: QueryUnderstandingConfig
) -> QueryUnderstanding:
    """Verdicts of all terms with enough evidence.

    Args:
      requests: parsed training requests in chunks of any size: query unigrams and bigrams, and the items that were
        clicked or better.
      table: the catalog.
      sizes: of the id spaces that units and bigrams are of.
      config: when evidence is strong.
    """
    known_units = sizes.unigrams - transformed.UNIGRAMS.oov_buckets
    known_pairs = sizes.bigrams - transformed.BIGRAMS.oov_buckets
    units, pairs, keys, items = _read(requests, known_units)
    query_keys, query_numbers = np.unique(keys, return_inverse=True)
    # One id space: 0 is no term, then units, pairs and whole queries.
    first_pair, first_query = known_units, known_units + known_pairs
    queries = np.where(keys < 0, 0, first_query + 1 + query_numbers)[:, np.newaxis]
    terms = np.concatenate([_known(units, known_units, 0), _known(pairs, known_pairs, first_pair), queries], axis=1)
    clicks = _counted(_distinct(terms), np.where(items <= table.size, items, 0))
    named = named_in_catalog(table, known_units, known_pairs, config.catalog_support)
    term, row, weight = (np.concatenate(parts) for parts in zip(clicks, named, strict=True))

    found, term = np.unique(term, return_inverse=True)
    support = np.bincount(term, weight, minlength=len(found))
    verdicts = np.zeros((len(found), len(FIELDS) * config.max_values), np.int32)
    for number, name in enumerate(FIELDS):
        values = table.columns[name][:-1]
        block = slice(number * config.max_values, (number + 1) * config.max_values)
        verdicts[:, block] = likely_values(term, values[row - 1], weight, support, values, config)

    enough = support >= config.min_support - _ROUNDING
    rows, allowed = _shared_rows(verdicts[enough])
    row_of = np.zeros(first_query + 1 + len(query_keys), np.int32)
    row_of[found[enough]] = rows
    return QueryUnderstanding.of(
        unit_rows=row_of[: known_units + 1],
        pair_rows=np.concatenate([[0], row_of[first_pair + 1 : first_query + 1]]).astype(np.int32),
        query_rows={
            int(key): int(row)
            for key, row in zip(query_keys, row_of[first_query + 1 :], strict=True)
            if row and key >= 0
        },
        allowed=dict(zip(FIELDS, np.split(allowed, len(FIELDS), axis=1), strict=True)),
    )


def _read(requests: Iterable[Mapping[str, tf.Tensor]], known: int) -> tuple[np.ndarray, ...]:
    """Units, pairs, fingerprints and items of all requests."""
    parts = []
    for batch in requests:
        units, bigrams = batch[transformed.QUERY_UNIGRAMS], batch[transformed.QUERY_BIGRAMS]
        parts.append((units, pairs_of(units, bigrams), fingerprints(units, known), batch[features.ITEMS]))
    return tuple(np.concatenate([np.asarray(value) for value in column]) for column in zip(*parts, strict=True))


def _known(ids: np.ndarray, known: int, first: int) -> np.ndarray:
    """Term ids of shifted ids; 0 for padding and for hash buckets, which stand for many words."""
    return np.where((ids > 0) & (ids <= known), first + ids.astype(np.int64), 0)


def _distinct(terms: np.ndarray) -> np.ndarray:
    """Each row's terms once, the rest 0."""
    terms = np.sort(terms, axis=1)
    terms[:, 1:][terms[:, 1:] == terms[:, :-1]] = 0
    return terms


def _counted(terms: np.ndarray, items: np.ndarray) -> Evidence:
    """How often each term came with each item.

    Args:
      terms: [requests, terms] int64, 0 for none.
      items: [requests, items] shifted item rows, 0 for none.
    """
    base = int(items.max(initial=0)) + 1
    keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for start in range(0, len(terms), _BLOCK):
        block, clicked = terms[start : start + _BLOCK], items[start : start + _BLOCK]
        both = (block[:, :, np.newaxis] > 0) & (clicked[:, np.newaxis, :] > 0)
        pairs = (block[:, :, np.newaxis] * base + clicked[:, np.newaxis, :])[both]
        new, times = np.unique(pairs, return_counts=True)
        keys, inverse = np.unique(np.concatenate([keys, new]), return_inverse=True)
        counts = np.bincount(inverse, np.concatenate([counts, times]), minlength=len(keys)).astype(np.int64)
    return keys // base, keys % base, counts.astype(np.float64)


def named_in_catalog(table: ItemTable, known_units: int, known_pairs: int, most: float) -> Evidence:
    """Items that bear the words of brand and category names, in these names or in their titles.

    A word of a name may mean something else elsewhere, which is why titles count. Pairs are known from titles only, and
    only such where both units are in the item's names.

    Args:
      table: the catalog.
      known_units: units above this are hash buckets.
      known_pairs: pairs above this are hash buckets.
      most: clicks that all items of a term together stand for, at most; an item never stands for more than one.
    """
    names = table.columns[transformed.ATTRIBUTE_UNIGRAMS][:-1]
    titles = table.columns[transformed.TITLE_UNIGRAMS][:-1]
    pairs = np.asarray(pairs_of(tf.constant(titles), tf.constant(table.columns[transformed.TITLE_BIGRAMS][:-1])))
    named = np.zeros(titles.shape, bool)
    for column in names.T:
        named |= (titles == column[:, np.newaxis]) & (titles > 0)
    pair_terms = _known(np.where(named[:, 1:] & named[:, :-1], pairs, 0), known_pairs, known_units)
    name_terms, title_terms = _known(names, known_units, 0), _known(titles, known_units, 0)
    is_name = np.zeros(known_units + known_pairs + 1, bool)
    is_name[name_terms] = is_name[pair_terms] = True
    is_name[0] = False
    if not most:
        is_name[:] = False
    terms = _distinct(np.concatenate([name_terms, title_terms, pair_terms], axis=1))
    row, column = np.nonzero(is_name[terms])
    term = terms[row, column]
    items = np.bincount(term, minlength=len(is_name))[term]
    return term, row + 1, np.minimum(items, most) / items


def likely_values(
    term: np.ndarray,
    value: np.ndarray,
    weight: np.ndarray,
    support: np.ndarray,
    catalog: np.ndarray,
    config: QueryUnderstandingConfig,
) -> np.ndarray:
    """The smallest sets of values that cover a term's mass, [terms, max_values] int32, padded with 0.

    All 0 for a term whose set would be larger, or hold 0 (who takes items that lack the field does not name it), or
    hold the whole catalog.

    Args:
      term: [evidence] int, below the number of terms.
      value: [evidence] int, values of one field.
      weight: [evidence] float.
      support: [terms] float, the sum of a term's weights.
      catalog: [items] int, the field's value of every item: how likely a value is where nothing else is known.
      config: how much to cover, with how many.
    """
    base = int(catalog.max(initial=0)) + 1
    share = np.bincount(catalog, minlength=base) / max(len(catalog), 1)
    keys, inverse = np.unique(term * base + value, return_inverse=True)
    mass = np.round(np.bincount(inverse, weight, minlength=len(keys)), 9)
    terms, values = keys // base, keys % base
    given_up = np.minimum(mass, _DISCOUNT)
    lost = np.bincount(terms, given_up, minlength=len(support))
    likely = (mass - given_up + lost[terms] * share[values]) / support[terms]

    order = np.lexsort((values, -mass, terms))
    terms, values, likely = terms[order], values[order], likely[order]
    starts = np.searchsorted(terms, np.arange(len(support)))
    rank = np.arange(len(terms)) - starts[terms]
    cumulative = np.cumsum(likely)
    before = cumulative - likely
    before -= before[starts][terms] if len(terms) else 0.0
    # A value is in the set where those before it do not cover enough.
    member = before < config.coverage - _ROUNDING
    size = np.bincount(terms, member, minlength=len(support))
    covered = np.bincount(terms, likely * member, minlength=len(support)) >= config.coverage - _ROUNDING
    unnamed = np.bincount(terms, member & (values == 0), minlength=len(support)) > 0
    everything = np.bincount(terms, share[values] * member, minlength=len(support)) >= 1.0 - _ROUNDING
    good = covered & (size <= config.max_values) & ~unnamed & ~everything
    sets = np.zeros((len(support), config.max_values), np.int32)
    kept = member & good[terms]
    sets[terms[kept], rank[kept]] = values[kept]
    return sets


def _shared_rows(verdicts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct verdicts after the two that always are, and the row of each."""
    distinct, inverse = np.unique(verdicts, axis=0, return_inverse=True)
    speaks = distinct.any(axis=1)
    rows = np.where(speaks, SAYS_NOTHING + np.cumsum(speaks), SAYS_NOTHING)
    fixed = np.zeros((SAYS_NOTHING + 1, verdicts.shape[1]), np.int32)
    return rows[inverse.ravel()].astype(np.int32), np.concatenate([fixed, distinct[speaks]])
