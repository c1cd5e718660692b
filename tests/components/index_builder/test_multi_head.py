import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.index_builder.multi_head import search_heads, unite
from components.index_builder.search_index import ExactIndex

hits = st.lists(st.tuples(st.integers(-1, 6), st.integers(-20, 20)), min_size=6, max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.lists(hits, min_size=1, max_size=4), st.integers(1, 6))
def test_union_keeps_each_position_once_with_its_best_score(rows, k):
    positions = tf.constant([[p for p, _ in row] for row in rows], tf.int32)
    scores = tf.constant([[float(s) for _, s in row] for row in rows])
    got_positions, got_scores = unite(positions, scores, k)
    for row, p_row, s_row in zip(rows, got_positions.numpy(), got_scores.numpy(), strict=True):
        best: dict[int, float] = {}
        for position, score in row:
            if position >= 0:
                best[position] = max(best.get(position, -np.inf), score)
        expected = sorted(best.values(), reverse=True)[:k]
        kept = [p for p in p_row if p >= 0]
        assert len(set(kept)) == len(kept) == len(expected)
        assert s_row[: len(expected)].tolist() == expected
        assert all(best[p] == s for p, s in zip(kept, s_row, strict=False))
        assert np.all(np.isneginf(s_row[len(expected) :]))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_searching_per_head_equals_ranking_by_the_best_head(heads):
    rng = np.random.default_rng(heads)
    items = rng.normal(size=(200, 8)).astype(np.float32)
    queries = rng.normal(size=(5, heads, 8)).astype(np.float32)
    positions, scores = search_heads(ExactIndex(items), tf.constant(queries), 20)
    for q in range(5):
        best = (items @ queries[q].T).max(axis=1)
        expected = np.argsort(-best)[:20]
        assert set(positions.numpy()[q]) == set(expected)
        np.testing.assert_allclose(scores.numpy()[q], best[expected], rtol=1e-4)
