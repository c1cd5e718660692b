"""The charts of every report: intervals, lines over epochs, recall over latency."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from evaluation.bootstrap import Estimate
from evaluation.report.drawing import COLORS, inline_svg, new_figure, printable, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 5.6, 3.1
# In inches; the frame is the axis with its labels.
_MARK_HEIGHT, _LINE_HEIGHT, _ROW_GAP, _FRAME_HEIGHT = 0.19, 0.16, 0.06, 0.45
# In letters.
_LABEL_WIDTH, _TITLE_WIDTH = 28, 40


@dataclass(frozen=True)
class Mark:
    """An estimate with its interval.

    Attributes:
      role: the key of its color in `COLORS`.
      name: whose it is, for the description; "" where the row's label says it.
      seeds: values of single trainings, drawn as small strokes.
    """

    role: str
    estimate: Estimate
    name: str = ""
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Intervals:
    """Estimates with their intervals, a row or several for each label, over one axis.

    Attributes:
      title: what is estimated.
      rows: labels with their marks.
      bounds: lowest and highest value of the axis.
      form: of a value in text, for `str.format`.
      note: stands under the axis.
      line: a value to compare all with, drawn across the rows.
    """

    title: str
    rows: Sequence[tuple[str, Sequence[Mark]]]
    bounds: tuple[float, float]
    form: str = "{:.3f}"
    note: str = ""
    line: float | None = None


def intervals(panel: Intervals) -> Markup:
    """The panel as SVG for a page; the description has every value."""
    spoken = "; ".join(
        f"{' '.join(filter(None, (label, mark.name)))}: {panel.form.format(mark.estimate.value)}, "
        f"interval {panel.form.format(mark.estimate.low)} to {panel.form.format(mark.estimate.high)}"
        for label, marks in panel.rows
        for mark in marks
    )
    return inline_svg(lambda: _panels_figure([panel]), f"{panel.title} of {spoken}")


def write(panels: Sequence[Intervals], path: Path) -> None:
    """Writes panels side by side on white, as SVG or by the suffix of `path`."""
    write_file(lambda: _panels_figure(panels), path)


def shared_bounds(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """From 0 to the highest interval's end, so that panels side by side share an axis."""
    return 0.0, max((estimate.high for estimate in estimates), default=1.0) or 1.0


def training_charts(history: Mapping[str, Sequence[float]]) -> list[Markup]:
    """One chart per quantity of the training history, the validation's line with the training's.

    Args:
      history: values per epoch by name; `val_x` is drawn with `x`. What is not a list of numbers is left out.
    """
    usable = {
        name: [float(value) for value in values]
        for name, values in history.items()
        if isinstance(values, list | tuple)
        and values
        and all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    }
    # Keras logs `total_loss` beside `loss`; equal values are one chart.
    distinct = {tuple(values): name for name, values in reversed(usable.items())}
    usable = {name: values for name, values in usable.items() if distinct[tuple(values)] == name}
    names = list(dict.fromkeys(name.removeprefix("val_") for name in usable))
    return [
        line_chart(
            name.replace("_", " "),
            {label: usable[key] for key, label in ((name, "training"), (f"val_{name}", "eval")) if key in usable},
        )
        for name in names
    ]


def line_chart(title: str, lines: Mapping[str, Sequence[float]]) -> Markup:
    """Values per epoch by label, as SVG for a page; a single line goes without its label."""
    epochs = max(len(line) for line in lines.values())
    several = len(lines) > 1
    spoken = "; ".join(
        f"{label if several else ''} from {line[0]:.4g} to {line[-1]:.4g}".strip() for label, line in lines.items()
    )

    def draw() -> "Figure":
        figure = new_figure(_WIDTH, _HEIGHT)
        axes = figure.subplots()
        for label, line in lines.items():
            color = COLORS["baseline" if several and label == "training" else "candidate"]
            axes.plot(range(1, len(line) + 1), line, "o-" if epochs <= 40 else "-", color=color, markersize=5)
            if several:
                place = (len(line), line[-1])
                axes.annotate(label, place, (0, 6), textcoords="offset points", ha="right", color=color, weight="bold")
        axes.grid(axis="y")
        axes.set(title="\n".join(_lines(title, _TITLE_WIDTH)), xlabel="epoch")
        axes.locator_params(axis="x", nbins=8, integer=True)
        return figure

    return inline_svg(draw, f"{title} over {epochs} epochs: {spoken}")


def index_chart(curve: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Recall over latency of every index setting that was tried, as SVG for a page; None without a usable point.

    A line joins the settings that no faster one matches in recall.

    Args:
      curve: `index_curve` of the servable's card: name, recall, latency_ms (milliseconds), chosen.
    """
    points = sorted(
        (point["latency_ms"], point["recall"], setting_name(point), bool(point.get("chosen")))
        for point in curve
        if isinstance(point.get("latency_ms"), int | float) and isinstance(point.get("recall"), int | float)
    )
    if not points:
        return None
    chosen = [point for point in points if point[3]]
    spoken = "".join(f"; chosen: {name}, recall {recall:.3f} at {ms:.3g} ms" for ms, recall, name, _ in chosen[:1])

    def draw() -> "Figure":
        figure = new_figure(_WIDTH, _HEIGHT)
        axes = figure.subplots()
        axes.plot(*zip(*frontier(points), strict=True), ":", color=COLORS["other"])
        axes.plot([point[0] for point in points], [point[1] for point in points], "o", color=COLORS["other"])
        longest = max(point[0] for point in points) or 1.0
        for latency, recall, name, _ in chosen:
            axes.plot([latency], [recall], "o", color=COLORS["candidate"])
            axes.plot([latency], [recall], "o", color=COLORS["candidate"], markersize=14, fillstyle="none")
            right = latency > 0.6 * longest
            axes.annotate(
                printable(f"chosen: {name}"),
                (latency, recall),
                (-12 if right else 12, -12),
                textcoords="offset points",
                ha="right" if right else "left",
                va="top",
                color=COLORS["candidate"],
                weight="bold",
            )
        axes.grid(axis="y")
        axes.set(xlim=(0, longest * 1.05), xlabel="milliseconds per query", title="recall against exact search")
        return figure

    return inline_svg(draw, f"Recall against exact search over latency of {len(points)} index settings{spoken}")


def frontier(points: Sequence[tuple[float, float, str, bool]]) -> list[tuple[float, float]]:
    """Of points by rising latency those with a higher recall than all before them: latency and recall."""
    best: list[tuple[float, float]] = []
    for latency, recall, *_ in points:
        if not best or recall > best[-1][1]:
            best.append((latency, recall))
    return best


def setting_name(point: Mapping[str, Any]) -> str:
    """One setting of the index in words: its kind and its parameters."""
    parameters = point.get("parameters")
    values = parameters.items() if isinstance(parameters, Mapping) else ()
    return ", ".join([str(point.get("name", "")), *(f"{name.replace('_', ' ')} {value}" for name, value in values)])


def _panels_figure(panels: Sequence[Intervals]) -> "Figure":
    height = _FRAME_HEIGHT + max(
        _LINE_HEIGHT * len(_lines(panel.title, _TITLE_WIDTH)) + sum(_row_height(*row) for row in panel.rows)
        for panel in panels
    )
    figure = new_figure(_WIDTH * len(panels), height)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_intervals(axes, panel)
    return figure


def _draw_intervals(axes: "Axes", panel: Intervals) -> None:
    end, middles = 0.0, []
    places: dict[str, list[tuple[float, Mark]]] = {}
    for label, marks in panel.rows:
        height = _row_height(label, marks)
        middles.append(end + height / 2)
        for number, mark in enumerate(marks):
            place = middles[-1] + _MARK_HEIGHT * (number - (len(marks) - 1) / 2)
            places.setdefault(mark.role, []).append((place, mark))
        end += height
    low, high = panel.bounds
    axes.set_xlim(low, high if high > low else low + 1.0)
    axes.set_ylim(end, 0)
    edges = axes.get_xlim()
    _segments(axes, [(place, *edges) for place in middles], color=COLORS["grid"], linewidth=0.8)
    for role, found in places.items():
        color = COLORS[role]
        _segments(axes, [(place, mark.estimate.low, mark.estimate.high) for place, mark in found], color=color)
        seeds = [(seed, place) for place, mark in found for seed in mark.seeds]
        axes.plot([seed for seed, _ in seeds], [place for _, place in seeds], "|", color=color, markersize=9)
        axes.plot(
            [mark.estimate.value for _, mark in found],
            [place for place, _ in found],
            "D" if role == "baseline" else "o",
            color=color,
            markersize=5 if role == "baseline" else 6,
            markerfacecolor=COLORS["card"] if role == "bound" else color,
        )
    axes.set_yticks(middles, ["\n".join(_lines(label)) for label, _ in panel.rows], color=COLORS["ink"])
    for middle, (_, marks) in zip(middles, panel.rows, strict=True):
        if len(marks) == 1:
            text = panel.form.format(marks[0].estimate.value)
            axes.text(1.03, middle, text, transform=axes.get_yaxis_transform(), va="center_baseline")
    if low < 0 < high:
        axes.axvline(0, color=COLORS["soft"], linewidth=0.8)
    if panel.line is not None:
        axes.axvline(panel.line, color=COLORS["baseline"], linewidth=1.0, linestyle="--")
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=5)
    axes.set(title="\n".join(_lines(panel.title, _TITLE_WIDTH)), xlabel=panel.note)


def _segments(axes: "Axes", segments: Sequence[tuple[float, float, float]], **style: Any) -> None:
    """Horizontal lines (place, low, high) as one path."""
    xs = [value for _, low, high in segments for value in (low, high, math.nan)]
    axes.plot(xs, [place for place, *_ in segments for _ in range(3)], solid_capstyle="butt", **style)


def _row_height(label: str, marks: Sequence[Mark]) -> float:
    return _ROW_GAP + max(_MARK_HEIGHT * len(marks), _LINE_HEIGHT * len(_lines(label)))


def _lines(text: str, width: int = _LABEL_WIDTH) -> list[str]:
    return textwrap.wrap(printable(text), width, max_lines=3, placeholder="…") or [""]
