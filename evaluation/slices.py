"""Cuts the evaluation requests into groups that a mean over all of them hides."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.eval_set import EvalCatalog, EvalRequests, normalize_query
from evaluation.training_counts import TrainingCounts

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Slice:
    """Some of the requests, and where it says so only some of their relevant items.

    Attributes:
      requests: [requests] which are in.
      items: [relevant] which relevant items count; None for all.
    """

    group: str
    name: str
    requests: BoolArray
    items: BoolArray | None = None

    @property
    def key(self) -> str:
        """`group=name`, as thresholds name it."""
        return f"{self.group}={self.name}"


def query_frequency(queries: Mapping[str, int]) -> dict[str, str]:
    """`head`, `torso` or `tail` for each training query, each about a third of the training requests.

    Queries are taken by falling count: those that together make up the first third of all requests are the
    head, the next third the torso. A query that is not among them is `unseen` to its caller.
    """
    total = sum(queries.values())
    before, names = 0, {}
    for query, count in sorted(queries.items(), key=lambda pair: (-pair[1], pair[0])):
        names[query] = "head" if 3 * before < total else "torso" if 3 * before < 2 * total else "tail"
        before += count
    return names


def make_slices(
    requests: EvalRequests, catalog: EvalCatalog, training: TrainingCounts, categories: int = 8
) -> list[Slice]:
    """All slices that hold a request.

    Args:
      requests: the evaluation requests.
      catalog: names the items' top categories.
      training: tells frequent from rare queries and known from new items.
      categories: how many of the most requested top categories get a slice of their own.
    """
    known = query_frequency(training.queries)
    frequency = np.array([known.get(normalize_query(query), "unseen") for query in requests.queries])
    slices = [Slice("query_frequency", name, frequency == name) for name in ("head", "torso", "tail", "unseen")]
    slices.append(Slice("history", "with", requests.has_history))
    slices.append(Slice("history", "without", ~requests.has_history))

    relevant = requests.relevant
    in_catalog = relevant.rows < len(catalog)
    new = np.zeros(len(relevant.rows), dtype=bool)
    new[in_catalog] = training.interactions[relevant.rows[in_catalog]] == 0
    slices.append(Slice("items", "new", _any_per_request(new, requests), new))

    # Of a log without impressions nobody knows what was on a page.
    for name, found in (("on_page", requests.on_page), ("off_page", ~requests.on_page)):
        if requests.has_impressions:
            slices.append(Slice("exposure", name, _any_per_request(found, requests), found))

    top = np.array([catalog.top_categories[row] if row < len(catalog) else "" for row in relevant.rows], dtype=object)
    by_name = {name: _any_per_request(top == name, requests) for name in sorted(set(top) - {""})}
    most = sorted(by_name, key=lambda name: (-int(by_name[name].sum()), name))[:categories]
    slices.extend(Slice("top_category", name, by_name[name], top == name) for name in most)
    return [piece for piece in slices if piece.requests.any()]


def _any_per_request(items: BoolArray, requests: EvalRequests) -> BoolArray:
    return np.bincount(requests.relevant.request, items, len(requests)) > 0
