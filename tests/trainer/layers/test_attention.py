import numpy as np
import pytest
import tensorflow as tf

from trainer.layers.attention import SelfAttention, attend, attend_each
from trainer.layers.recurrent import ResidualLstm

RNG = np.random.default_rng(2)
QUERY = RNG.normal(size=(3, 2, 4)).astype(np.float32)
MEMORY = RNG.normal(size=(3, 5, 4)).astype(np.float32)
LENGTHS = [5, 2, 0]
PRESENT = np.arange(5) < np.array(LENGTHS)[:, np.newaxis]


def test_attention_is_a_softmax_over_present_and_zero_vectors():
    got = attend(tf.constant(QUERY), tf.constant(MEMORY), tf.constant(PRESENT)).numpy()
    for row, length in enumerate(LENGTHS):
        memory = np.concatenate([np.zeros((1, 4)), MEMORY[row, :length]])
        for vector, query in zip(got[row], QUERY[row], strict=True):
            weights = np.exp(memory @ query)
            np.testing.assert_allclose(vector, weights @ memory / weights.sum(), rtol=1e-4, atol=1e-6)


def test_several_memories_are_attended_to_like_each_alone():
    memories = RNG.normal(size=(3, 4, 5, 4)).astype(np.float32)
    alone = [attend(tf.constant(QUERY), tf.constant(memories[:, n]), tf.constant(PRESENT)) for n in range(4)]
    together = attend_each(tf.constant(QUERY), tf.constant(memories), tf.constant(PRESENT))
    np.testing.assert_allclose(together, tf.add_n(alone), rtol=1e-4, atol=1e-6)


def test_an_empty_memory_is_ignored():
    got = attend(tf.constant(QUERY), tf.constant(MEMORY), tf.constant(PRESENT))
    np.testing.assert_array_equal(got[2], np.zeros((2, 4)))


@pytest.mark.parametrize(
    "layer",
    [SelfAttention(4, 2), SelfAttention(4, 1, inner=8), ResidualLstm(4, layers=2)],
    ids=["self-attention", "Transformer block", "LSTM"],
)
def test_what_is_padding_changes_no_step_that_is_there(layer):
    before = layer(tf.constant(MEMORY), tf.constant(PRESENT)).numpy()
    other = np.where(PRESENT[..., np.newaxis], MEMORY, 7.0).astype(np.float32)
    wider = np.pad(other, [[0, 0], [0, 3], [0, 0]], constant_values=-3.0)
    after = layer(tf.constant(wider), tf.constant(np.pad(PRESENT, [[0, 0], [0, 3]]))).numpy()[:, :5]
    np.testing.assert_allclose(after[PRESENT], before[PRESENT], rtol=1e-4, atol=1e-5)


def test_self_attention_agrees_with_numpy():
    layer = SelfAttention(4, 2)
    got = layer(tf.constant(MEMORY), tf.constant(PRESENT)).numpy()
    (kernel, bias), (out_kernel, out_bias) = layer._query.get_weights(), layer._output.get_weights()
    pair_kernel, pair_bias = layer._key_value.get_weights()
    x = MEMORY[1, :2]
    query, (key, value) = x @ kernel + bias, np.split(x @ pair_kernel + pair_bias, 2, axis=-1)
    mixed = []
    for head in (slice(0, 2), slice(2, 4)):
        logits = query[:, head] @ key[:, head].T / np.sqrt(2)
        weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        mixed.append(weights @ value[:, head])
    summed = x + np.concatenate(mixed, axis=1) @ out_kernel + out_bias
    centered = summed - summed.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(got[1, :2], centered / np.sqrt(centered.var(axis=1, keepdims=True) + 1e-6), atol=1e-4)


def test_the_first_step_alone_is_the_first_of_all():
    layer = SelfAttention(4, 2, inner=8)
    layer(tf.constant(MEMORY), tf.ones([3, 5], tf.bool))
    for weight in layer.weights:
        weight.assign_add(tf.random.stateless_normal(weight.shape, [3, 3], stddev=0.3))
    every = layer(tf.constant(MEMORY), tf.ones([3, 5], tf.bool))
    np.testing.assert_allclose(layer.first(tf.constant(MEMORY)), every[:, 0], rtol=1e-4, atol=1e-5)


def test_the_lstm_reads_from_the_oldest_to_the_newest():
    layer = ResidualLstm(4, layers=1, dropout=0.0)
    present = tf.constant([[True, True, True]])
    steps = MEMORY[:1, :3]
    before = layer(tf.constant(steps), present).numpy()
    newer = steps.copy()
    newer[:, 0] += 1.0
    after = layer(tf.constant(newer), present).numpy()
    np.testing.assert_allclose(after[:, 1:], before[:, 1:], rtol=1e-5, atol=1e-6)
    assert not np.allclose(after[:, 0], before[:, 0] + 1.0)


def test_layers_can_be_made_again_from_their_settings():
    for layer in (SelfAttention(4, 2, inner=8, dropout=0.1), ResidualLstm(4, layers=3, dropout=0.3)):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_the_lstm_is_that_of_keras_and_so_are_its_gradients():
    layer = ResidualLstm(4, layers=1, dropout=0.0)
    oldest_first, present = tf.constant(MEMORY), tf.ones([3, 5], tf.bool)
    newest_first = tf.reverse(oldest_first, axis=[1])
    layer(newest_first, present)
    (lstm,) = layer._layers
    with tf.GradientTape(persistent=True) as tape:
        got = layer(newest_first, present)
        wanted = tf.reverse(oldest_first + lstm(oldest_first), axis=[1])
        losses = [tf.reduce_sum(states * tf.range(1.0, 5.0)) for states in (got, wanted)]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    for ours, of_keras in zip(*(tape.gradient(loss, lstm.trainable_weights) for loss in losses), strict=True):
        np.testing.assert_allclose(ours, of_keras, rtol=1e-4, atol=1e-5)
