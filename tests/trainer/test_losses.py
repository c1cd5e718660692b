import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from trainer import losses, negatives
from trainer.layers.scoring import head_scores

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


STAGES = RNG.integers(0, 4, (6, 5))
STAGES[0] = 0
SCORES = RNG.normal(size=(6, 5)).astype(np.float32)


@pytest.mark.parametrize(("kind", "margin"), [("hinge", 0.0), ("hinge", 0.2), ("logistic", 0.2)])
def test_ranking_loss_is_the_mean_over_requests_with_a_pair(kind, margin):
    def cost(lead: float, apart: int) -> float:
        return np.log1p(np.exp(-lead)) if kind == "logistic" else max(0.0, margin * apart - lead)

    expected = []
    for scores, stages in zip(SCORES, STAGES, strict=True):
        costs = [
            cost(scores[i] - scores[j], stages[i] - stages[j])
            for i, j in itertools.permutations(range(5), 2)
            if stages[i] > stages[j] >= 1
        ]
        expected += [np.mean(costs)] if costs else []
    got = losses.stage_ranking_loss(tf.constant(SCORES), tf.constant(STAGES, tf.int32), kind, margin)
    assert 0 < len(expected) < 6
    np.testing.assert_allclose(got, np.mean(expected), rtol=1e-5, atol=1e-6)
    assert losses.stage_ranking_loss(tf.constant(SCORES), tf.zeros([6, 5], tf.int32), kind, margin) == 0.0


def test_each_level_is_a_softmax_over_what_got_less_far():
    sampled = RNG.normal(size=6).astype(np.float32)
    expected = []
    for scores, stages, below in zip(SCORES, STAGES, sampled, strict=True):
        costs = []
        for score in scores[stages > 0]:
            (stage,) = stages[scores == score]
            logits = np.array([score, below, *scores[(stages > 0) & (stages < stage)]], np.float64)
            costs.append(np.log(np.exp(logits).sum()) - logits[0])
        expected += [np.mean(costs)] if costs else []
    arguments = tf.constant(SCORES), tf.constant(STAGES, tf.int32), tf.constant(sampled)
    assert 0 < len(expected) < 6
    np.testing.assert_allclose(losses.level_loss(*arguments), np.mean(expected), rtol=1e-5)
    assert losses.level_loss(arguments[0], 0 * arguments[1], arguments[2]) == 0.0


def test_softmax_equals_the_retrieval_task_of_tfrs():
    """TFRS has a row for each positive, and of its logQ correction a share where ours is a count."""
    items, requests, temperature = 9, 3, 0.1
    request, rows, drawn = (tf.constant(ids, tf.int32) for ids in ([0, 0, 1, 2], [1, 2, 2, 5], [2, 7, 0]))
    query, vectors = (tf.random.stateless_normal([count, 4], [5, count]) for count in (requests, items))
    of_positive, of_drawn = tf.gather(vectors, rows), tf.gather(vectors, drawn)
    share = tf.constant([*np.bincount(rows, minlength=items) / 4.0, 0.0], tf.float32)
    candidates = negatives.Candidates(tf.concat([drawn, rows], 0), tf.constant(4), 3)
    counts = [negatives.log_expected_count(ids, candidates, share, items) for ids in (rows, candidates.rows)]

    scores = head_scores(query[:, tf.newaxis], tf.concat([of_drawn, of_positive], 0))[:, 0]
    masked = negatives.accidental_hits(candidates.rows, request, rows, tf.constant(requests))
    log_sum = losses.log_sum(scores / temperature - counts[1], masked)
    positive = tf.reduce_sum(tf.gather(query, request) * of_positive, axis=1)
    got = losses.sampled_softmax_loss(positive / temperature - counts[0], tf.gather(log_sum, request))

    counted = ~tf.gather(tf.concat([masked[:, 3:], masked[:, :3]], 1), request) | tf.eye(4, 7, dtype=tf.bool)
    probability = tf.exp(tf.concat([counts[1][3:], counts[1][:3]], 0)) / 7.0
    expected = tfrs.tasks.Retrieval(temperature=temperature)(
        tf.gather(query, request),
        tf.concat([of_positive, of_drawn], 0),
        candidate_sampling_probability=probability,
        score_mask=counted,
    )
    np.testing.assert_allclose(tf.reduce_sum(got), expected, rtol=1e-5)
