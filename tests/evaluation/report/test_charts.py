import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evaluation import report
from evaluation.bootstrap import Estimate
from evaluation.report import charts, drawing
from evaluation.report.charts import Intervals, Mark

BOUNDS = (0.0, 1.0)


def panel(*rows, **more):
    """A panel of rows (label, role, estimate) over an axis from 0 to 1."""
    return Intervals("recall@10", [(label, [Mark(role, estimate)]) for label, role, estimate in rows], BOUNDS, **more)


def svg(markup):
    """The chart as XML; a page needs no namespace to read it."""
    return ElementTree.fromstring(str(markup).replace("xlink:href", "href"))


def texts(markup):
    return [element.text for element in svg(markup).iter("text")]


def dots(markup):
    """Places (x, y) of all marks, from left to right."""
    return sorted((float(use.get("x")), float(use.get("y"))) for use in svg(markup).iter("use"))


def tick(markup, label):
    return next(float(text.get("x")) for text in svg(markup).iter("text") if text.text == label)


def test_a_mark_lies_on_the_axis_in_proportion():
    found = charts.intervals(panel(("Candidate", "candidate", Estimate(0.25, 0.1, 0.4))))
    ((x, _),) = dots(found)
    low, high = tick(found, "0.0"), tick(found, "1.0")
    assert (x - low) / (high - low) == pytest.approx(0.25, abs=0.005)


def test_the_line_of_an_interval_ends_where_it_does():
    found = charts.intervals(panel(("Candidate", "candidate", Estimate(0.25, 0.1, 0.4))))
    (path,) = [
        one for one in svg(found).iter("path") if re.search(r"fill:none;stroke:var\(--candidate\)", one.get("style"))
    ]
    ends = [float(value) for value in re.findall(r"[ML] ([\d.]+)", path.get("d"))]
    low, high = tick(found, "0.0"), tick(found, "1.0")
    assert [(end - low) / (high - low) for end in ends] == pytest.approx([0.1, 0.4], abs=0.005)


def test_a_row_shows_its_label_and_value():
    found = texts(charts.intervals(panel(("BM25", "other", Estimate(0.25, 0.1, 0.4)))))
    assert {"BM25", "0.250", "recall@10"} <= set(found)


def test_the_description_says_every_value_and_whose_it_is():
    rows = [
        (
            "head",
            [Mark("candidate", Estimate(0.5, 0.4, 0.6), "Candidate"), Mark("other", Estimate(0.2, 0.1, 0.3), "BM25")],
        )
    ]
    found = svg(charts.intervals(Intervals("recall", rows, BOUNDS)))
    assert found.get("role") == "img"
    assert found.get("aria-label") == (
        "recall of head Candidate: 0.500, interval 0.400 to 0.600; head BM25: 0.200, interval 0.100 to 0.300"
    )


def test_marks_of_one_row_lie_side_by_side():
    rows = [("head", [Mark(role, Estimate(0.5, 0.4, 0.6)) for role in ("candidate", "baseline", "other")])]
    heights = [y for _, y in dots(charts.intervals(Intervals("recall", rows, BOUNDS)))]
    assert len(set(heights)) == 3


def test_seeds_are_drawn_beside_their_mean():
    rows = [("plain", [Mark("candidate", Estimate(0.5, 0.4, 0.6), seeds=(0.48, 0.52))])]
    assert len(dots(charts.intervals(Intervals("recall", rows, BOUNDS)))) == 3


def test_zero_is_marked_where_the_axis_crosses_it():
    row = ("part", [Mark("bad", Estimate(-2, -3, -1))])
    crossing, not_crossing = (
        str(charts.intervals(Intervals("change", [row], bounds, "{:+.1f} %"))) for bounds in ((-4, 4), (-4, 0))
    )
    assert crossing.count("stroke:var(--soft)") == 1
    assert "stroke:var(--soft)" not in not_crossing
    assert "-2.0 %" in crossing


def test_equal_bounds_are_an_axis_too():
    assert dots(charts.intervals(Intervals("recall", [("a", [Mark("other", Estimate(0, 0, 0))])], (0.0, 0.0))))


@pytest.mark.parametrize(
    "label",
    [
        "<script>alert(1)</script>",
        "a & b",
        "$x^2$ and $",
        "tab\tand \x0b and \x00",
        "\ud800",
        "跑步鞋",
        "",
        "#1f5fd6",
        "fill: none",
    ],
)
def test_any_text_is_shown_as_text(label):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = charts.intervals(panel((label, "candidate", Estimate(0.5, 0.4, 0.6))))
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in label).split())
    assert shown in [" ".join((text or "").split()) for text in [*texts(found), ""]]


def test_a_long_label_takes_lines_that_stay_at_its_row():
    found = svg(
        charts.intervals(
            panel(("short", "other", Estimate(0.5, 0.4, 0.6)), ("long " * 8, "other", Estimate(0.5, 0.4, 0.6)))
        )
    )
    places = {text.text: text.get("transform") or f"{text.get('x')} {text.get('y')}" for text in found.iter("text")}
    short, *long = (
        float(re.findall(r"[\d.]+", places[line])[1])
        for line in ("short", "long long long long long", "long long long")
    )
    height = float(found.get("viewBox").split()[3])
    assert short < long[0] < long[1] < height
    assert long[0] > height / 3


def test_a_page_has_all_that_a_chart_needs():
    one, other = (charts.intervals(panel((label, "bound", Estimate(0.5, 0.4, 0.6)))) for label in ("a", "b"))
    for found in (str(one), str(other)):
        assert not re.search(r"http|url\(|<style|font-family|#[0-9a-f]{6}", found)
        assert set(re.findall(r'href="#(\w+)"', found)) == set(re.findall(r'id="(\w+)"', found))
    assert set(re.findall(r'id="\w+"', one)).isdisjoint(re.findall(r'id="\w+"', other))


def test_the_pages_colors_are_the_charts_colors():
    css = (Path(report.__file__).parent / "report.css").read_text()
    light, dark = css.split("@media", 2)[:2]
    for name, color in drawing.COLORS.items():
        assert f"--{name}: {color};" in light
        assert f"--{name}: " in dark


@pytest.mark.parametrize(("suffix", "head"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_file_is_the_same_for_the_same_numbers(tmp_path, suffix, head):
    panels = [panel(("a", "other", Estimate(0.5, 0.4, 0.6))), panel(("b", "part", Estimate(0.2, 0.1, 0.6)))]
    paths = [tmp_path / folder / f"models.{suffix}" for folder in ("first", "second")]
    for path in paths:
        path.parent.mkdir()
        charts.write(panels, path)
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(head)
    assert first == second


def test_charts_pair_training_with_eval_and_skip_non_series():
    history = {
        "loss": [3.0, 2.0, 1.0],
        "total_loss": [3.0, 2.0, 1.0],
        "val_loss": [3.0, 2.5, 2.4],
        "recall@100": [0.1, 0.2, 0.4],
        "broken": [1.0, float("nan")],
        "words": ["a"],
        "none": [],
    }
    loss, recall = charts.training_charts(history)
    assert svg(loss).get("aria-label") == "loss over 3 epochs: training from 3 to 1; eval from 3 to 2.4"
    assert {"loss", "training", "eval", "epoch"} <= set(texts(loss))
    assert svg(recall).get("aria-label") == "recall@100 over 3 epochs: from 0.1 to 0.4"
    heights = [y for _, y in dots(recall)]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == 3


def test_one_epoch_is_a_chart_too():
    (chart,) = charts.training_charts({"loss": [1.5]})
    assert len(dots(chart)) == 1


def test_the_index_chart_joins_settings_no_faster_one_matches():
    curve = [
        {"name": "exact", "recall": 1.0, "latency_ms": 4.0, "parameters": {}, "chosen": False},
        {"name": "tree", "recall": 0.9, "latency_ms": 1.0, "parameters": {"leaves": 10}, "chosen": True},
        {"name": "tree", "recall": 0.8, "latency_ms": 2.0, "parameters": {"leaves": 5}, "chosen": False},
        {"name": "not measured"},
    ]
    chart = charts.index_chart(curve)
    assert "of 3 index settings; chosen: tree, leaves 10, recall 0.900 at 1 ms" in svg(chart).get("aria-label")
    assert "chosen: tree, leaves 10" in texts(chart)
    joined = next(path.get("d") for path in svg(chart).iter("path") if "stroke-dasharray" in path.get("style"))
    slow, fast = dots(chart)[-1], dots(chart)[0]
    assert joined == f"M {fast[0]} {fast[1]} L {slow[0]} {slow[1]}"
    assert charts.index_chart([]) is None
