import numpy as np
import tensorflow as tf

from trainer.layers.projection import Projection


def test_vectors_have_unit_length_and_use_all_orthants():
    inputs = tf.random.stateless_normal([64, 10], [1, 2])
    vectors = Projection((16, 8), 4)(inputs).numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(64), rtol=1e-5)
    assert (vectors < 0).any()


def test_an_input_of_zeros_gives_no_nan():
    assert np.all(np.isfinite(Projection((4,), 2)(tf.zeros([1, 3]))))


def test_dropout_acts_in_training_only():
    layer, inputs = Projection((64,), 8, dropout=0.5), tf.ones([2, 5])
    np.testing.assert_array_equal(layer(inputs), layer(inputs))
    assert np.any(layer(inputs, training=True) != layer(inputs, training=True))


def test_config_makes_the_layer_again():
    layer = Projection.from_config(Projection((16, 8), 4, 0.1).get_config())
    assert (layer.hidden, layer.dim, layer.dropout) == ((16, 8), 4, 0.1)
