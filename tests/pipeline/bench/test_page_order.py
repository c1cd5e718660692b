from itertools import combinations
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.metrics import Relevant
from pipeline.bench.page_order import page_stages, pairwise_auc

PAGES = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([-1.0, 0.0, 0.5, 2.0])), min_size=5, max_size=5),
    min_size=1,
    max_size=6,
)


def by_counting(page, above):
    """Oracle: every pair of one page, one by one."""
    right = pairs = 0.0
    for first, second in combinations(page, 2):
        (low, low_score), (high, high_score) = sorted((first, second), key=lambda item: item[0])
        if 0 < low < high and high >= above:
            pairs += 1
            right += 1.0 if high_score > low_score else 0.5 if high_score == low_score else 0.0
    return right / pairs if pairs else np.nan


@settings(max_examples=60, deadline=None)
@given(PAGES, st.integers(1, 3))
def test_it_is_the_share_of_pairs_in_the_searchers_order(pages, above):
    stages = np.array([[stage for stage, _ in page] for page in pages])
    scores = np.array([[score for _, score in page] for page in pages])
    expected = [by_counting(page, above) for page in pages]
    np.testing.assert_allclose(pairwise_auc(scores, stages, above), expected)


def test_stages_stand_at_shown_places_and_lost_items_have_none():
    requests = SimpleNamespace(
        shown=np.array([[4, 2, 9, -1], [2, 0, -1, -1]]),
        # Item 3 of the first request was found off the page; row 9 is no item of the catalog of five.
        relevant=Relevant(np.array([0, 0, 0, 1]), np.array([2, 3, 9, 2]), np.ones(4), 2),
        stages=np.array([3, 2, 2, 2]),
    )
    assert page_stages(requests, 5).tolist() == [[1, 3, 0, 0], [2, 1, 0, 0]]
