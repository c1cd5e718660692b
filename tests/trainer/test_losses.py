import itertools

import numpy as np
import pytest
import tensorflow as tf

from trainer import losses

RNG = np.random.default_rng(5)
POSITIVE = RNG.normal(size=4).astype(np.float32)
NEGATIVE = RNG.normal(size=(4, 6)).astype(np.float32)
MASKED = RNG.random((4, 6)) < 0.3


@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_hinge_is_the_mean_violation_over_unmasked_negatives(margin):
    expected = [
        np.mean([max(0.0, margin - POSITIVE[i] + NEGATIVE[i, j]) for j in range(6) if not MASKED[i, j]])
        for i in range(4)
    ]
    got = losses.hinge_loss(tf.constant(POSITIVE), tf.constant(NEGATIVE), tf.constant(MASKED), margin)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_softmax_is_the_log_probability_of_the_positive(parts):
    columns = np.array_split(np.arange(6), parts)
    sums = [losses.log_sum(tf.constant(NEGATIVE[:, part]), tf.constant(MASKED[:, part])) for part in columns]
    got = losses.sampled_softmax_loss(tf.constant(POSITIVE), *sums)
    for i in range(4):
        logits = np.array([POSITIVE[i], *NEGATIVE[i][~MASKED[i]]], np.float64)
        np.testing.assert_allclose(got[i], np.log(np.exp(logits).sum()) - logits[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["hinge", "softmax"])
def test_what_is_masked_changes_no_loss(kind):
    def loss(negative):
        arguments = (tf.constant(negative), tf.constant(MASKED))
        if kind == "hinge":
            return losses.hinge_loss(tf.constant(POSITIVE), *arguments, 0.1)
        return losses.sampled_softmax_loss(tf.constant(POSITIVE), losses.log_sum(*arguments))

    np.testing.assert_array_equal(loss(NEGATIVE), loss(np.where(MASKED, 3.0, NEGATIVE).astype(np.float32)))


def test_a_positive_without_negatives_has_no_hinge_loss():
    masked = tf.ones([4, 6], tf.bool)
    np.testing.assert_array_equal(
        losses.hinge_loss(tf.constant(POSITIVE), tf.constant(NEGATIVE), masked, 0.1), np.zeros(4)
    )


@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_ranking_loss_is_the_mean_over_requests_with_a_pair(margin):
    stages = RNG.integers(0, 4, (6, 5))
    stages[0] = 0
    scores = RNG.normal(size=(6, 5)).astype(np.float32)
    expected = []
    for row_scores, row_stages in zip(scores, stages, strict=True):
        violations = [
            max(0.0, margin * (row_stages[i] - row_stages[j]) - row_scores[i] + row_scores[j])
            for i, j in itertools.permutations(range(5), 2)
            if row_stages[i] > row_stages[j] >= 1
        ]
        expected += [np.mean(violations)] if violations else []
    got = losses.stage_ranking_loss(tf.constant(scores), tf.constant(stages, tf.int32), margin)
    assert 0 < len(expected) < 6
    np.testing.assert_allclose(got, np.mean(expected), rtol=1e-5, atol=1e-6)
    assert losses.stage_ranking_loss(tf.constant(scores), tf.zeros([6, 5], tf.int32), margin) == 0.0
