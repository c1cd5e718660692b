"""The answer of a whole catalog out of those of its parts, shards or a delta index: the best k of all hits."""

from collections.abc import Container, Sequence

from souk_client.answers import Row
from souk_client.protocol import RelevanceControl


def merge(rows: Sequence[Row]) -> Row:
    """The best k hits of all shards' answers to one query, best first, equal scores by id; k is that of the longest.

    Scores of shards are comparable, as they come from one model; those of two versions of a model are not. A shard
    whose hits all failed to match what the query names answers as if nothing had been asked, which is not to stand
    beside hits that do match: where any shard has applied relevance control, only the answers of those that have count.

    A score that is not a number comes first, so that what is wrong with one shard is seen in the whole.

    Args:
      rows: one per part of the catalog, at least one; no item is in two of them.
    """
    k = max(len(row.ids) for row in rows)
    matched = [row for row in rows if row.relevance_control == RelevanceControl.APPLIED]
    done = {row.relevance_control for row in rows}
    control = next((c for c in (RelevanceControl.APPLIED, RelevanceControl.FALLBACK) if c in done), None)
    hits = sorted(
        (score == score, -score if score == score else 0.0, item_id, score)
        for row in matched or rows
        for item_id, score in zip(row.ids, row.scores, strict=True)
        if item_id
    )[:k]
    missing = k - len(hits)
    return Row(
        [item_id for _, _, item_id, _ in hits] + [b""] * missing,
        [score for _, _, _, score in hits] + [float("-inf")] * missing,
        control or rows[0].relevance_control,
    )


def without(row: Row, left_out: Container[bytes]) -> Row:
    """The answer of a part without the items that it no longer speaks for; the places that they had stay empty.

    Where that takes every hit that matched what the query names, the part counts as one that had no match.

    Args:
      row: best first.
      left_out: their ids.
    """
    hits = [hit for hit in zip(row.ids, row.scores, strict=True) if hit[0] not in left_out]
    missing = len(row.ids) - len(hits)
    if not missing:
        return row
    control = row.relevance_control
    if control == RelevanceControl.APPLIED and not any(item_id for item_id, _ in hits):
        control = RelevanceControl.FALLBACK
    return Row(
        [item_id for item_id, _ in hits] + [b""] * missing,
        [score for _, score in hits] + [float("-inf")] * missing,
        control,
    )
