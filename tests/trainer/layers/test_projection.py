import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.projection import Projection, Repeated, present_rows


def test_vectors_have_unit_length_and_use_all_orthants():
    inputs = tf.random.stateless_normal([64, 10], [1, 2])
    vectors = Projection((64, 32), 4)(inputs).numpy()
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


@pytest.mark.parametrize("hidden", [(), (6,)])
def test_parts_are_mapped_like_the_whole_and_so_are_gradients(hidden):
    rows, place = tf.random.stateless_normal([2, 3], [1, 2]), tf.constant([1, 0, 1, 1])
    text = tf.random.stateless_normal([4, 5], [3, 4])
    history = tf.constant([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0], [0.0, 3.0]])
    layer = Projection(hidden, 3)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([rows, text, history])
        whole = layer(tf.concat([tf.gather(rows, place), text, history], axis=1))
        parts = layer([Repeated(rows, place), text, present_rows(history)])
        sums = [tf.reduce_sum(vectors * tf.range(1.0, 4.0)) for vectors in (whole, parts)]
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    wanted, got = (tape.gradient(total, [rows, text, *layer.trainable_weights]) for total in sums)
    for ours, expected in zip(got, wanted, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(ours), tf.convert_to_tensor(expected), rtol=1e-4, atol=1e-4)
