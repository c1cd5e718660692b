import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.embedding import EncodedWords, PaddedEmbedding


def test_padding_embeds_to_zero_and_counts_in_no_mean():
    layer = PaddedEmbedding(5, 3)
    ids = tf.constant([[1, 4, 0, 0], [0, 0, 0, 0]])
    embedded = layer(ids).numpy()
    np.testing.assert_array_equal(embedded[0, 2:], np.zeros((2, 3)))
    np.testing.assert_allclose(layer.mean(ids)[0], (embedded[0, 0] + embedded[0, 1]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(layer.mean(ids)[1], np.zeros(3))


def test_padding_learns_nothing():
    layer = PaddedEmbedding(5, 3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.mean(tf.constant([[2, 0]])) ** 2 + 1.0)
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.table))
    np.testing.assert_array_equal(gradient[0], np.zeros(3))
    assert np.any(gradient[2] != 0)


def test_sums_and_means_of_lists_agree_with_a_plain_loop():
    rng = np.random.default_rng(5)
    layer = PaddedEmbedding(30, 4)
    # Padding may stand anywhere; one list is empty.
    ids = rng.integers(1, 31, [7, 9]) * (rng.random([7, 9]) < 0.7)
    ids[3] = 0
    lists = layer.lists(tf.constant(ids, tf.int32))
    table, weight = layer.table.numpy(), rng.random(31).astype(np.float32)
    sums = np.array([sum((table[i] for i in row if i), np.zeros(4)) for row in ids])
    weighted = np.array([sum((weight[i] * table[i] for i in row if i), np.zeros(4)) for row in ids])
    np.testing.assert_allclose(lists.sum(), sums, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lists.sum(tf.gather(weight, lists.ids)[:, tf.newaxis]), weighted, rtol=1e-5, atol=1e-6)
    means = sums / np.maximum((ids > 0).sum(axis=1), 1)[:, np.newaxis]
    np.testing.assert_allclose(lists.mean(), means, rtol=1e-5, atol=1e-6)
    assert sorted(lists.ids.numpy()) == sorted(set(ids[ids > 0]))


def test_lists_teach_each_id_what_a_dense_sum_would_and_once():
    layer = PaddedEmbedding(6, 2)
    ids = tf.constant([[2, 2, 5], [5, 1, 0]])
    wanted = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.mean(ids) * wanted)
    gradient = tape.gradient(loss, layer.table)
    assert sorted(gradient.indices.numpy()) == [1, 2, 5]
    expected = np.zeros([7, 2], np.float32)
    for row, list_ids in enumerate([[2, 2, 5], [5, 1]]):
        for i in list_ids:
            expected[i] += wanted[row].numpy() / len(list_ids)
    np.testing.assert_allclose(tf.convert_to_tensor(gradient), expected, rtol=1e-6)


def test_no_ids_at_all_sum_to_zero():
    lists = PaddedEmbedding(5, 3).lists(tf.zeros([2, 0], tf.int32))
    np.testing.assert_array_equal(lists.mean(), np.zeros([2, 3]))


def test_config_makes_the_layer_again():
    layer = PaddedEmbedding.from_config(PaddedEmbedding(5, 3, name="tokens").get_config())
    assert (layer.size, layer.dim, layer.name) == (5, 3, "tokens")


def encoded_words(trainable: bool = False) -> tuple[EncodedWords, np.ndarray, np.ndarray]:
    layer = EncodedWords(size=4, dim=3, share=0.25, trainable=trainable)
    layer(tf.zeros([1, 1], tf.int32))
    vectors, weights = np.eye(3)[:2], np.array([0.0, 3.0, 4.0, 7.0, 7.0])
    layer.start_from(vectors, weights)
    return layer, vectors, weights


def test_an_encoded_text_is_the_weighted_sum_of_its_words():
    layer, _, _ = encoded_words()
    # Of length 0.5, so that the product of equal texts is the share of 0.25; ids after the last vector have none.
    np.testing.assert_allclose(
        layer(tf.constant([[1, 2, 0], [2, 3, 4]])), [[0.3, 0.4, 0.0], [0.0, 0.5, 0.0]], rtol=1e-6
    )


def test_a_text_of_unencoded_words_alone_is_zero():
    layer, _, _ = encoded_words()
    np.testing.assert_array_equal(layer(tf.constant([[3, 4], [0, 0]])), np.zeros((2, 3)))


@pytest.mark.parametrize("trainable", [False, True])
def test_encoded_words_are_trained_where_they_are_to_be(trainable):
    assert len(encoded_words(trainable)[0].trainable_variables) == trainable
