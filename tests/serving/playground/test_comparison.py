from hypothesis import given, settings
from hypothesis import strategies as st

from serving.playground.comparison import Comparison, compare
from souk_client.client import Hit

ids = st.lists(st.sampled_from("abcdefghij"), unique=True)


def _hits(names):
    return [Hit(rank, name, 0.0) for rank, name in enumerate(names, start=1)]


def test_an_item_past_the_shown_has_moved_and_is_not_only_here():
    assert compare(_hits("abc"), _hits("cdb"), k=2) == Comparison(2, 0, 0, ((None, 3), (3, None)))


def test_equal_answers_differ_in_nothing():
    assert compare(_hits("ab"), _hits("ab"), k=5) == Comparison(2, 2, 2, ((1, 2), (1, 2)))


@given(ids, ids, st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_counts_and_ranks_are_those_of_sets_and_positions(left, right, k):
    found = compare(_hits(left), _hits(right), k)
    assert found.shared == len(set(left[:k]) & set(right[:k]))
    assert found.same_rank == sum(a == b for a, b in zip(left[:k], right[:k], strict=False))
    for shown, other, ranks in ((left, right, found.other_ranks[0]), (right, left, found.other_ranks[1])):
        assert list(ranks) == [other.index(name) + 1 if name in other else None for name in shown[:k]]
