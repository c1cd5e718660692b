"""Compares the models on a simulated shop: of the demo's, the figures of docs/models.md.

make bench-models    or    python -m benchmarks.models [--preset PRESET] [options of `souk bench models`]

Simulates the shop of a preset of `souk simulate` once and calls `souk bench models --config demo` on it. `--only NAME`
trains one variant alone, and may be repeated. The logs are simulated: the numbers compare systems on this shop and
promise nothing for another.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.demo_shop import simulate_once
from marketplace.presets import PRESETS
from pipeline.cli import main

_OUT = Path("runs/bench-models")


def arguments(words: Sequence[str]) -> tuple[str, Path, list[str]]:
    """The preset, the folder of its bench, and what `souk` is called with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # The preset `esci` is for a given catalog.
    parser.add_argument("--preset", choices=[name for name in PRESETS if name != "esci"], default="demo")
    chosen, further = parser.parse_known_args(words)
    out = _OUT if chosen.preset == "demo" else _OUT.with_name(f"{_OUT.name}-{chosen.preset}")
    inputs = {"events": "events/*.jsonl.gz", "catalog": "catalog.jsonl.gz", "users": "users.jsonl.gz"}
    settings = [word for name, file in inputs.items() for word in ("--set", f"ingest.data.{name}={out}/data/{file}")]
    return chosen.preset, out, ["bench", "models", "--config", "demo", "--out", str(out), *settings, *further]


if __name__ == "__main__":
    preset, folder, command = arguments(sys.argv[1:])
    simulate_once(preset, folder / "data")
    main(command)
