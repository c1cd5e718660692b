import numpy as np
import tensorflow as tf

from trainer.layers.embedding import EmbeddedLists, embed_lists
from trainer.layers.lexical import LexicalSkip

IDS = np.array([[1, 3, 0], [2, 0, 0]])
TABLE = np.random.default_rng(4).normal(size=(4, 4)).astype(np.float32)
TABLE[0] = 0.0


def text(ids) -> EmbeddedLists:
    return embed_lists(tf.constant(ids), lambda distinct: tf.gather(TABLE, distinct))


def test_a_text_is_the_weighted_sum_of_its_words_mapped_to_unit_length():
    layer = LexicalSkip(3, 5)
    got = layer(text(IDS)).numpy()
    weights = np.log1p(np.exp(layer._weights.table.numpy()[:, 0]))
    weights[0] = 0.0
    summed = (TABLE[IDS] * weights[IDS][..., np.newaxis]).sum(axis=1) @ layer._map.get_weights()[0]
    np.testing.assert_allclose(got, summed / np.linalg.norm(summed, axis=1, keepdims=True), rtol=1e-4, atol=1e-6)


def test_parts_of_a_text_count_like_one():
    layer = LexicalSkip(3, 5)
    whole, parts = layer(text(IDS)), layer(text(IDS[:, :1]), text(IDS[:, 1:]))
    np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-6)


def test_an_empty_text_is_zero():
    layer = LexicalSkip(3, 5)
    np.testing.assert_array_equal(layer(text([[0, 0]])), np.zeros((1, 5)))


def test_weights_start_from_the_root_of_the_inverse_document_frequency():
    layer = LexicalSkip(3, 5)
    layer(text(IDS))
    layer.start_from_frequencies(np.array([0, 10, 1, 0]), 10, np.array([1.0, 1.0, 1.0, 0.1]))
    weights = np.log1p(np.exp(layer._weights.table.numpy()[:, 0]))
    # A word of no item counts as seen half a time.
    np.testing.assert_allclose(weights[1:], np.sqrt(np.log([2.0, 11.0, 21.0])) * [1.0, 1.0, 0.1], rtol=1e-4)
