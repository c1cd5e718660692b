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


@pytest.mark.parametrize(("temperature", "corrected"), itertools.product([0.05, 1.0], [False, True]))
def test_softmax_is_the_log_probability_of_the_positive(temperature, corrected):
    positive_expected = RNG.random(4).astype(np.float32) + 0.01
    negative_expected = RNG.random(6).astype(np.float32) + 0.01
    expected = []
    for i in range(4):
        logits = [POSITIVE[i] / temperature - (np.log(positive_expected[i]) if corrected else 0)]
        logits += [
            NEGATIVE[i, j] / temperature - (np.log(negative_expected[j]) if corrected else 0)
            for j in range(6)
            if not MASKED[i, j]
        ]
        logits = np.array(logits, np.float64) - max(logits)
        expected.append(-(logits[0] - np.log(np.exp(logits).sum())))
    got = losses.sampled_softmax_loss(
        tf.constant(POSITIVE),
        tf.constant(NEGATIVE),
        tf.constant(MASKED),
        temperature,
        tf.math.log(positive_expected) if corrected else None,
        tf.math.log(negative_expected) if corrected else None,
    )
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["hinge", "softmax"])
def test_what_is_masked_changes_no_loss(kind):
    def loss(negative):
        arguments = (tf.constant(POSITIVE), tf.constant(negative), tf.constant(MASKED))
        if kind == "hinge":
            return losses.hinge_loss(*arguments, 0.1)
        return losses.sampled_softmax_loss(*arguments, 0.1)

    np.testing.assert_array_equal(loss(NEGATIVE), loss(np.where(MASKED, 3.0, NEGATIVE).astype(np.float32)))


def test_a_positive_without_negatives_has_no_hinge_loss():
    masked = tf.ones([4, 6], tf.bool)
    np.testing.assert_array_equal(
        losses.hinge_loss(tf.constant(POSITIVE), tf.constant(NEGATIVE), masked, 0.1), np.zeros(4)
    )


@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_ranking_loss_is_the_mean_violation_of_unequal_stages(margin):
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
        expected.append(np.mean(violations) if violations else 0.0)
    got = losses.stage_ranking_loss(tf.constant(scores), tf.constant(stages, tf.int32), margin)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
