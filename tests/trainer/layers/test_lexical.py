import numpy as np
import tensorflow as tf

from trainer.layers.embedding import embed_lists
from trainer.layers.lexical import Bag, LexicalSkip

IDS = np.array([[1, 3, 0], [2, 0, 0]])
TABLE = np.random.default_rng(4).normal(size=(4, 4)).astype(np.float32)
TABLE[0] = 0.0


def bag(ids, field=None) -> Bag:
    return Bag(embed_lists(tf.constant(ids), lambda distinct: tf.gather(TABLE, distinct)), "words", field)


def make() -> LexicalSkip:
    layer = LexicalSkip({"words": 3}, {"story": 0.25}, 5)
    layer([bag(IDS)])
    return layer


def expected(layer: LexicalSkip, *weighted: tuple[float, np.ndarray]) -> np.ndarray:
    weights = np.log1p(np.exp(layer._weights["words"].table.numpy()[:, 0]))
    weights[0] = 0.0
    summed = sum(share * (TABLE[ids] * weights[ids][..., np.newaxis]).sum(axis=1) for share, ids in weighted)
    mapped = summed @ layer._map.get_weights()[0]
    return mapped / np.linalg.norm(mapped, axis=1, keepdims=True)


def test_a_text_is_its_words_weighted_sum_mapped_to_unit_length():
    layer = make()
    np.testing.assert_allclose(layer([bag(IDS)]), expected(layer, (1.0, IDS)), rtol=1e-4, atol=1e-6)


def test_a_field_counts_by_its_weight():
    layer, story = make(), np.array([[2, 2], [3, 0]])
    got = layer([bag(IDS), bag(story, "story")])
    np.testing.assert_allclose(got, expected(layer, (1.0, IDS), (0.25, story)), rtol=1e-4, atol=1e-6)


def test_parts_of_a_text_count_like_one():
    layer = make()
    whole, parts = layer([bag(IDS)]), layer([bag(IDS[:, :1]), bag(IDS[:, 1:])])
    np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-6)


def test_an_empty_text_is_zero():
    np.testing.assert_array_equal(make()([bag([[0, 0]])]), np.zeros((1, 5)))


def test_weights_start_from_the_square_root_of_idf():
    layer = make()
    layer.start_from_frequencies("words", np.array([0, 10, 1, 0]), 10, np.array([1.0, 1.0, 1.0, 0.1]))
    weights = np.log1p(np.exp(layer._weights["words"].table.numpy()[:, 0]))
    # A word of no item counts as seen half a time.
    np.testing.assert_allclose(weights[1:], np.sqrt(np.log([2.0, 11.0, 21.0])) * [1.0, 1.0, 0.1], rtol=1e-4)
