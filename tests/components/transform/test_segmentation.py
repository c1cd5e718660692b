import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.transform import segmentation
from components.transform.tokens import tokenize
from tests.components.transform import segmentation_oracle as oracle

UNITS = ["red", "new", "york", "shoe", "红", "色", "手", "机"]
UNKNOWN = -9000
UNKNOWN_SCORE = tf.constant(UNKNOWN, tf.int64)


def segment_in_graph(texts: list[list[str]], scores: dict[str, int]) -> list[list[str]]:
    units = tf.ragged.constant(texts, ragged_rank=1, dtype=tf.string)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(scores), tf.string), tf.constant(list(scores.values()), tf.int64)
        ),
        default_value=segmentation.IMPOSSIBLE,
    )

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.string)])
    def run(units: tf.RaggedTensor) -> tf.RaggedTensor:
        runs, lengths = segmentation.candidate_segments(units)
        looked_up = [table.lookup(run) for run in runs]
        looked_up[0] = tf.where(looked_up[0] == segmentation.IMPOSSIBLE, UNKNOWN_SCORE, looked_up[0])
        return segmentation.pick_segments(runs, segmentation.best_cut(looked_up, lengths))

    return [[s.decode() for s in row] for row in run(units).to_list()]


phrases = st.lists(st.sampled_from(UNITS), min_size=1, max_size=4).map("_".join)
lexicons = st.dictionaries(phrases, st.integers(-12000, -1), min_size=1, max_size=20)
texts = st.lists(st.lists(st.sampled_from(UNITS), max_size=9), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(texts, lexicons)
def test_graph_finds_the_cut_that_trying_every_cut_finds(texts, lexicon):
    expected = [oracle.segment(text, lexicon, UNKNOWN) if text else [] for text in texts]
    assert segment_in_graph(texts, lexicon) == expected


@settings(max_examples=15, deadline=None)
@given(texts)
def test_equal_scores_are_cut_alike(texts):
    lexicon = {"red": -2, "new": -2, "york": -2, "new_york": -4, "red_new_york": -6, "红_色": -4}
    expected = [oracle.segment(text, lexicon, UNKNOWN) if text else [] for text in texts]
    assert segment_in_graph(texts, lexicon) == expected


@pytest.mark.parametrize(
    ("text", "lexicon", "expected"),
    [
        ("New York shoes", {"new_york": -3000, "shoes": -2000}, ["new_york", "shoes"]),
        ("红色手机", {"红_色": -3000, "手_机": -2500}, ["红_色", "手_机"]),
        ("红色iphone手机壳", {"手_机_壳": -4000, "iphone": -3000}, ["红", "色", "iphone", "手_机_壳"]),
    ],
)
def test_one_lexicon_cuts_english_words_and_chinese_characters(text, lexicon, expected):
    units = [u.decode() for u in tokenize(tf.constant([text]), 32).to_list()[0]]
    assert segment_in_graph([units], lexicon) == [expected]


def test_scores_are_log_likelihood_less_the_penalty_per_join():
    scores = segmentation.segment_scores(
        tf.constant([8, 0], tf.int64), tf.constant(100, tf.int64), segment_units=3, phrase_penalty=1.5
    )
    assert scores.numpy()[0] == round(1000 * (math.log(0.08) - 3.0))
    assert scores.numpy()[1] == segmentation.IMPOSSIBLE
    single = segmentation.segment_scores(
        tf.constant([0], tf.int64), tf.constant(100, tf.int64), segment_units=1, phrase_penalty=1.5
    )
    assert single.numpy()[0] == round(1000 * math.log(0.005))


def test_a_batch_of_empty_texts_has_no_segments():
    assert segment_in_graph([[], []], {"red": -1}) == [[], []]


def test_padding_of_longer_neighbors_changes_no_cut():
    lexicon = {"new_york": -1, "red": -5, "new": -5, "york": -5}
    alone = segment_in_graph([["red", "new", "york"]], lexicon)
    beside = segment_in_graph([["red", "new", "york"], ["red"] * 30, []], lexicon)
    assert beside[0] == alone[0]
    assert beside[1] == ["red"] * 30
    assert beside[2] == []
    assert np.shape(alone) == (1, 2)


def test_a_batch_of_no_texts_has_no_segments():
    assert segment_in_graph([], {"red": -1}) == []
