import dataclasses

import pytest

from evaluation.bootstrap import Estimate
from pipeline.bench.report import render_report, write_figure
from pipeline.bench.results import BenchResult, Comparison, Measured, SliceSize, System

NASTY = "<script>alert('x')</script> & $x^2$"


def system(name, kind="variant", base="", recall=0.5):
    found = Measured(Estimate(recall, recall - 0.1, recall + 0.1), (recall - 0.01, recall + 0.01))
    return System(
        name=name,
        label=name,
        about="",
        kind=kind,
        base=base,
        seeds=(1, 2),
        metrics={"recall@10": found, "recall@100": found, "ndcg@10": found},
        slices={"recall@100": {"history=with": found}},
        examples_per_second=(100.0, 110.0),
        latency_ms=(1.0, 2.0),
        settings={},
        history={"recall@100": [0.1, 0.3, recall]},
    )


def change(name, low, value, high):
    estimate = Estimate(value, low, high)
    return Comparison(name, "whole", "recall@100", "all", estimate, estimate, ())


@pytest.fixture
def result():
    return BenchResult(
        data_note="simulated logs",
        requests=10,
        queries=5,
        items=100,
        train_requests=50,
        order_requests=0,
        ks=(10, 100),
        confidence=0.95,
        slices=(SliceSize("history=with", 10, 5),),
        systems=(system("whole"), system("no history", base="whole"), system(NASTY, kind="reference")),
        over_base=(change("no history", -0.3, -0.2, -0.1),),
        over_references=(),
        targets=(),
    )


def test_the_page_has_a_chart_of_every_kind(result):
    page = render_report(result)
    for description in (
        "recall@100 of whole: 0.500, interval 0.400 to 0.600; no history: 0.500",
        "NDCG@10 of whole: ",
        "against whole, % of no history: -20.0 %, interval -30.0 % to -10.0 %",
        "history: with, 10 requests, 5 queries of whole: ",
        "whole, recall@100 over 3 epochs: from 0.1 to 0.5",
    ):
        assert f'aria-label="{description}' in page, description
    assert "order within a search" not in page


def test_labels_are_escaped_in_table_and_chart(result):
    page = render_report(result)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 2


def test_a_change_is_colored_only_if_its_interval_excludes_zero(result):
    colors = {}
    for name, ends in {"bad": (-0.3, -0.2, -0.1), "candidate": (0.1, 0.2, 0.3), "other": (-0.1, 0.1, 0.3)}.items():
        page = render_report(dataclasses.replace(result, over_base=(change("no history", *ends),)))
        chart = page[page.index('aria-label="against whole') :].split("</svg>")[0]
        colors[name] = [role for role in ("bad", "candidate", "other") if f"var(--{role})" in chart]
    assert colors == {name: [name] for name in colors}


def test_oracles_have_a_color_of_their_own_and_a_line_across(result):
    # The line of the zero of a change is gray.
    assert "stroke-dasharray" not in render_report(dataclasses.replace(result, over_base=()))
    oracle = dataclasses.replace(system("oracle_query", recall=0.7), kind="oracle")
    page = render_report(dataclasses.replace(result, systems=(*result.systems, oracle)))
    charts = {chart.split(":")[0]: chart.split("</svg>")[0] for chart in page.split('aria-label="')[1:]}
    for name in ("recall@100 of whole", "history"):
        assert "stroke-dasharray" in charts[name], name
        assert "var(--baseline)" in charts[name], name
    assert "◆ Oracle" in page
    assert '<th scope="col" class="n">P_good@100</th>' not in page


@pytest.mark.parametrize("parts", [True, False])
def test_the_figure_shows_systems_and_parts(result, tmp_path, parts):
    write_figure(result if parts else dataclasses.replace(result, over_base=()), tmp_path / "models.svg")
    text = (tmp_path / "models.svg").read_text()
    assert "recall@100, simulated logs" in text
    assert ("recall@100 against the full model, %" in text) == parts
    assert ("-20.0 %" in text) == parts
