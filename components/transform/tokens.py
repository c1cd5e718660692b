"""Text to units and n-grams, in TensorFlow ops only, so that training and serving cannot differ.

A unit is what DPSR (arXiv 2006.02282) calls a unigram: one character of a script that writes no spaces
(Chinese, Japanese kana, Thai), or one whole word of letters and digits of any other script. Words of letters and
digits give their parts and themselves, numbers with a unit of measure give the number and both [ours].
"""

import tensorflow as tf

from components.transform.numbers import FRACTION_SLASH, MEASURE_MARK, mark_measures, spell_out_signs
from components.transform.ragged import first_of_rows, kept, split_at_spaces

# Never part of a unit, so a joined n-gram can be taken apart again.
JOINER = "_"
HEAD = "^"
TAIL = "$"

_UNSEGMENTED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]"
_APOSTROPHE = r"['’`]"
_HYPHEN = "[‐‑]"
# What is no separator within a word: more than one character, or one that is none of these four.
_SEPARATOR = r"[^\p{L}\p{N}\p{M}]{2,}|[^\p{L}\p{N}\p{M}\-./,]"
# Between a letter and a digit of one word, with or without a separator.
_PART_MARK = "\x01"
_LETTER = rf"[^0-9 \-.{_PART_MARK}{MEASURE_MARK}{FRACTION_SLASH}]"
_BETWEEN_PARTS = rf"[\-{_PART_MARK}]"
# English plurals after Harman (JASIS 1991), whose rules touch "s" endings only: glasses, batteries, shoes.
_PLURALS = (
    (r"\b([a-z]+(?:ss|x|ch|sh))es\b", r"\1"),
    (r"\b([a-z]{2,})ies\b", r"\1y"),
    (r"\b([a-z]{2,}[a-hj-rtv-z])s\b", r"\1"),
)


def tokenize(text: tf.Tensor, max_units: int, fold_plurals: bool = False) -> tf.RaggedTensor:
    """Units of each text.

    Lower-cases, drops apostrophes ("women's" is "womens"), parts at anything that is no letter, digit or mark,
    and makes each character of an unsegmented script a unit of its own. Bytes that are not UTF-8 part units.
    A word of letters and digits gives its parts and then itself without separators: "HL-2130" is hl, 2130, hl2130.
    A number gives itself, and once more with the unit of measure that follows: "1.5 liters" is 1.5, 1.5l.

    Args:
      text: [batch] string.
      max_units: units after this many are cut off.
      fold_plurals: whether English plurals become singular ("shoes" is "shoe"), in words of ASCII letters.

    Returns:
      [batch, (units)] string.
    """
    # Control characters become spaces, and so can be marks below.
    text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", "replace", ord(" "), replace_control_characters=True)
    text = tf.strings.lower(tf.strings.join([" ", text, " "]), encoding="utf-8")
    text = tf.strings.regex_replace(text, _HYPHEN, "-")

    def in_words(text: tf.Tensor) -> tf.Tensor:
        text = tf.strings.regex_replace(text, _APOSTROPHE, "")
        text = tf.strings.regex_replace(text, f"({_UNSEGMENTED})", r" \1 ")
        return tf.strings.regex_replace(text, _SEPARATOR, "  ")

    def folded(text: tf.Tensor) -> tf.Tensor:
        for plural, singular in _PLURALS if fold_plurals else ():
            text = tf.strings.regex_replace(text, plural, singular)
        return text

    def with_numbers() -> tuple[tf.Tensor, tf.Tensor]:
        words = split_at_spaces(folded(_mark_parts(mark_measures(in_words(spell_out_signs(text))))))
        return _units_of_words(words)

    def without_numbers() -> tuple[tf.Tensor, tf.Tensor]:
        parted = tf.strings.regex_replace(in_words(tf.strings.regex_replace(text, "×", "x")), "[-.,/]", " ")
        units = split_at_spaces(folded(parted))
        return units.values, units.row_splits

    # Most of the work is about numbers, and most queries have none.
    numbered = tf.reduce_any(tf.strings.regex_full_match(text, ".*[0-9].*"))
    units, splits = tf.cond(numbered, with_numbers, without_numbers)
    return first_of_rows(tf.RaggedTensor.from_row_splits(units, splits, validate=False), max_units)


def _mark_parts(text: tf.Tensor) -> tf.Tensor:
    """Puts a mark between letters and digits of a word; separators between other parts stay, dots as hyphens."""
    # A slash parts words: "ps3/ps4" are two, each of letters and digits.
    text = tf.strings.regex_replace(text, "[,/]", " ")
    text = tf.strings.regex_replace(text, rf"([0-9])[\-.]?({_LETTER})", rf"\1{_PART_MARK}\2")
    text = tf.strings.regex_replace(text, rf"({_LETTER})[\-.]?([0-9])", rf"\1{_PART_MARK}\2")
    return tf.strings.regex_replace(text, r"([^0-9])\.", r"\1-")


def _units_of_words(words: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Words of each text, [batch, (words)] string, to units [units] string and row splits of the texts."""
    parts = tf.strings.regex_replace(words.values, _BETWEEN_PARTS, " ")
    both = tf.strings.join([parts, tf.strings.regex_replace(words.values, _BETWEEN_PARTS, "")], separator=" ")
    mixed = tf.strings.regex_full_match(words.values, f".*{_PART_MARK}.*")
    units = split_at_spaces(tf.where(mixed, both, parts))
    return tf.strings.regex_replace(units.values, MEASURE_MARK, ""), tf.gather(units.row_splits, words.row_splits)


def bigrams(units: tf.RaggedTensor) -> tf.RaggedTensor:
    """Adjacent pairs with head and tail marks: "red shoes" gives ^_red, red_shoes, shoes_$.

    Args:
      units: [batch, (units)] string.

    Returns:
      [batch, (units + 1, or 0 for an empty text)] string.
    """
    pairs = tf.strings.ngrams(units, 2, separator=JOINER, pad_values=(HEAD, TAIL), padding_width=1)
    return kept(pairs, tf.not_equal(pairs.values, HEAD + JOINER + TAIL))


def neighbors(units: tf.RaggedTensor) -> tf.RaggedTensor:
    """Adjacent pairs written as one word: [batch, (units)] string to [batch, (units - 1, at least 0)]."""
    return tf.strings.ngrams(units, 2, separator="")


def phrases(units: tf.RaggedTensor, max_length: int) -> tf.RaggedTensor:
    """Every run of 2 to `max_length` adjacent units, joined: the candidates of the phrase lexicon.

    Args:
      units: [batch, (units)] string.
      max_length: longest phrase, in units.

    Returns:
      [batch, (phrases)] string.
    """
    runs = [tf.strings.ngrams(units, length, separator=JOINER) for length in range(2, max_length + 1)]
    return tf.concat(runs, axis=1)


def subwords(units: tf.RaggedTensor, n: int = 4, max_subwords: int = 128) -> tf.RaggedTensor:
    """Character n-grams of words, with marks where a word begins and ends: "green" gives ^gre, gree, reen, een$.

    A word that is shorter gives itself with both marks (^x$). Single characters of unsegmented scripts give none, nor
    do units with digits: the words within them are units of their own. After fastText (arXiv 1607.04606).

    Args:
      units: [batch, (units)] string, of `tokenize`.
      n: characters of an n-gram, marks counted.
      max_subwords: n-grams after this many of a text are cut off.

    Returns:
      [batch, (subwords)] string; one that is in two words, or twice in one, is there twice.
    """
    words = kept(units, ~_is_no_word(units.values))
    # Units have no white space. `tf.strings.unicode_split` takes more than twice as many ops.
    spaced = tf.strings.regex_replace(tf.strings.join([HEAD, words.values, TAIL]), "(.)", r"\1 ")
    grams = tf.strings.ngrams(split_at_spaces(spaced), n, separator="", preserve_short_sequences=True)
    in_texts = tf.gather(grams.row_splits, words.row_splits)
    return first_of_rows(tf.RaggedTensor.from_row_splits(grams.values, in_texts, validate=False), max_subwords)


def _is_no_word(units: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_full_match(units, rf".*\p{{N}}.*|{_UNSEGMENTED}")
