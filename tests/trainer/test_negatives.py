import numpy as np
import pytest
import tensorflow as tf

from trainer import losses, negatives
from trainer.config import NegativesConfig


def draw(positives: tf.Tensor, items: int, config: NegativesConfig) -> negatives.Candidates:
    random_rows = tf.random.uniform([negatives.random_count(config)], 0, items, tf.int32)
    return negatives.join_candidates(random_rows, positives, config)


@pytest.mark.parametrize(
    ("ratio", "every", "in_batch", "uniform"),
    [(0.0, True, 30, 0), (0.5, True, 30, 20), (1.0, True, 0, 40), (0.5, False, 20, 20), (0.9, False, 4, 36)],
)
def test_the_mixing_ratio_sets_how_many_negatives_are_random(ratio, every, in_batch, uniform):
    positives = tf.range(1000, 1030)
    drawn = draw(positives, 500, NegativesConfig(per_positive=40, random_ratio=ratio, all_in_batch=every))
    assert int(drawn.in_batch_count) == in_batch
    assert drawn.random_count == uniform
    np.testing.assert_array_equal(drawn.rows[uniform:], positives[:in_batch])


def test_expected_counts_agree_with_counting():
    share = np.array([0.5, 0.3, 0.2, 0.0, 0.0], np.float32)
    rng, counts, draws = np.random.default_rng(3), np.zeros(5), 800
    tf.random.set_seed(3)
    for _ in range(draws):
        positives = tf.constant(rng.choice(5, size=4, p=share / share.sum()), tf.int32)
        drawn = draw(positives, 5, NegativesConfig(per_positive=8))
        counts += np.bincount(drawn.rows.numpy(), minlength=5)
    expected = np.exp(negatives.log_expected_count(tf.range(5), drawn, tf.constant(share), 5))
    np.testing.assert_allclose(counts / draws, expected, rtol=0.12)


def test_corrections_stay_finite_without_random_negatives():
    drawn = draw(tf.constant([0, 1]), 3, NegativesConfig(random_ratio=0.0))
    assert np.all(np.isfinite(negatives.log_expected_count(tf.range(3), drawn, tf.constant([0.5, 0.5, 0.0]), 3)))


@pytest.mark.parametrize(("setting", "expected"), [(0.0, -2.0), (1.0, 0.0), (0.5, np.log(0.5))])
def test_an_own_negative_counts_as_the_shared_ones_or_as_set(setting, expected):
    got = negatives.log_expected_own(tf.constant([-1.0, -3.0]), NegativesConfig(own_expected_count=setting))
    assert float(got) == pytest.approx(expected)


def test_an_item_that_the_same_request_led_to_is_no_negative():
    request, rows = tf.constant([0, 0, 1]), tf.constant([4, 7, 9])
    masked = negatives.accidental_hits(tf.constant([4, 7, 9, 1]), request, rows, tf.constant(3))
    np.testing.assert_array_equal(masked, [[True, True, False, False], [False, False, True, False], [False] * 4])


def test_a_positive_of_all_is_never_negative_and_loss_is_finite():
    """However often it is in the batch; where it is all that there is, nothing is left to be compared with."""
    rows, request = tf.constant([7, 7, 3, 7]), tf.constant([0, 1, 1, 2])
    masked = negatives.accidental_hits(rows, request, rows, tf.constant(3))
    np.testing.assert_array_equal(masked, [[True, True, False, True], [True] * 4, [True, True, False, True]])
    candidates = negatives.Candidates(rows, tf.size(rows), 0)
    share = tf.constant([0.0] * 3 + [0.25] + [0.0] * 3 + [0.75])
    expected = negatives.log_expected_count(rows, candidates, share, 7)
    sums = losses.log_sum(-expected + tf.zeros([3, 4]), masked)
    loss = losses.sampled_softmax_loss(10.0 - expected, tf.gather(sums, request))
    # Beaten by the one other item or by nothing: both are certain already.
    alone = np.log1p(np.exp(-10.0 + np.log(3.0) - np.log(1.0)))
    np.testing.assert_allclose(loss, [alone, 0.0, 0.0, alone], atol=1e-6)


def test_mixtures_lie_between_positive_and_hardest_negatives():
    positive = np.array([1.0, -1.0], np.float32)
    negative = np.array([[0.5, 0.9, 0.1, 0.8], [0.2, -0.5, 0.4, 0.3]], np.float32)
    masked = np.array([[False, True, False, False], [False] * 4])
    config = NegativesConfig(mixed=2, mixing_low=0.4, mixing_high=0.6)
    of_requests, request = (tf.constant(negative[::-1]), tf.constant(masked[::-1])), tf.constant([1, 0])
    mixed = negatives.mixed_negatives(tf.constant(positive), *of_requests, request, config).numpy()
    hardest = np.array([[0.8, 0.5], [0.4, 0.3]])
    share = (mixed - hardest) / (positive[:, np.newaxis] - hardest)
    assert np.all((share >= 0.4) & (share <= 0.6))
    # One `a` for all mixtures of a positive, as a vector mixed with each would give.
    np.testing.assert_allclose(share[:, 0], share[:, 1], rtol=1e-4)


def test_a_mixture_equals_the_score_of_the_mixed_vector():
    rng = np.random.default_rng(1)
    query, item, others = rng.normal(size=4), rng.normal(size=4), rng.normal(size=(3, 4))
    config = NegativesConfig(mixed=3, mixing_low=0.5, mixing_high=0.5)
    mixed = negatives.mixed_negatives(
        tf.constant([query @ item]), tf.constant([others @ query]), tf.zeros([1, 3], tf.bool), tf.constant([0]), config
    )
    vectors = 0.5 * item + 0.5 * others
    np.testing.assert_allclose(mixed[0], np.sort(vectors @ query)[::-1], rtol=1e-5)


def test_a_mixture_with_a_masked_item_counts_for_nothing():
    config = NegativesConfig(mixed=2)
    mixed = negatives.mixed_negatives(
        tf.constant([0.5]), tf.constant([[0.1, 0.2]]), tf.constant([[True, False]]), tf.constant([0]), config
    ).numpy()
    assert mixed[0, 1] < -1000
    assert mixed[0, 0] > 0
