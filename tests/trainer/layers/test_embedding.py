import numpy as np
import tensorflow as tf

from trainer.layers.embedding import PaddedEmbedding


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


def test_config_makes_the_layer_again():
    layer = PaddedEmbedding.from_config(PaddedEmbedding(5, 3, name="tokens").get_config())
    assert (layer.size, layer.dim, layer.name) == (5, 3, "tokens")
