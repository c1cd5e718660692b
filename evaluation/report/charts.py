"""Geometry of the report's charts: numbers in, positions out. The template draws them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.bootstrap import Estimate

WIDTH, HEIGHT = 420.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 16.0, 12.0, 40.0


@dataclass(frozen=True)
class Tick:
    """A labeled place on an axis; `at` in percent of a track or in SVG units."""

    at: float
    label: str


@dataclass(frozen=True)
class Whisker:
    """A dot with its interval on a horizontal track; places in percent of the track's width."""

    label: str
    role: str
    low: float
    width: float
    dot: float
    estimate: Estimate


@dataclass(frozen=True)
class WhiskerPanel:
    """Dots with whiskers over one axis."""

    title: str
    whiskers: tuple[Whisker, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Series:
    """One line: SVG `points`, its last point for the label, and the marks along it."""

    label: str
    role: str
    points: str
    marks: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LineChart:
    """Lines over epochs, in SVG units of a WIDTH x HEIGHT box; `description` reads it out."""

    title: str
    series: tuple[Series, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    description: str


@dataclass(frozen=True)
class CurvePoint:
    """One measured setting of the index; `anchor` puts its label where it fits."""

    x: float
    y: float
    label: str
    chosen: bool
    anchor: str


@dataclass(frozen=True)
class CurveChart:
    """Recall over latency, in SVG units; `line` joins the settings that no faster one matches in recall."""

    points: tuple[CurvePoint, ...]
    line: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    description: str


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, about `wanted` steps of 1, 2 or 5."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def whisker_panel(title: str, rows: Sequence[tuple[str, str, Estimate]], bounds: tuple[float, float]) -> WhiskerPanel:
    """A panel of rows (label, role, estimate) over the axis `bounds`."""
    ticks = nice_ticks(*bounds)
    low, span = ticks[0], ticks[-1] - ticks[0]

    def percent(value: float) -> float:
        return round(100.0 * min(1.0, max(0.0, (value - low) / span)), 2)

    whiskers = tuple(
        Whisker(
            label,
            role,
            percent(estimate.low),
            round(percent(estimate.high) - percent(estimate.low), 2),
            percent(estimate.value),
            estimate,
        )
        for label, role, estimate in rows
    )
    return WhiskerPanel(title, whiskers, tuple(Tick(percent(value), f"{value:g}") for value in ticks))


def shared_bounds(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """From 0 to the highest interval's end, so that panels side by side share an axis."""
    return 0.0, max((estimate.high for estimate in estimates), default=1.0) or 1.0


def training_charts(history: Mapping[str, Sequence[float]]) -> list[LineChart]:
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
        _line_chart(
            name.replace("_", " "),
            [
                (label, role, usable[key])
                for key, label, role in ((name, "training", "baseline"), (f"val_{name}", "eval", "candidate"))
                if key in usable
            ],
        )
        for name in names
    ]


def _line_chart(title: str, lines: Sequence[tuple[str, str, list[float]]]) -> LineChart:
    values = [value for _, _, line in lines for value in line]
    epochs = max(len(line) for _, _, line in lines)
    y_values = nice_ticks(min(values), max(values))
    step = max(1, math.ceil(epochs / 8))
    x_place = _scale(1, max(2, epochs), LEFT, WIDTH - RIGHT)
    y_place = _scale(y_values[0], y_values[-1], HEIGHT - BOTTOM, TOP)
    series = []
    for label, role, line in lines:
        marks = tuple((x_place(epoch), y_place(value)) for epoch, value in enumerate(line, start=1))
        series.append(Series(label if len(lines) > 1 else "", role, " ".join(f"{x},{y}" for x, y in marks), marks))
    spoken = "; ".join(
        f"{label if len(lines) > 1 else ''} from {line[0]:.4g} to {line[-1]:.4g}".strip() for label, _, line in lines
    )
    return LineChart(
        title=title,
        series=tuple(series),
        x_ticks=tuple(Tick(x_place(epoch), str(epoch)) for epoch in range(1, epochs + 1, step)),
        y_ticks=tuple(Tick(y_place(value), f"{value:g}") for value in y_values),
        description=f"{title} over {epochs} epochs: {spoken}",
    )


def index_chart(curve: Sequence[Mapping[str, Any]]) -> CurveChart | None:
    """Recall over latency of every index setting that was tried; None without a usable point.

    Args:
      curve: `index_curve` of the servable's card: name, recall, latency_ms (milliseconds), chosen.
    """
    usable = sorted(
        (point["latency_ms"], point["recall"], setting_name(point), bool(point.get("chosen")))
        for point in curve
        if isinstance(point.get("latency_ms"), int | float) and isinstance(point.get("recall"), int | float)
    )
    if not usable:
        return None
    x_values = nice_ticks(0.0, max(latency for latency, *_ in usable))
    y_values = nice_ticks(min(recall for _, recall, *_ in usable), 1.0)
    x_place = _scale(x_values[0], x_values[-1], LEFT, WIDTH - RIGHT)
    y_place = _scale(y_values[0], y_values[-1], HEIGHT - BOTTOM, TOP)
    points = tuple(
        CurvePoint(
            x_place(latency),
            y_place(recall),
            name,
            chosen,
            "end" if x_place(latency) > WIDTH * 0.6 else "start",
        )
        for latency, recall, name, chosen in usable
    )
    chosen = next((point for point in usable if point[3]), None)
    spoken = f"; chosen: {chosen[2]}, recall {chosen[1]:.3f} at {chosen[0]:.3g} ms" if chosen else ""
    return CurveChart(
        points=points,
        line=" ".join(f"{point.x},{point.y}" for point in _frontier(points)),
        x_ticks=tuple(Tick(x_place(value), f"{value:g}") for value in x_values),
        y_ticks=tuple(Tick(y_place(value), f"{value:g}") for value in y_values),
        description=f"Recall against exact search over latency of {len(points)} index settings{spoken}",
    )


def setting_name(point: Mapping[str, Any]) -> str:
    """One setting of the index in words: its kind and its parameters."""
    parameters = point.get("parameters")
    values = parameters.items() if isinstance(parameters, Mapping) else ()
    return ", ".join([str(point.get("name", "")), *(f"{name.replace('_', ' ')} {value}" for name, value in values)])


def _frontier(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Of points by rising latency those with a higher recall (a smaller y) than all before them."""
    best: list[CurvePoint] = []
    for point in points:
        if not best or point.y < best[-1].y:
            best.append(point)
    return best


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    factor = (end - start) / ((high - low) or 1.0)
    return lambda value: round(start + (value - low) * factor, 2)
