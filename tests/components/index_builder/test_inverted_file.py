"""The index of plain TensorFlow ops against NumPy."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.index_builder.inverted_file import InvertedFileIndex, nearest, partition
from tests.components.index_builder.test_parameters import QUERIES, VECTORS


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_every_item_is_only_in_the_leaf_of_its_nearest_centroid(items, leaves, seed):
    vectors = np.random.default_rng(seed).normal(size=(items, 3)).astype(np.float32)
    parts = partition(vectors, min(leaves, items), seed)
    assert sorted(parts.members.tolist()) == list(range(items))
    distances = ((vectors[:, np.newaxis] - parts.centroids) ** 2).sum(axis=2)
    for leaf, (start, end) in enumerate(zip(parts.starts[:-1], parts.starts[1:], strict=True)):
        for item in parts.members[start:end]:
            assert distances[item, leaf] <= distances[item].min() + 1e-5


def test_items_that_are_all_alike_are_partitioned_and_searched():
    vectors = np.ones((30, 4), np.float32)
    index = InvertedFileIndex(vectors, {"leaves": 5, "leaves_to_search": 5, "reorder": 30}, 10, seed=0)
    positions, scores = index.search(tf.ones([2, 4]), 10)
    assert [len(set(row)) for row in positions.numpy().tolist()] == [10, 10]
    np.testing.assert_allclose(scores, 4.0)


def test_chunks_do_not_change_what_is_nearest():
    vectors = np.random.default_rng(1).normal(size=(40_000, 2)).astype(np.float32)
    centroids = vectors[:7]
    distances = ((vectors[:, np.newaxis] - centroids) ** 2).sum(axis=2)
    np.testing.assert_array_equal(nearest(vectors, centroids), distances.argmin(axis=1))


def test_with_all_leaves_and_all_candidates_it_is_exact():
    parameters = {"leaves": 20, "leaves_to_search": 20, "reorder": len(VECTORS)}
    index = InvertedFileIndex(VECTORS, parameters, 10, seed=3)
    positions, scores = index.search(tf.constant(QUERIES), 10)
    exact = QUERIES @ VECTORS.T
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1)[:, :10], rtol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(exact, positions.numpy(), axis=1), scores, rtol=1e-5)


def test_scores_are_exact_and_leaves_smaller_than_k_are_padded():
    index = InvertedFileIndex(VECTORS, {"leaves": 1000, "leaves_to_search": 1, "reorder": 500}, 500, seed=3)
    positions, scores = (found.numpy() for found in index.search(tf.constant(QUERIES), 500))
    hit = positions >= 0
    assert hit[:, 0].all()
    assert not hit[:, -1].any()
    assert (scores[~hit] == -np.inf).all()
    exact = np.take_along_axis(QUERIES @ VECTORS.T, np.maximum(positions, 0), axis=1)
    np.testing.assert_allclose(scores[hit], exact[hit], rtol=1e-5)


def test_a_search_for_more_looks_into_more_leaves():
    index = InvertedFileIndex(VECTORS, {"leaves": 40, "leaves_to_search": 2, "reorder": 20}, 10, seed=3)
    positions, _ = index.search(tf.constant(QUERIES), 200)
    exact = np.argsort(-(QUERIES @ VECTORS.T), axis=1)[:, :200]
    found = np.mean([len(set(p) & set(e)) / 200 for p, e in zip(positions.numpy(), exact, strict=True)])
    assert found > 0.9


def test_no_query_gives_no_answer():
    index = InvertedFileIndex(VECTORS, {"leaves": 40, "leaves_to_search": 2, "reorder": 20}, 10, seed=3)
    positions, scores = tf.function(index.search)(tf.zeros([0, 16]), 10)
    assert positions.shape == scores.shape == (0, 10)
