import itertools
import re

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.transform import tokens


def units_of(*texts: bytes | str, max_units: int = 32) -> list[list[str]]:
    return [[u.decode() for u in row] for row in tokens.tokenize(tf.constant(texts), max_units).to_list()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Women's RED shoes, size-7", ["womens", "red", "shoes", "size", "7"]),
        ("红色Nike跑鞋", ["红", "色", "nike", "跑", "鞋"]),
        ("Ünïcode ÉTÉ", ["ünïcode", "été"]),
        ("scarpe_da  corsa", ["scarpe", "da", "corsa"]),
        ("…!?", []),
        ("", []),
        (b"caf\xff bar", ["caf", "bar"]),
    ],
)
def test_units_are_words_or_characters_of_unsegmented_scripts(text, expected):
    assert units_of(text) == [expected]


def test_a_text_of_ten_thousand_words_is_cut():
    assert units_of("word " * 10_000, max_units=8) == [["word"] * 8]


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("shoes dresses boxes watches", "shoe dress box watch"),
        ("batteries women's", "battery women"),
        ("glass bus iris gas 5s usb", "glass bus iris gas 5s usb"),
        ("红色 shoes红", "红 色 shoe 红"),
    ],
)
def test_plurals_fold_to_their_singular(plural, singular):
    folded = tokens.tokenize(tf.constant([plural]), 32, fold_plurals=True).to_list()[0]
    assert [unit.decode() for unit in folded] == singular.split()
    assert units_of(singular) == [singular.split()]


words = st.text(alphabet="abcXYZ019 -'_红色手", max_size=20)


@settings(max_examples=30, deadline=None)
@given(st.lists(words, min_size=1, max_size=5))
def test_units_equal_a_plain_python_tokenizer(texts):
    def oracle(text):
        text = re.sub(r"([红色手])", r" \1 ", text.lower().replace("'", ""))
        return re.sub(r"[^a-z0-9红色手]+", " ", text).split()

    assert units_of(*texts) == [oracle(text) for text in texts]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "bc", "红"]), max_size=6), min_size=1, max_size=4))
def test_bigrams_and_phrases_equal_plain_python(texts):
    units = tf.ragged.constant(texts, ragged_rank=1, dtype=tf.string)
    marked = [["^", *text, "$"] for text in texts]
    pairs = [["_".join(p) for p in itertools.pairwise(text)] if len(text) > 2 else [] for text in marked]
    assert [[p.decode() for p in row] for row in tokens.bigrams(units).to_list()] == pairs
    runs = [["_".join(text[i : i + n]) for n in (2, 3) for i in range(len(text) - n + 1)] for text in texts]
    assert [[p.decode() for p in row] for row in tokens.phrases(units, 3).to_list()] == runs
