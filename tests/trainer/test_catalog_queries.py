import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from schema import features, transformed
from tests.small_shop import small_shop
from trainer.catalog_queries import draw_queries, left_packed, subwords_of_words
from trainer.config import CatalogQueriesConfig

WIDTHS = {
    transformed.QUERY_UNIGRAMS: 6,
    transformed.QUERY_BIGRAMS: 7,
    transformed.QUERY_SEGMENTS: 6,
    transformed.QUERY_SUBWORDS: 24,
    features.REAL_TIME_ITEMS: 2,
}


# Word w has the n-grams 2w and 2w + 1.
SUBWORDS = tf.constant([[2 * word, 2 * word + 1] if word else [0, 0] for word in range(100)], tf.int32)


def catalog(titles: list[list[int]], attributes: list[list[int]], width: int = 5) -> dict[str, tf.Tensor]:
    """Bigram ids are made so that each tells its units: 100 * left + right, with 0 for head and tail."""

    def padded(rows, to):
        return tf.constant([(row + [0] * to)[:to] for row in rows], tf.int32)

    bigrams = [
        [100 * a + b for a, b in zip([0, *title], [*title, 0], strict=True)] if title else [] for title in titles
    ]
    return {
        transformed.TITLE_UNIGRAMS: padded(titles, width),
        transformed.TITLE_BIGRAMS: padded(bigrams, width + 1),
        transformed.ATTRIBUTE_UNIGRAMS: padded(attributes, width),
    }


ids = st.lists(st.integers(1, 99), max_size=5)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=4), st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_query_is_neighboring_title_words_and_some_attributes(rows, longest, share):
    titles, attributes = [row[0] for row in rows], [row[1] for row in rows]
    config = CatalogQueriesConfig(longest=longest, attribute_share=share, misspelled_share=0.0)
    made = draw_queries(catalog(titles, attributes), SUBWORDS, WIDTHS, config)
    assert {name: matrix.shape for name, matrix in made.items()} == {n: (len(rows), w) for n, w in WIDTHS.items()}
    np.testing.assert_array_equal(made[features.REAL_TIME_ITEMS], np.zeros((len(rows), 2)))
    np.testing.assert_array_equal(made[transformed.QUERY_SEGMENTS], made[transformed.QUERY_UNIGRAMS])
    for title, attribute, words, pairs, subwords in zip(
        titles,
        attributes,
        made[transformed.QUERY_UNIGRAMS].numpy().tolist(),
        made[transformed.QUERY_BIGRAMS].numpy().tolist(),
        made[transformed.QUERY_SUBWORDS].numpy().tolist(),
        strict=True,
    ):
        words = words[: words.index(0)] if 0 in words else words
        grams = [gram for word in words for gram in (2 * word, 2 * word + 1)]
        assert subwords[: len(grams)] == grams
        pairs = [pair for pair in pairs if pair]
        spans = [title[start : start + n] for n in range(longest + 1) for start in range(len(title) - n + 1)]
        fitting = [span for span in spans if words[: len(span)] == span]
        assert any(
            pairs == [100 * a + b for a, b in itertools.pairwise(span)]
            and (share or len(span) == len(words))
            and set(words[len(span) :]) <= set(attribute)
            for span in fitting
        ), (title, attribute, words, pairs)
        if title:
            assert words


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=5))
def test_packing_keeps_the_order_of_the_ids(rows):
    expected = [([i for i in row if i] + [0] * 4)[:4] for row in rows]
    np.testing.assert_array_equal(left_packed(tf.constant(rows)), expected)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_none_of_the_attribute_words_are_taken(share):
    config = CatalogQueriesConfig(longest=1, attribute_share=share, misspelled_share=0.0)
    made = draw_queries(catalog([[7]], [[8, 9]]), SUBWORDS, WIDTHS, config)[transformed.QUERY_UNIGRAMS]
    np.testing.assert_array_equal(made, [[7, 8, 9, 0, 0, 0] if share else [7, 0, 0, 0, 0, 0]])


def test_a_misspelled_word_is_unknown_but_keeps_some_subwords():
    config = CatalogQueriesConfig(longest=3, attribute_share=0.0, misspelled_share=1.0)
    made = draw_queries(catalog([[5, 6, 7]] * 64, [[]] * 64), SUBWORDS, WIDTHS, config)
    assert not made[transformed.QUERY_UNIGRAMS].numpy().any()
    assert not made[transformed.QUERY_BIGRAMS].numpy().any()
    subwords = made[transformed.QUERY_SUBWORDS].numpy()
    assert set(np.unique(subwords)) == {0, 10, 11, 12, 13, 14, 15}
    kept = np.count_nonzero(subwords, axis=1)
    assert kept.min() < kept.max()


def test_every_known_word_has_the_subwords_of_its_text():
    transform = small_shop().transform
    found = subwords_of_words(transform)
    words = [line.split(b" ")[-1].decode() for line in transform.vocabulary_by_name(transformed.UNIGRAMS.name)]
    alike = {word: set(found[1 + place]) - {0} for place, word in enumerate(words)}
    assert alike["running"]
    assert not alike["手"]
    assert found.shape[0] == 1 + len(words) + transformed.UNIGRAMS.oov_buckets
    assert not found[1 + len(words) :].any()
