"""Compares the models on the simulated demo shop: the figures of docs/models.md.

make bench-models    or    python -m benchmarks.models [options of `souk bench models`]

Simulates the demo shop once and calls `souk bench models --config demo` on it. The logs are simulated: the numbers
compare systems on this shop and promise nothing for another.
"""

import sys
from pathlib import Path

from benchmarks.demo_shop import simulate_once
from pipeline.cli import main

_OUT = Path("runs/bench-models")

if __name__ == "__main__":
    data = _OUT / "data"
    simulate_once("demo", data)
    inputs = {
        "events": f"{data}/events/*.jsonl.gz",
        "catalog": f"{data}/catalog.jsonl.gz",
        "users": f"{data}/users.jsonl.gz",
    }
    settings = [part for name, path in inputs.items() for part in ("--set", f"ingest.data.{name}={path}")]
    main(["bench", "models", "--config", "demo", "--out", str(_OUT), *settings, *sys.argv[1:]])
