"""Where two answers to one query differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from souk_client.client import Hit


@dataclass(frozen=True)
class Comparison:
    """Two answers beside each other; ranks are looked up in the whole answers, not only in what is shown.

    Attributes:
      shown: how many places were compared for `shared` and `same_rank`.
      shared: items that are among the first `shown` of both.
      same_rank: items that have one and the same rank there.
      other_ranks: for each side, per hit shown, the item's rank in the other answer, or None if it is not in it.
    """

    shown: int
    shared: int
    same_rank: int
    other_ranks: tuple[tuple[int | None, ...], tuple[int | None, ...]]


def compare(left: Sequence[Hit], right: Sequence[Hit], k: int) -> Comparison:
    """The comparison of two whole answers of which the first `k` hits are shown."""
    left_ranks, right_ranks = ({hit.item_id: hit.rank for hit in hits} for hits in (left, right))
    shared = [hit for hit in left[:k] if right_ranks.get(hit.item_id, k + 1) <= k]
    return Comparison(
        shown=max(len(left[:k]), len(right[:k])),
        shared=len(shared),
        same_rank=sum(right_ranks[hit.item_id] == hit.rank for hit in shared),
        other_ranks=(
            tuple(right_ranks.get(hit.item_id) for hit in left[:k]),
            tuple(left_ranks.get(hit.item_id) for hit in right[:k]),
        ),
    )
