from math import inf, nan

import pytest

from components.canary.checks import check_answer, check_latency, check_signatures, check_vectors, scaled
from souk_client.client import Signature, TensorSpec

KNOWN = {b"a", b"b", b"c", b"d"}
TEXT, NUMBERS = TensorSpec("DT_STRING", (-1,)), TensorSpec("DT_FLOAT", (-1, 4))
ANSWER = {"item_ids": TEXT, "scores": NUMBERS}
COMPLETE = {
    "serving_default": Signature({"examples": TEXT}, ANSWER),
    "query_text": Signature({"query": TEXT}, ANSWER),
    "encode_query": Signature({"examples": TEXT}, {"vectors": NUMBERS}),
    "encode_items": Signature({"examples": TEXT}, {"vectors": NUMBERS}),
}


@pytest.mark.parametrize(
    ("ids", "scores", "wanted"),
    [
        ([b"a", b"b", b"c"], [0.9, 0.5, 0.5], 3),
        ([b"a", b"", b""], [0.9, -inf, -inf], 1),
        ([b"", b""], [-inf, -inf], 0),
        ([b"c"], [-3.0], 1),
    ],
)
def test_a_good_answer_has_no_problem(ids, scores, wanted):
    assert check_answer(ids, scores, KNOWN, wanted) == []


@pytest.mark.parametrize(
    ("ids", "scores", "wanted", "kind", "detail"),
    [
        ([b"a", b"b"], [0.9], 2, "ids and scores differ in number", "2 and 1"),
        ([b"a", b""], [0.9, -inf], 2, "too few items are found", "1, expected 2"),
        ([b"a", b"", b"c"], [0.9, -inf, -inf], 1, "an item comes after an empty place", "place 2 is empty"),
        ([b"a", b""], [0.9, 0.1], 1, "an empty place has a score other than -inf", ""),
        ([b"a", b"b", b"a"], [0.9, 0.8, 0.7], 3, "an item is returned more than once", "'a'"),
        ([b"a", b"z\xff"], [0.9, 0.8], 2, "an item is not in the catalog", "'z\ufffd'"),
        ([b"a", b"b"], [0.9, nan], 2, "a score is not a finite number", ""),
        ([b"a", b"b"], [inf, 0.9], 2, "a score is not a finite number", ""),
        ([b"a", b"b"], [0.9, -inf], 2, "a score is not a finite number", ""),
        ([b"a", b"b"], [0.8, 0.9], 2, "the scores do not go down from place to place", ""),
    ],
)
def test_each_thing_that_is_wrong_with_an_answer_is_named(ids, scores, wanted, kind, detail):
    assert check_answer(ids, scores, KNOWN, wanted) == [(kind, detail)]


def test_an_answer_can_have_several_problems():
    found = check_answer([b"z", b"z"], [0.1, 0.2], KNOWN, 3)
    assert [problem.kind for problem in found] == [
        "too few items are found",
        "an item is returned more than once",
        "an item is not in the catalog",
        "the scores do not go down from place to place",
    ]


def test_a_complete_set_of_signatures_has_no_problem():
    assert check_signatures({**COMPLETE, "another": Signature({}, {})}) == []


def test_a_missing_or_different_signature_is_named():
    broken = {**COMPLETE, "query_text": Signature({"text": TEXT}, ANSWER)}
    del broken["encode_items"]
    assert [problem.kind for problem in check_signatures(broken)] == [
        "signature `query_text` maps ['text'] to ['item_ids', 'scores'], expected ['query'] to ['item_ids', 'scores']",
        "signature `encode_items` is missing",
    ]


@pytest.mark.parametrize(
    ("values", "shape", "kind"),
    [
        ([0.0] * 6, [3, 2], None),
        ([0.0] * 6, [2, 3], "vectors have a wrong shape"),
        ([0.0] * 6, [3, 1, 2], "vectors have a wrong shape"),
        ([], [3, 0], "vectors have a wrong shape"),
        ([0.0, nan, 0.0], [3, 1], "a vector holds a number that is not finite"),
    ],
)
def test_vectors_must_have_their_shape_and_finite_numbers(values, shape, kind):
    assert [problem.kind for problem in check_vectors(values, shape, rows=3, rank=2)] == ([kind] if kind else [])


def test_the_latency_may_reach_its_limit_but_not_pass_it():
    assert check_latency(50.0, 50.0, slowdown=1.0, attempts=1) == []
    assert check_latency(50.1, 50.0, slowdown=1.0, attempts=1)[0].detail == "50.1 ms; allowed 50 ms"


def test_a_slowed_machine_has_a_larger_latency_limit():
    assert check_latency(125.0, 50.0, slowdown=2.5, attempts=3) == []
    (problem,) = check_latency(126.0, 50.0, slowdown=2.5, attempts=3)
    assert problem.kind == "the 99th percentile of the latency is too high"
    assert problem.detail == (
        "126.0 ms, each request at its fastest of 3 attempts; "
        "allowed 125 ms, 50 ms times 2.5, as other work slows the machine"
    )


def test_a_limit_that_nothing_stretches_is_told_alone():
    assert scaled(120.0, 1.0, "s") == "120 s"
