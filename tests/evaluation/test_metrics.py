import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import metrics
from evaluation.metrics import Relevant

ITEMS = 12


@st.composite
def cases(draw):
    requests = draw(st.integers(1, 5))
    k = draw(st.integers(1, 8))
    retrieved = draw(
        st.lists(st.lists(st.integers(-2, ITEMS - 1), min_size=k, max_size=k), min_size=requests, max_size=requests)
    )
    wanted = [
        draw(st.dictionaries(st.integers(0, ITEMS + 2), st.sampled_from([1.0, 3.0, 0.1]), max_size=6))
        for _ in range(requests)
    ]
    return np.array(retrieved), wanted, draw(st.integers(1, 10))


def flat(wanted):
    triples = [(request, row, gain) for request, one in enumerate(wanted) for row, gain in one.items()]
    request, rows, gains = (
        (np.array(part) for part in zip(*triples, strict=True)) if triples else (np.zeros(0, int),) * 3
    )
    return Relevant(request.astype(np.int64), rows.astype(np.int64), gains.astype(float), len(wanted))


def first_place(results, row):
    return results.index(row) + 1 if row in results else 0


@settings(deadline=None, max_examples=150)
@given(cases())
def test_every_metric_equals_its_definition_request_by_request(case):
    retrieved, wanted, k = case
    relevant = flat(wanted)
    ranks = metrics.first_ranks(retrieved, relevant)
    expected = [first_place(retrieved[request].tolist(), row) for request, one in enumerate(wanted) for row in one]
    assert ranks.tolist() == expected

    found = {
        "recall": metrics.recall_at(ranks, relevant, k),
        "rr": metrics.reciprocal_rank(ranks, relevant, k),
        "ndcg": metrics.ndcg_at(ranks, relevant, k),
    }
    for request, one in enumerate(wanted):
        if not one:
            assert all(math.isnan(values[request]) for values in found.values())
            continue
        places = {row: first_place(retrieved[request].tolist(), row) for row in one}
        hits = [place for place in places.values() if 0 < place <= k]
        assert found["recall"][request] == pytest.approx(len(hits) / len(one))
        assert found["rr"][request] == pytest.approx(1 / min(hits) if hits else 0.0)
        gained = sum(gain / math.log2(1 + places[row]) for row, gain in one.items() if 0 < places[row] <= k)
        best = sum(gain / math.log2(1 + n) for n, gain in enumerate(sorted(one.values(), reverse=True)[:k], 1))
        assert found["ndcg"][request] == pytest.approx(gained / best)


@st.composite
def rankings(draw):
    """Rankings of distinct items and whole gains, which is all that trec_eval reads."""
    requests, k = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    retrieved = [draw(st.permutations(range(ITEMS)))[:k] for _ in range(requests)]
    gains = st.dictionaries(st.integers(0, ITEMS + 2), st.integers(1, 4), min_size=1, max_size=6)
    return np.array(retrieved), [draw(gains) for _ in range(requests)], draw(st.integers(1, 10))


@settings(deadline=None, max_examples=100)
@given(rankings())
def test_metrics_equal_those_of_trec_eval(case):
    """Its NDCG takes gains as they are, without an exponent, as ours does; its reciprocal rank knows no k."""
    retrieved, wanted, k = case
    judged = {str(request): {str(row): gain for row, gain in one.items()} for request, one in enumerate(wanted)}
    lists = {
        str(request): {str(row): float(-place) for place, row in enumerate(rows)}
        for request, rows in enumerate(retrieved.tolist())
    }
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {f"recall.{k}", f"ndcg_cut.{k}", "recip_rank"})
    theirs = evaluator.evaluate(lists)

    relevant = flat(wanted)
    ranks = metrics.first_ranks(retrieved, relevant)
    ours = {
        f"recall_{k}": metrics.recall_at(ranks, relevant, k),
        f"ndcg_cut_{k}": metrics.ndcg_at(ranks, relevant, k),
        "recip_rank": metrics.reciprocal_rank(ranks, relevant, retrieved.shape[1]),
    }
    for name, values in ours.items():
        assert values.tolist() == pytest.approx([theirs[str(request)][name] for request in range(len(wanted))]), name


@settings(deadline=None, max_examples=100)
@given(rankings(), st.lists(st.sets(st.integers(0, ITEMS + 2), max_size=4), min_size=5, max_size=5))
def test_condensed_metrics_equal_those_of_trec_eval(case, wrong):
    """By its option `-J`, which removes what is not judged; `wrong` are items that are judged and not relevant."""
    retrieved, wanted, k = case
    judged = [dict.fromkeys(no, 0) | one for one, no in zip(wanted, wrong, strict=False)]
    lists = {
        str(request): {str(row): float(-place) for place, row in enumerate(rows)}
        for request, rows in enumerate(retrieved.tolist())
    }
    grades = {str(request): {str(row): gain for row, gain in one.items()} for request, one in enumerate(judged)}
    measures = {f"recall.{k}", f"ndcg_cut.{k}"}
    theirs = pytrec_eval.RelevanceEvaluator(grades, measures, judged_docs_only_flag=True).evaluate(lists)

    relevant, known = flat(wanted), flat(judged)
    shorter = metrics.condensed(retrieved, known)
    ranks = metrics.first_ranks(shorter, relevant)
    for request, rows in enumerate(retrieved.tolist()):
        kept = [row for row in rows if row in judged[request]]
        assert shorter[request].tolist() == kept + [-1] * (len(rows) - len(kept))
        if kept:
            found = theirs[str(request)]
            assert metrics.recall_at(ranks, relevant, k)[request] == pytest.approx(found[f"recall_{k}"])
            assert metrics.ndcg_at(ranks, relevant, k)[request] == pytest.approx(found[f"ndcg_cut_{k}"])


@settings(deadline=None, max_examples=50)
@given(cases())
def test_judged_share_is_of_the_hits_within_k(case):
    retrieved, judged, k = case
    found = metrics.judged_at(retrieved, flat(judged), k)
    for request, rows in enumerate(retrieved.tolist()):
        hits = [row for row in rows[:k] if row >= 0]
        known = [row for row in hits if row in judged[request]]
        assert found[request] == pytest.approx(len(known) / len(hits) if hits else math.nan, nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(cases())
def test_coverage_counts_distinct_catalog_items_within_k(case):
    retrieved, _, k = case
    seen = {row for results in retrieved.tolist() for row in results[:k] if 0 <= row < ITEMS - 2}
    assert metrics.coverage_at(retrieved, k, ITEMS - 2) == pytest.approx(len(seen) / (ITEMS - 2))


def test_a_repeated_item_is_found_once_at_its_first_place():
    relevant = Relevant(np.array([0]), np.array([7]), np.array([1.0]), 1)
    assert metrics.first_ranks(np.array([[3, 7, 7, 3]]), relevant).tolist() == [2]


def test_padding_is_never_a_hit():
    relevant = Relevant(np.array([0, 1]), np.array([0, 1]), np.ones(2), 2)
    assert metrics.first_ranks(np.full((2, 3), -1), relevant).tolist() == [0, 0]


def test_lists_for_another_number_of_requests_are_an_error():
    relevant = Relevant(np.array([0]), np.array([0]), np.ones(1), 2)
    with pytest.raises(ValueError, match="has 1 requests, `relevant` has 2"):
        metrics.first_ranks(np.zeros((1, 3), int), relevant)
