import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from trainer.config import OptimizerConfig
from trainer.layers.embedding import PaddedEmbedding
from trainer.optimizer import SMALL, make_optimizer, sum_by_row

RATE, BETA_1, BETA_2, EPSILON = 0.01, 0.9, 0.999, 1e-7
ROWS, DIM = SMALL, 3
# Steps after which the unit of the rows' second moments starts anew.
PERIOD = 9205


def sparse_gradients(steps: int, seed: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows, with repetitions within a step and between steps, and their gradients."""
    rng = np.random.default_rng(seed)
    return [(rng.integers(0, 6, 4), rng.normal(size=(4, DIM)).astype(np.float32)) for _ in range(steps)]


def dense(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    gradient = np.zeros((ROWS, DIM), np.float32)
    np.add.at(gradient, rows, values)
    return gradient


def adam(learning_rate: float = RATE, clip_norm: float = 1e9) -> keras.optimizers.Optimizer:
    return make_optimizer(OptimizerConfig(name="adam", learning_rate=learning_rate, clip_norm=clip_norm))


def apply(optimizer, variable: tf.Variable, rows: np.ndarray, values: np.ndarray) -> None:
    slices = tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant(variable.shape))
    optimizer.apply_gradients([(slices, variable)])


def test_rows_move_as_in_a_plain_python_version():
    variable, optimizer = tf.Variable(tf.ones([ROWS, DIM])), adam()
    weights, second = np.ones((ROWS, DIM)), np.zeros((ROWS, DIM))
    for step, (rows, values) in enumerate(sparse_gradients(30), start=1):
        apply(optimizer, variable, rows, values)
        gradient = dense(rows, values)
        # The second moment is Adam's, decayed at every step; rows without a gradient stay where they are.
        second = BETA_2 * second + (1 - BETA_2) * gradient**2
        moved = RATE * np.sqrt(1 - BETA_2**step) * gradient / (np.sqrt(second) + EPSILON)
        touched = np.isin(np.arange(ROWS), rows)
        weights -= moved * touched[:, np.newaxis]
    np.testing.assert_allclose(variable, weights, rtol=1e-4)


def test_a_large_embedding_keeps_no_first_moment():
    embedding = PaddedEmbedding(ROWS, DIM)
    embedding.build(None)
    optimizer = adam()
    optimizer.build([embedding.table])
    assert {tuple(part.shape) for part in optimizer.variables} == {(), (0,), (ROWS + 1, DIM)}


def test_rows_move_as_adam_however_long_they_were_left_alone():
    """Over 30,000 steps, of which the test takes a few: a row's second moment decays at every one of them."""
    variable, optimizer = tf.Variable(tf.zeros([ROWS, DIM])), adam()
    weight, second, last = 0.0, 0.0, 0
    for step in (1, 2, 9_000, 9_209, 9_210, 9_211, 18_500, 30_000):
        # What lies between two steps of this row are steps of another one: they are taken where a unit ends.
        for between in (step // PERIOD * PERIOD,) if step // PERIOD > last // PERIOD and step % PERIOD else ():
            optimizer.iterations.assign(between - 1)
            apply(optimizer, variable, np.array([1]), np.ones((1, DIM), np.float32))
        optimizer.iterations.assign(step - 1)
        apply(optimizer, variable, np.array([2]), np.full((1, DIM), 0.5, np.float32))
        second = BETA_2 ** (step - last) * second + (1 - BETA_2) * 0.25
        weight -= RATE * np.sqrt(1 - BETA_2**step) * 0.5 / (np.sqrt(second) + EPSILON)
        last = step
        np.testing.assert_allclose(variable[2], np.full(DIM, weight), rtol=1e-4)


def test_a_row_touched_once_ends_where_adam_takes_it():
    gradient = np.zeros((ROWS, DIM), np.float32)
    gradient[2] = [0.3, -0.1, 2.0]
    row, whole = tf.Variable(tf.zeros([ROWS, DIM])), tf.Variable(tf.zeros([ROWS, DIM]))
    ours, keras_adam = adam(), keras.optimizers.Adam(RATE)
    # Late in training, where bias corrections are over.
    for optimizer, variable in ((ours, row), (keras_adam, whole)):
        optimizer.build([variable])
        optimizer.iterations.assign(10_000)
    apply(ours, row, np.array([2]), gradient[2:3])
    keras_adam.apply_gradients([(tf.constant(gradient), whole)])
    for _ in range(200):
        keras_adam.apply_gradients([(tf.zeros([ROWS, DIM]), whole)])
    np.testing.assert_allclose(row[2], whole[2], rtol=0.02)


def test_dense_weights_move_as_by_keras_adam():
    rng = np.random.default_rng(1)
    start = rng.normal(size=(4, 5)).astype(np.float32)
    ours, theirs = tf.Variable(start), tf.Variable(start)
    optimizer, keras_adam = adam(clip_norm=1.0), keras.optimizers.Adam(RATE, global_clipnorm=1.0)
    for _ in range(20):
        gradient = tf.constant(rng.normal(size=(4, 5)).astype(np.float32))
        optimizer.apply_gradients([(gradient, ours)])
        keras_adam.apply_gradients([(gradient, theirs)])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_small_matrix_moves_as_by_keras_adam():
    ours, theirs = tf.Variable(tf.ones([6, DIM])), tf.Variable(tf.ones([6, DIM]))
    optimizer, keras_adam = adam(), keras.optimizers.Adam(RATE)
    for rows, values in sparse_gradients(10):
        apply(optimizer, ours, rows, values)
        keras_adam.apply_gradients([(tf.constant(dense(rows, values)[:6]), theirs)])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("name", ["adam", "adagrad"])
def test_clipping_takes_the_norm_of_the_summed_gradient(name):
    rows, values = np.array([1, 1]), np.array([[3.0, 0.0, 0.0], [-3.0, 0.0, 4.0]], np.float32)
    config = OptimizerConfig(name=name, learning_rate=RATE, clip_norm=1.0)
    twice, once = tf.Variable(tf.zeros([ROWS, DIM])), tf.Variable(tf.zeros([ROWS, DIM]))
    apply(make_optimizer(config), twice, rows, values)
    # The sum is [0, 0, 4]: clipped to norm 1.
    apply(make_optimizer(config), once, np.array([1]), np.array([[0.0, 0.0, 1.0]], np.float32))
    np.testing.assert_allclose(twice, once, rtol=1e-5)


def test_adagrad_moves_as_by_keras():
    config = OptimizerConfig(name="adagrad", learning_rate=RATE, clip_norm=1e9)
    ours, theirs = tf.Variable(tf.ones([ROWS, DIM])), tf.Variable(tf.ones([ROWS, DIM]))
    optimizer, keras_adagrad = make_optimizer(config), keras.optimizers.Adagrad(RATE)
    for rows, values in sparse_gradients(10):
        apply(optimizer, ours, rows, values)
        keras_adagrad.apply_gradients([(tf.constant(dense(rows, values)), theirs)])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_checkpoint_holds_all_that_the_next_step_needs(tmp_path):
    gradients = sparse_gradients(12)
    whole, half, rest = (tf.Variable(tf.ones([ROWS, DIM])) for _ in range(3))
    optimizer, first, second = adam(), adam(), adam()
    for rows, values in gradients:
        apply(optimizer, whole, rows, values)
    for rows, values in gradients[:6]:
        apply(first, half, rows, values)
    path = tf.train.Checkpoint(variable=half, optimizer=first).write(str(tmp_path / "state"))
    second.build([rest])
    tf.train.Checkpoint(variable=rest, optimizer=second).read(path).assert_consumed()
    for rows, values in gradients[6:]:
        apply(second, rest, rows, values)
    np.testing.assert_allclose(rest, whole, rtol=1e-6)


def test_slices_of_a_row_are_summed():
    rows, values = sparse_gradients(1)[0]
    slices = sum_by_row(tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([ROWS, DIM])))
    assert sorted(slices.indices.numpy()) == sorted(set(rows))
    np.testing.assert_allclose(tf.convert_to_tensor(slices), dense(rows, values), rtol=1e-6)
