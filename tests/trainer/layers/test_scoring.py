import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import scoring

RNG = np.random.default_rng(11)
QUERY = RNG.normal(size=(3, 4, 5)).astype(np.float32)
ITEMS = RNG.normal(size=(6, 5)).astype(np.float32)


def test_every_head_meets_every_item():
    expected = [[[float(q @ i) for i in ITEMS] for q in heads] for heads in QUERY]
    np.testing.assert_allclose(scoring.head_scores(QUERY, ITEMS), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("beta", [0.05, 0.5, 5.0])
def test_soft_dot_product_is_the_papers_formula(beta, heads):
    scores = tf.cast(scoring.head_scores(QUERY[:, :heads], ITEMS), tf.float64)
    upstream = RNG.normal(size=(3, 6))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(scores)
        got = scoring.soft_dot_product(scores, beta)
        expected = tf.reduce_sum(tf.nn.softmax(scores / beta, axis=1) * scores, axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    of_got, of_expected = (tape.gradient(result, scores, upstream) for result in (got, expected))
    np.testing.assert_allclose(of_got, of_expected, rtol=1e-7, atol=1e-12)


def test_small_beta_is_the_best_head_and_large_beta_the_mean():
    scores = scoring.head_scores(QUERY, ITEMS)
    np.testing.assert_allclose(scoring.soft_dot_product(scores, 1e-4), scoring.best_head(scores), atol=1e-4)
    np.testing.assert_allclose(scoring.soft_dot_product(scores, 1e5), tf.reduce_mean(scores, axis=1), atol=1e-4)
