import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.fusion import reciprocal_rank_fusion

LISTS = st.lists(st.integers(-1, 7), min_size=4, max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(LISTS, LISTS), min_size=1, max_size=4), st.integers(1, 9))
def test_rows_are_ordered_by_the_sum_of_their_reciprocal_ranks(requests, k):
    first, second = (np.array(lists) for lists in zip(*requests, strict=True))
    found = reciprocal_rank_fusion([first, second], k)
    for lists, rows in zip(requests, found.tolist(), strict=True):
        every = {row for one in lists for row in one if row >= 0}
        sums = {row: sum(1 / (60 + one.index(row) + 1) for one in lists if row in one) for row in every}
        kept = [row for row in rows if row >= 0]
        assert rows == kept + [-1] * (k - len(kept))
        assert len(set(kept)) == len(kept) == min(k, len(every))
        assert [sums[row] for row in kept] == pytest.approx(sorted(sums.values(), reverse=True)[:k])


def test_of_equal_sums_that_of_the_first_ranking_comes_first():
    assert reciprocal_rank_fusion([np.array([[5, 3]]), np.array([[2, 3]])], 4).tolist() == [[3, 5, 2, -1]]
