"""The simulated logs that benchmarks share, written once per folder."""

from pathlib import Path

from marketplace.presets import choose_settings
from marketplace.simulation import simulate


def simulate_once(preset: str, folder: Path, catalogue: str | None = None) -> None:
    """Simulates a preset into `folder`, unless it is there already."""
    if not (folder / "shop.json").exists():
        simulate(choose_settings(preset, catalogue, seed=0), folder)
