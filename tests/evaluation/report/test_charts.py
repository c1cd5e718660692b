import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.bootstrap import Estimate
from evaluation.report import charts


@settings(deadline=None, max_examples=100)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_evenly_spaced_and_hold_the_range(low, span):
    high = low + span
    ticks = charts.nice_ticks(low, high)
    tolerance = 1e-6 * max(abs(low), abs(high), 1.0)
    assert ticks[0] <= low + tolerance
    assert ticks[-1] >= high - tolerance
    assert 2 <= len(ticks) <= 8


def test_ticks_of_a_single_value_still_span_something():
    assert charts.nice_ticks(0.5, 0.5)[0] < charts.nice_ticks(0.5, 0.5)[-1]
    assert len(charts.nice_ticks(0.0, 0.0)) >= 2


def test_a_whisker_lies_on_its_track_in_proportion():
    panel = charts.whisker_panel("recall@10", [("Candidate", "candidate", Estimate(0.5, 0.4, 0.7))], (0.0, 1.0))
    (whisker,) = panel.whiskers
    assert (whisker.low, whisker.dot, whisker.low + whisker.width) == pytest.approx((40.0, 50.0, 70.0))
    assert panel.ticks[0].label == "0"
    assert panel.ticks[-1].at == 100.0


def test_training_charts_pair_training_with_eval_and_leave_out_what_is_no_series():
    history = {
        "loss": [3.0, 2.0, 1.0],
        "total_loss": [3.0, 2.0, 1.0],
        "val_loss": [3.0, 2.5, 2.4],
        "recall@100": [0.1, 0.2, 0.4],
        "broken": [1.0, float("nan")],
        "words": ["a"],
        "none": [],
    }
    found = {chart.title: chart for chart in charts.training_charts(history)}
    assert list(found) == ["loss", "recall@100"]
    assert [series.label for series in found["loss"].series] == ["training", "eval"]
    assert found["loss"].description == "loss over 3 epochs: training from 3 to 1; eval from 3 to 2.4"
    heights = [y for _, y in found["recall@100"].series[0].marks]
    assert heights == sorted(heights, reverse=True)


def test_one_epoch_is_a_chart_too():
    (chart,) = charts.training_charts({"loss": [1.5]})
    assert len(chart.series[0].marks) == 1


def test_the_index_chart_joins_only_settings_that_no_faster_one_matches():
    curve = [
        {"name": "exact", "recall": 1.0, "latency_ms": 4.0, "parameters": {}, "chosen": False},
        {"name": "tree", "recall": 0.9, "latency_ms": 1.0, "parameters": {"leaves": 10}, "chosen": True},
        {"name": "tree", "recall": 0.8, "latency_ms": 2.0, "parameters": {"leaves": 5}, "chosen": False},
        {"name": "not measured"},
    ]
    chart = charts.index_chart(curve)
    assert [point.label for point in chart.points] == ["tree, leaves 10", "tree, leaves 5", "exact"]
    assert [point.chosen for point in chart.points] == [True, False, False]
    assert len(chart.line.split()) == 2
    assert "chosen: tree, leaves 10, recall 0.900 at 1 ms" in chart.description
    assert charts.index_chart([]) is None
