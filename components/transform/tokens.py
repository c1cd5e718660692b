"""Text to units and n-grams, in TensorFlow ops only, so that training and serving cannot differ.

A unit is what DPSR (arXiv 2006.02282) calls a unigram: one character of a script that writes no spaces
(Chinese, Japanese kana, Thai), or one whole word of letters and digits of any other script.
"""

import tensorflow as tf

# Never part of a unit, so a joined n-gram can be taken apart again.
JOINER = "_"
HEAD = "^"
TAIL = "$"

_UNSEGMENTED_CHARACTER = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}])"
_APOSTROPHE = r"['’`]"
_NOT_A_UNIT = r"[^\p{L}\p{N}\p{M}]+"
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

    Args:
      text: [batch] string.
      max_units: units after this many are cut off.
      fold_plurals: whether English plurals become singular ("shoes" is "shoe"), in words of ASCII letters.

    Returns:
      [batch, (units)] string.
    """
    text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace", replacement_char=ord(" "))
    text = tf.strings.lower(text, encoding="utf-8")
    text = tf.strings.regex_replace(text, _APOSTROPHE, "")
    text = tf.strings.regex_replace(text, _UNSEGMENTED_CHARACTER, r" \1 ")
    text = tf.strings.regex_replace(text, _NOT_A_UNIT, " ")
    for plural, singular in _PLURALS if fold_plurals else ():
        text = tf.strings.regex_replace(text, plural, singular)
    return tf.strings.split(text)[:, :max_units]


def bigrams(units: tf.RaggedTensor) -> tf.RaggedTensor:
    """Adjacent pairs with head and tail marks: "red shoes" gives ^_red, red_shoes, shoes_$.

    Args:
      units: [batch, (units)] string.

    Returns:
      [batch, (units + 1, or 0 for an empty text)] string.
    """
    pairs = tf.strings.ngrams(units, 2, separator=JOINER, pad_values=(HEAD, TAIL), padding_width=1)
    return tf.ragged.boolean_mask(pairs, tf.not_equal(pairs, HEAD + JOINER + TAIL))


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
