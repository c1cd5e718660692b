"""The bench as one picture for a page of text: what each system finds, and what each part earns."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.bootstrap import Estimate
from pipeline.bench.results import BenchResult

_MODEL = "#1f5fd6"
_PART = "#7fa6ec"
_REFERENCE = "#8a9099"
_WORSE = "#b3402f"
_SOFT = "#5b6168"
_ROW_HEIGHT = 0.27


def draw(result: BenchResult, path: Path) -> None:
    """Writes the picture, as SVG or by the suffix of `path`."""
    parts = [found for found in result.over_base if found.metric == f"recall@{result.ks[-1]}" and found.relative]
    rows = max(len(result.systems), len(parts))
    figure = Figure(figsize=(11.5 if parts else 6.5, 1.5 + _ROW_HEIGHT * rows), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 2 if parts else 1, squeeze=False)[0]
    _systems(axes[0], result)
    if parts:
        _parts(axes[1], [(found.system, found.relative) for found in parts if found.relative], result)
    # Without them two drawings of the same numbers would differ.
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(path, metadata=metadata)


def _systems(axes: Axes, result: BenchResult) -> None:
    main = f"recall@{result.ks[-1]}"
    shown = [system for system in result.systems if main in system.metrics]
    for row, system in enumerate(shown):
        measured = system.metrics[main]
        color = _REFERENCE if system.kind == "reference" else _PART if system.base else _MODEL
        _whisker(axes, row, measured.estimate, color)
        if len(measured.by_seed) > 1:
            axes.plot(measured.by_seed, [row] * len(measured.by_seed), "|", color=color, markersize=9, alpha=0.7)
    _rows(axes, [system.label for system in shown])
    note = f", {result.data_note}" if result.data_note else ""
    axes.set_title(f"{main}{note}", loc="left", fontsize=11, fontweight="bold")
    axes.set_xlim(left=0.0)
    axes.set_xlabel("dot: mean over seeds, line: interval over queries, ticks: seeds", fontsize=8, color=_SOFT)


def _parts(axes: Axes, parts: list[tuple[str, Estimate]], result: BenchResult) -> None:
    for row, (_, change) in enumerate(parts):
        percent = Estimate(100 * change.value, 100 * change.low, 100 * change.high)
        certain = percent.low > 0 or percent.high < 0
        color = _REFERENCE if not certain else _WORSE if percent.value < 0 else _MODEL
        _whisker(axes, row, percent, color)
    _rows(axes, [name for name, _ in parts])
    axes.axvline(0, color=_SOFT, linewidth=0.8)
    axes.set_title(f"recall@{result.ks[-1]} against the full model, %", loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel("grey: the interval holds zero", fontsize=8, color=_SOFT)


def _whisker(axes: Axes, row: int, estimate: Estimate, color: str) -> None:
    axes.plot([estimate.low, estimate.high], [row, row], color=color, linewidth=2, solid_capstyle="butt")
    axes.plot([estimate.value], [row], "o", color=color, markersize=6)


def _rows(axes: Axes, labels: list[str]) -> None:
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#e3e5e8", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
