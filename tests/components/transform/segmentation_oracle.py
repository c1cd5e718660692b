"""Segmentation by trying every cut: obviously right, exponentially slow."""

from collections.abc import Iterator, Mapping, Sequence

MAX_UNITS = 4
IMPOSSIBLE = -(1 << 40)


def cuts(units: Sequence[str]) -> Iterator[list[str]]:
    if not units:
        yield []
        return
    for length in range(1, min(MAX_UNITS, len(units)) + 1):
        for rest in cuts(units[length:]):
            yield ["_".join(units[:length]), *rest]


def segment(units: Sequence[str], scores: Mapping[str, int], unknown_unit: int) -> list[str]:
    """Best cut; of equal ones the one with the longest last segment, then the longest one before it."""

    def score(segment: str) -> int:
        return scores.get(segment, unknown_unit if "_" not in segment else IMPOSSIBLE)

    def key(cut: list[str]) -> tuple[int, list[int]]:
        return sum(score(s) for s in cut), [s.count("_") for s in reversed(cut)]

    possible = [cut for cut in cuts(units) if all(score(s) > IMPOSSIBLE for s in cut)]
    return max(possible, key=key)
