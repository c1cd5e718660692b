"""What a model has of terms' weights before training: how rare each term is in the catalog."""

import numpy as np
import tensorflow as tf

from schema import transformed
from trainer.item_table import ItemTable
from trainer.layers.embedding import trim
from trainer.layers.lexical import rarity
from trainer.models.towers import SUBWORDS, TOKENS, Towers

# What a bigram or a character n-gram counts beside a unigram of equal rarity, before training: a bigram only repeats
# what its two units say, and a word has several n-grams.
_BIGRAM_SHARE = 0.1
_SUBWORD_SHARE = 0.5
_ITEMS_AT_ONCE = 8192


def document_frequency(towers: Towers, table: ItemTable) -> dict[str, np.ndarray]:
    """By id space how many items' titles, brands and categories hold each term, [ids + 1]."""
    sizes = {TOKENS: towers.tokens.size, SUBWORDS: towers.subwords.size}
    frequency = {space: np.zeros(size + 1, np.int64) for space, size in sizes.items()}
    for start in range(0, table.size, _ITEMS_AT_ONCE):
        columns = {
            name: tf.constant(column[:-1][start : start + _ITEMS_AT_ONCE]) for name, column in table.columns.items()
        }
        words = [towers.title_tokens(columns), trim(columns[transformed.ATTRIBUTE_UNIGRAMS])]
        for space, terms in ((TOKENS, words), (SUBWORDS, [trim(columns[transformed.TITLE_SUBWORDS])])):
            ids = np.sort(tf.concat(terms, axis=1), axis=1)
            first = np.pad(ids[:, 1:] != ids[:, :-1], [[0, 0], [1, 0]], constant_values=True)[:, : ids.shape[1]]
            frequency[space] += np.bincount(ids[first], minlength=len(frequency[space]))
    return frequency


def start_from_catalog(towers: Towers, table: ItemTable, encoded: np.ndarray | None) -> None:
    """Starts what the model has of terms' weights and of a text encoder from how rare each term is in the catalog.

    Args:
      towers: built.
      table: the catalog.
      encoded: [unigrams, dim] of unit length, the text encoder's vectors; None for no encoder.
    """
    if towers.lexical is None and encoded is None:
        return
    frequency = document_frequency(towers, table)
    if towers.encoded is not None and encoded is not None:
        towers.encoded.start_from(encoded, rarity(frequency[TOKENS], table.size))
    if towers.lexical is None:
        return
    is_unigram = np.arange(len(frequency[TOKENS])) <= towers.sizes.unigrams
    shares = {TOKENS: np.where(is_unigram, 1.0, _BIGRAM_SHARE), SUBWORDS: np.array(_SUBWORD_SHARE)}
    for space, counts in frequency.items():
        towers.lexical.start_from_frequencies(space, counts, table.size, shares[space])
