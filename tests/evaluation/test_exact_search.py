import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.exact_search import exact_search, index_recall, top_k


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 1000))
def test_top_k_is_a_stable_sort_cut_short(columns, k, seed):
    scores = np.random.default_rng(seed).integers(0, 4, (3, columns)).astype(float)
    expected = [sorted(range(columns), key=lambda c, row=row: (-row[c], c))[:k] for row in scores]
    assert top_k(scores, k).tolist() == expected


@pytest.mark.parametrize("heads", [1, 3])
def test_exact_search_scores_an_item_by_its_best_head(heads):
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(7, heads, 5)).astype(np.float32)
    items = rng.normal(size=(50, 5)).astype(np.float32)
    rows, scores = exact_search(queries, items, 9)
    for query, found, score in zip(queries, rows, scores, strict=True):
        best = [max(float(head @ item) for head in query) for item in items]
        assert found.tolist() == sorted(range(50), key=lambda i: -best[i])[:9]
        assert score == pytest.approx(sorted(best, reverse=True)[:9], abs=1e-5)


def test_index_recall_is_the_share_of_the_exact_result():
    rng = np.random.default_rng(1)
    queries, items = rng.normal(size=(20, 2, 6)).astype(np.float32), rng.normal(size=(80, 6)).astype(np.float32)
    exact, _ = exact_search(queries, items, 10)
    assert index_recall(exact, queries, items, 10).tolist() == [1.0] * 20
    spoiled = exact.copy()
    worst = exact_search(queries, items, 80)[0][:, -3:]
    spoiled[:, 2:5] = worst
    spoiled[:, 9] = -1
    assert index_recall(spoiled, queries, items, 10) == pytest.approx(np.full(20, 0.6))


def test_an_index_that_keeps_one_of_equal_items_loses_nothing():
    rng = np.random.default_rng(2)
    queries, distinct = rng.normal(size=(5, 1, 4)).astype(np.float32), rng.normal(size=(30, 4)).astype(np.float32)
    twins = np.concatenate([distinct, distinct])
    exact, _ = exact_search(queries, distinct, 10)
    assert index_recall(exact, queries, twins, 10).tolist() == [1.0] * 5
    assert index_recall(exact + 30, queries, twins, 10).tolist() == [1.0] * 5


def test_items_that_the_index_was_not_given_are_not_missed():
    rng = np.random.default_rng(3)
    queries, items = rng.normal(size=(5, 1, 4)).astype(np.float32), rng.normal(size=(40, 4)).astype(np.float32)
    indexed = np.arange(40) % 2 == 0
    found = exact_search(queries, items[indexed], 10)[0] * 2
    assert index_recall(found, queries, items, 10, indexed).tolist() == [1.0] * 5
    assert index_recall(found, queries, items, 10).max() < 1.0


def test_a_catalog_smaller_than_k_can_still_be_found_whole():
    items = np.eye(3, dtype=np.float32)
    retrieved = np.array([[0, 1, 2, -1, -1]])
    assert index_recall(retrieved, items[None, :1], items, 5).tolist() == [1.0]
