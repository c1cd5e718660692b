import dataclasses
import re

import pytest

from components.recall_gate.config import GateConfig, SliceThresholds
from components.recall_gate.verdict import Measurements, judge, unless_overtaken
from evaluation.bootstrap import Estimate
from evaluation.results import Health, IndexRecall, Latency, Sample, SliceResult, SystemResult, Verdict

CONFIG = GateConfig(min_recall=0.3, max_relative_drop=0.05, must_beat=("popularity",))


def around(value, half=0.01):
    return Estimate(value, value - half, value + half)


def system(key, recall, lead=None):
    behind = {} if lead is None else {"recall@100": lead}
    return SystemResult(key, key.title(), "", {"recall@100": recall}, {}, behind)


RECALL, FAR_BETTER, EQUAL, INDEX = around(0.6), around(0.4), around(0.0), around(0.97)
HEALTHY = Health(0.0, 0, 0)


def measured(
    requests=1000,
    queries=400,
    recall=RECALL,
    lead_on_popularity=FAR_BETTER,
    lead_on_blessed=EQUAL,
    slices=(),
    index=INDEX,
    p99=5.0,
    health=HEALTHY,
    gone=None,
):
    return Measurements(
        sample=Sample(2000, requests, requests, queries, 2000, 500, 9000, (0, 1), (2, 3), gone),
        systems=[
            system("candidate", recall),
            system("popularity", around(0.2), lead_on_popularity),
            system("baseline", around(0.6), lead_on_blessed),
        ],
        slices=slices,
        index_recall=IndexRecall(100, 400, index),
        latency=Latency(200, 2.0, 2.0, 3.0, p99),
        health=health,
    )


def status(verdict, name):
    return next(check.status for check in verdict.checks if re.search(name, check.name))


def test_a_good_servable_is_blessed_with_its_reasons():
    verdict = judge(measured(), CONFIG)
    assert verdict.blessed
    assert any("shown to be no drop of more than 5% of 0.600" in reason for reason in verdict.reasons)
    assert {check.status for check in verdict.checks} == {"passed"}


def test_clicks_on_left_out_items_explain_low_recall_first():
    twins = dataclasses.replace(measured().sample, left_out_items=400, left_out_clicks=1500)
    good = dataclasses.replace(measured(), sample=twins)
    weak = dataclasses.replace(measured(lead_on_popularity=around(-0.4)), sample=twins)
    slow = dataclasses.replace(measured(index=around(0.5)), sample=twins)
    assert judge(good, CONFIG).blessed
    assert "left 400 of 500 items out of the index" in judge(weak, CONFIG).reasons[0]
    assert "Of the 2,000 clicked, carted and ordered items of the eval requests 1,500" in judge(weak, CONFIG).reasons[0]
    assert "The model has not learned the queries" in judge(weak, CONFIG).reasons[1]
    assert len(judge(slow, CONFIG).reasons) == 1


def test_a_catalog_lacking_too_many_clicks_is_always_refused():
    assert judge(measured(gone=0.2), CONFIG).blessed
    verdict = judge(measured(gone=0.21), CONFIG)
    assert not verdict.blessed
    assert "The catalog lacks 21.0% of what searchers clicked" in verdict.reasons[0]
    assert judge(measured(gone=0.21), CONFIG.model_copy(update={"max_gone_share": 0.3})).blessed


@pytest.mark.parametrize(
    ("lead", "expected"),
    [
        (Estimate(0.02, 0.01, 0.03), "passed"),
        (Estimate(0.0, -0.029, 0.029), "passed"),
        (Estimate(-0.02, -0.03, -0.01), "passed"),
        (Estimate(0.0, -0.031, 0.031), "undecided"),
        (Estimate(0.05, -0.2, 0.3), "undecided"),
        (Estimate(-0.03, -0.04, -0.02), "undecided"),
        (Estimate(-0.05, -0.07, -0.031), "failed"),
    ],
)
def test_the_whole_interval_must_be_within_the_tolerated_drop(lead, expected):
    # 5 % of 0.6: a drop of 0.03 is tolerated.
    verdict = judge(measured(lead_on_blessed=lead), CONFIG)
    assert status(verdict, "against the blessed servable") == expected
    assert verdict.blessed == (expected == "passed")


@pytest.mark.parametrize(
    ("change", "check", "expected", "reason"),
    [
        ({"recall": around(0.2)}, "^recall@100$", "failed", "below 0.3"),
        ({"recall": around(0.3, 0.05)}, "^recall@100$", "undecided", "does not show it to be at least 0.3"),
        ({"lead_on_popularity": around(-0.1)}, "Popularity", "failed", "no better than Popularity"),
        ({"lead_on_popularity": around(0.0)}, "Popularity", "undecided", "does not show it to be better"),
        ({"index": around(0.5)}, "index recall@100", "failed", "below 0.9.*IndexBuilder"),
        ({"p99": 50.0}, "latency p99", "failed", "takes 50.0 ms or more"),
        ({"health": Health(0.2, 0, 0)}, "without any result", "failed", "20.0% of the requests got no item"),
        ({"health": Health(0.0, 3, 0)}, "scores are numbers", "failed", "3 requests .* the model has diverged"),
    ],
)
def test_each_threshold_refuses_and_says_why(change, check, expected, reason):
    verdict = judge(measured(**change), CONFIG.model_copy(update={"max_latency_p99_ms": 20.0}))
    assert not verdict.blessed
    assert status(verdict, check) == expected
    assert len(verdict.reasons) == 1
    assert re.search(reason, verdict.reasons[0])


@pytest.mark.parametrize(
    ("change", "found"), [({"requests": 199}, "199 evaluation requests"), ({"queries": 29}, "29 distinct queries")]
)
def test_too_small_a_split_refuses_for_that_reason_alone(change, found):
    verdict = judge(measured(recall=around(0.0), **change), CONFIG)
    assert not verdict.blessed
    assert len(verdict.reasons) == 1
    assert f"too small to decide: {found}" in verdict.reasons[0]


def test_without_a_blessed_servable_the_rest_decides():
    first = measured()
    alone = Measurements(first.sample, first.systems[:2], (), first.index_recall, first.latency, first.health)
    assert judge(alone, CONFIG).blessed


def sliced(requests, recall, lead):
    return SliceResult(
        "query_frequency",
        "tail",
        requests,
        requests,
        {"candidate": recall, "baseline": around(0.5)},
        {"baseline": lead},
    )


@pytest.mark.parametrize(
    ("piece", "blessed"),
    [
        (sliced(100, around(0.5), around(0.0)), True),
        (sliced(100, around(0.1), around(0.0)), False),
        (sliced(100, around(0.5), around(-0.3)), False),
        (sliced(10, around(0.0), around(-0.5)), True),
        (None, True),
    ],
)
def test_a_slice_is_judged_only_where_it_is_large_enough(piece, blessed):
    config = CONFIG.model_copy(
        update={"slices": {"query_frequency=tail": SliceThresholds(min_recall=0.2, max_relative_drop=0.1)}}
    )
    verdict = judge(measured(slices=[piece] if piece else []), config)
    assert verdict.blessed == blessed
    if piece is None or piece.requests < config.min_slice_requests:
        assert status(verdict, "slice query_frequency=tail") == "skipped"


@pytest.mark.parametrize(("blessed", "kept"), [(True, ()), (False, ("too slow",))])
def test_an_overtaken_model_is_refused_with_its_other_reasons(blessed, kept):
    verdict = Verdict(blessed, ("too slow",), ())
    assert unless_overtaken(verdict, "monday", "monday") is verdict
    refused = unless_overtaken(verdict, "monday", "tuesday")
    assert (refused.blessed, refused.reasons[1:]) == (False, kept)
    assert "A newer model was blessed" in refused.reasons[0]
