import dataclasses
import re
from html.parser import HTMLParser

import pytest

from components.recall_gate.config import GateConfig
from components.recall_gate.verdict import evaluate_and_judge
from evaluation.report.render import render_report
from evaluation.results import ExampleItem, RequestExample
from tests.evaluation import small_world as world

NASTY = "<script>alert('x')</script> & \"quotes\" </style>"


@pytest.fixture(scope="module")
def evaluation(examples_dir, servables):
    config = GateConfig(
        ks=(5, 20), primary_k=20, bootstrap_samples=100, latency_requests=5, data_note="Simulated logs."
    )
    return evaluate_and_judge(servables["good"], examples_dir, config, servables["weaker"])


class Page(HTMLParser):
    """Tags that are open and close as they should, ids, links and everything that a browser would fetch."""

    VOID = frozenset({"meta", "br", "line", "circle", "polyline", "img", "link"})

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.anchors, self.loads, self.tags = [], set(), set(), [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.add(tag)
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a":
            self.anchors.add(values["href"])
        self.loads += [f"{name}={value}" for name, value in attributes if name in ("src", "srcset", "action", "data")]
        self.loads += [value for name, value in attributes if name == "href" and tag != "a"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_loads_nothing_and_runs_nothing(evaluation):
    text = render_report(evaluation)
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert not re.search(r"https?://|url\(|@import", text)
    assert "default-src 'none'" in text
    assert {anchor.removeprefix("#") for anchor in page.anchors} <= page.ids


def test_every_section_shows_what_was_measured(evaluation):
    text = render_report(evaluation)
    candidate = evaluation.system("candidate").metrics["recall@20"]
    for expected in (
        "✓ Blessed",
        "Simulated logs.",
        f"{candidate.value:.3f}",
        f"{candidate.low:.3f}–{candidate.high:.3f}",
        "Blessed servable",
        "Popularity",
        "BM25",
        "As shown",
        "Query frequency in training",
        "recall@100 over 4 epochs",
        "chosen: tree, leaves 40",
        "How it was measured",
        f"{world.EVAL_REQUESTS} in the split",
    ):
        assert expected in text, expected


def test_text_from_the_shop_is_escaped_wherever_it_appears(evaluation):
    example = RequestExample(
        NASTY, "head", True, ((NASTY, 1),), (ExampleItem(NASTY, NASTY, True),), (ExampleItem(NASTY, NASTY, False),)
    )
    spoiled = dataclasses.replace(
        evaluation,
        examples=(example,),
        slices=tuple(dataclasses.replace(piece, name=NASTY) for piece in evaluation.slices),
        card={
            **evaluation.card,
            "model": NASTY,
            "history": {NASTY: [1.0, 2.0]},
            "index_curve": [{"name": NASTY, "recall": 0.5, "latency_ms": 1.0, "chosen": True}],
        },
        config={**evaluation.config, "data_note": NASTY},
    )
    text = render_report(spoiled)
    assert "<script" not in text
    assert text.count("</style>") == 1
    assert text.count("&lt;script&gt;") >= 12
    assert Page(text).open == []


def test_titles_with_markup_of_the_real_catalog_are_escaped(evaluation):
    text = render_report(evaluation)
    assert "&lt;b&gt;model&lt;/b&gt;" in text
    assert "<b>model" not in text


def test_a_report_of_the_gate_alone_says_what_it_cannot_know(evaluation):
    assert "written by the gate, before the canary and the push" in render_report(evaluation)


def test_a_refusal_is_told_with_its_reasons(examples_dir, servables):
    config = GateConfig(ks=(5, 20), primary_k=20, bootstrap_samples=100, latency_requests=5)
    evaluation = evaluate_and_judge(servables["shuffled"], examples_dir, config)
    text = render_report(evaluation)
    assert "✕ Refused" in text
    assert "no better than Popularity" in text
    assert "Nothing: the gate refused the servable." in text


def test_a_report_of_nothing_measured_is_still_a_page(servables, tmp_path):
    examples = world.write_examples(tmp_path, eval_count=0)
    text = render_report(evaluate_and_judge(servables["good"], examples, GateConfig()))
    assert Page(text).open == []
    assert "too small to decide" in text


def test_a_servable_without_a_card_has_a_report_too(evaluation):
    text = render_report(dataclasses.replace(evaluation, card={}))
    assert "carries no training history" in text
    assert "carries no measured recall-latency curve" in text
