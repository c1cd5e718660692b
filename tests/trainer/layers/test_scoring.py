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


@pytest.mark.parametrize("beta", [0.05, 0.5, 5.0])
def test_soft_dot_product_is_the_papers_formula(beta):
    scores = scoring.head_scores(QUERY, ITEMS).numpy().astype(np.float64)
    for b in range(3):
        for i in range(6):
            weights = np.exp(scores[b, :, i] / beta)
            expected = float((weights / weights.sum()) @ scores[b, :, i])
            got = scoring.soft_dot_product(tf.constant(scores), beta)[b, i]
            assert float(got) == pytest.approx(expected, rel=1e-5)


def test_small_beta_is_the_best_head_and_large_beta_the_mean():
    scores = scoring.head_scores(QUERY, ITEMS)
    np.testing.assert_allclose(scoring.soft_dot_product(scores, 1e-4), scoring.best_head(scores), atol=1e-4)
    np.testing.assert_allclose(scoring.soft_dot_product(scores, 1e5), tf.reduce_mean(scores, axis=1), atol=1e-4)
