"""What is wrong with an answer, in plain words; pure functions of what came over the wire."""

import itertools
import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from schema import features
from souk_client.client import Signature

# Signature -> its inputs and its outputs.
EXPECTED_SIGNATURES = {
    features.SIGNATURE_DEFAULT: ({features.INPUT_EXAMPLES}, {features.OUTPUT_ITEM_IDS, features.OUTPUT_SCORES}),
    features.SIGNATURE_QUERY_TEXT: ({features.INPUT_QUERY}, {features.OUTPUT_ITEM_IDS, features.OUTPUT_SCORES}),
    features.SIGNATURE_ENCODE_QUERY: ({features.INPUT_EXAMPLES}, {features.OUTPUT_VECTORS}),
    features.SIGNATURE_ENCODE_ITEMS: ({features.INPUT_EXAMPLES}, {features.OUTPUT_VECTORS}),
}


class Problem(NamedTuple):
    """A kind of problem, worded the same for every answer that has it, and the detail of this one."""

    kind: str
    detail: str = ""


def check_signatures(signatures: dict[str, Signature]) -> list[Problem]:
    """What the candidate's signatures lack; nothing if all that Souk's clients call is there."""
    problems = []
    for name, (inputs, outputs) in EXPECTED_SIGNATURES.items():
        found = signatures.get(name)
        if found is None:
            problems.append(Problem(f"signature `{name}` is missing"))
        elif not (found.inputs.keys() == inputs and found.outputs.keys() >= outputs):
            problems.append(
                Problem(
                    f"signature `{name}` maps {sorted(found.inputs)} to {sorted(found.outputs)}, "
                    f"expected {sorted(inputs)} to {sorted(outputs)}"
                )
            )
    return problems


def check_answer(ids: Sequence[bytes], scores: Sequence[float], known: Collection[bytes], wanted: int) -> list[Problem]:
    """What is wrong with one answer.

    Args:
      ids: item ids as returned, "" where a place holds no item.
      scores: their scores, -inf where a place holds no item.
      known: ids of the catalog.
      wanted: how many items the answer must hold.
    """
    if len(ids) != len(scores):
        return [Problem("ids and scores differ in number", f"{len(ids)} and {len(scores)}")]
    count = next((place for place, item_id in enumerate(ids) if not item_id), len(ids))
    found, found_scores = ids[:count], scores[:count]
    problems = []
    if any(ids[count:]):
        problems.append(Problem("an item comes after an empty place", f"place {count + 1} is empty"))
    if any(score != -math.inf for score in scores[count:]):
        problems.append(Problem("an empty place has a score other than -inf"))
    if count < wanted:
        problems.append(Problem("too few items are found", f"{count}, expected {wanted}"))
    repeated = [item_id for item_id, group in itertools.groupby(sorted(found)) if len(list(group)) > 1]
    if repeated:
        problems.append(Problem("an item is returned more than once", _shown(repeated[0])))
    unknown = [item_id for item_id in found if item_id not in known]
    if unknown:
        problems.append(Problem("an item is not in the catalog", _shown(unknown[0])))
    if not all(math.isfinite(score) for score in found_scores):
        problems.append(Problem("a score is not a finite number"))
    elif any(later > earlier for earlier, later in itertools.pairwise(found_scores)):
        problems.append(Problem("the scores do not go down from place to place"))
    return problems


def check_vectors(values: Sequence[float], shape: Sequence[int], rows: int, rank: int) -> list[Problem]:
    """What is wrong with the `rows` vectors that an encoder returned as one tensor of rank `rank`."""
    if len(shape) != rank or shape[0] != rows or 0 in shape:
        return [Problem("vectors have a wrong shape", f"{list(shape)}, expected {rows} rows of rank {rank}")]
    if not all(math.isfinite(value) for value in values):
        return [Problem("a vector holds a number that is not finite")]
    return []


def check_latency(p99_ms: float, limit_ms: float, slowdown: float, attempts: int) -> list[Problem]:
    """Whether the latency is within its limit.

    Args:
      p99_ms: the 99th percentile of the requests' latencies, each the lowest of the attempts.
      limit_ms: largest allowed one on a machine that does nothing else.
      slowdown: how many times slower the machine was because of other work.
      attempts: how often the requests were sent.
    """
    if p99_ms <= limit_ms * slowdown:
        return []
    how = f", each request at its fastest of {attempts} attempts" if attempts > 1 else ""
    detail = f"{p99_ms:.1f} ms{how}; allowed {scaled(limit_ms, slowdown, 'ms')}"
    return [Problem("the 99th percentile of the latency is too high", detail)]


def scaled(limit: float, slowdown: float, unit: str) -> str:
    """A limit and how it came about, in words."""
    if slowdown == 1:
        return f"{limit:g} {unit}"
    return f"{limit * slowdown:.4g} {unit}, {limit:g} {unit} times {slowdown:.1f}, as other work slows the machine"


def _shown(item_id: bytes) -> str:
    return repr(item_id.decode(errors="replace")[:80])
