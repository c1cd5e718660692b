"""Words of the catalog that look like a word that is not among them: misspelled, or in another form.

Words are alike by the character bigrams that they share, marks of the word's begin and end among them (the Dice
coefficient of the two sets). Candidates are found by posting lists of (bigram, length of the word) over words, not
items. Words with digits are left out: the model number next to the one asked for is another thing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.index_builder.lexical.terms import fingerprints
from components.index_builder.search_index import gather_uncopied
from components.transform.ragged import rows_of

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

# Below it, most of the words that are found mean something else.
LEAST_SIMILARITY: Final = 0.6
# How many characters longer or shorter a similar word is at most.
_OTHER_LENGTHS: Final = 2
_SHORTEST, _LONGEST = 3, 40
# Words that are read of one list, the frequent ones first: what is looked for is most likely one of these.
_MOST_WORDS: Final = 1000
_HEAD, _TAIL = "^", "$"
_NUMBERED = r".*\p{N}.*"
# Similarities as whole numbers, so that equal ones can be told apart by the word.
_STEPS, _NUMBERS = 10**6, 2**32


@dataclass(frozen=True)
class Words:
    """Words by their bigrams, numbered from the most frequent on.

    Attributes:
      terms: [words] int32, each one's place in the dictionary of terms.
      sizes: [words] int32, how many distinct bigrams it has.
      keys: [lists] int64, ascending: fingerprints of a bigram and the length of words.
      starts: [lists + 2] int32; the last list is empty.
      numbers: [entries] int32, ascending in each list.
    """

    terms: Ints
    sizes: Ints
    keys: Longs
    starts: Ints
    numbers: Ints


def build_words(words: list[bytes], terms: Ints, found: NDArray[np.integer]) -> Words:
    """The bigrams of words.

    Args:
      words: distinct.
      terms: [words], their places in the dictionary.
      found: [words], how many items have each.
    """
    alike = can_be_similar(tf.constant(words, tf.string)).numpy()
    texts = np.array(words, object)[alike]
    terms, found = terms[alike], found[alike]
    order = np.lexsort([texts, -found]) if len(texts) else np.zeros(0, np.int64)
    grams, lengths = _bigrams(tf.constant(texts[order], tf.string))
    keys = _keys(grams, lengths)
    distinct, place = np.unique(keys.values.numpy(), return_inverse=True)
    number, place = np.divmod(np.unique(keys.value_rowids().numpy() * len(distinct) + place), max(1, len(distinct)))
    sizes = np.bincount(number, minlength=len(order))
    starts = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=len(distinct) + 1))])
    return Words(
        terms[order].astype(np.int32),
        sizes.astype(np.int32),
        distinct,
        starts.astype(np.int32),
        number[np.argsort(place, kind="stable")].astype(np.int32),
    )


def can_be_similar(words: tf.Tensor) -> tf.Tensor:
    """Whether similar words are looked for at all: [...] string to [...] bool."""
    lengths = tf.strings.length(words, unit="UTF8_CHAR")
    return (lengths >= _SHORTEST) & (lengths <= _LONGEST) & ~tf.strings.regex_full_match(words, _NUMBERED)


def _bigrams(words: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """Bigrams of characters [words, (characters + 1)] and how many characters each word has."""
    characters = tf.strings.unicode_split(words, "UTF-8")
    grams = tf.strings.ngrams(characters, 2, separator="", pad_values=(_HEAD, _TAIL), padding_width=1)
    return grams, characters.row_lengths()


def _keys(grams: tf.RaggedTensor, lengths: tf.Tensor, longer: Sequence[int] = (0,)) -> tf.RaggedTensor:
    """Fingerprints of bigrams as those of words that are so much longer, [words, (bigrams * longer)] int64."""
    of_gram = tf.gather(lengths, rows_of(grams))[:, tf.newaxis] + tf.constant([*longer], tf.int64)
    texts = tf.strings.join(
        [tf.tile(grams.values[:, tf.newaxis], [1, len(longer)]), tf.strings.as_string(of_gram)], separator=" "
    )
    keys = tf.reshape(fingerprints(texts), [-1])
    return tf.RaggedTensor.from_row_splits(keys, grams.row_splits * len(longer), validate=False)


class SimilarWords(tf.Module):
    """Finds the most similar words of a catalog.

    Args:
      words: of the catalog.
      most: how many are found for a word.
    """

    def __init__(self, words: Words, most: int):
        super().__init__()
        self._most = most
        self._count = len(words.terms)
        # The last word is no word: it fills up where there are fewer than `most`.
        self._terms = tf.Variable(np.append(words.terms, -1).astype(np.int32), trainable=False, name="similar_terms")
        self._sizes = tf.Variable(np.append(words.sizes, 1).astype(np.int32), trainable=False, name="similar_sizes")
        self._keys = tf.Variable(words.keys, trainable=False, name="similar_keys")
        self._starts = tf.Variable(words.starts, trainable=False, name="similar_starts")
        self._numbers = tf.Variable(words.numbers, trainable=False, name="similar_numbers")

    def find(self, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The most similar words of each, best first, of equally similar ones the most frequent.

        Args:
          words: [words] string.

        Returns:
          Places in the dictionary of terms [words, most] int32, -1 where there are fewer, and similarities from
          `LEAST_SIMILARITY` to 1 [words, most] float32, 0 there.
        """
        grams, lengths = _bigrams(words)
        keys = _keys(grams, lengths, range(-_OTHER_LENGTHS, _OTHER_LENGTHS + 1))
        return tf.map_fn(
            self._find_one,
            keys,
            fn_output_signature=(
                tf.TensorSpec([self._most], tf.int32),
                tf.TensorSpec([self._most], tf.float32),
            ),
        )

    def _find_one(self, keys: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        keys = tf.unique(keys).y
        lists = place_of(self._keys, keys)
        starts = tf.gather(self._starts, lists)
        ends = tf.minimum(tf.gather(self._starts, lists + 1), starts + _MOST_WORDS)
        numbers, _, shared = tf.unique_with_counts(tf.gather(self._numbers, tf.ragged.range(starts, ends).values))
        size = tf.size(keys) // (2 * _OTHER_LENGTHS + 1)
        dice = 2 * tf.cast(shared, tf.float32) / tf.cast(size + tf.gather(self._sizes, numbers), tf.float32)
        steps = tf.cast(tf.round(dice * _STEPS), tf.int64)
        ranked = steps * _NUMBERS + (_NUMBERS - 1 - tf.cast(numbers, tf.int64))
        ranked = tf.boolean_mask(ranked, dice >= LEAST_SIMILARITY)
        ranked = tf.concat([ranked, tf.fill([self._most], tf.constant(_NUMBERS - 1 - self._count, tf.int64))], axis=0)
        best = tf.math.top_k(ranked, self._most).values
        numbers = tf.cast(_NUMBERS - 1 - best % _NUMBERS, tf.int32)
        return tf.gather(self._terms, numbers), tf.cast(best // _NUMBERS, tf.float32) / _STEPS


def place_of(ascending: tf.Variable, values: tf.Tensor) -> tf.Tensor:
    """Where values [some] int64 are among ascending ones: [some] int32, one past the last for what is not there."""
    count = ascending.shape[0]
    place = tf.searchsorted(tf.convert_to_tensor(ascending), values)
    if count == 0:
        return tf.fill(tf.shape(values), 0)
    there = gather_uncopied(ascending, tf.minimum(place, count - 1)) == values
    return tf.where(there, place, count)
