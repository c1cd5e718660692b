"""What an index costs to build at one size, in a process of its own: `python -m benchmarks.serving.growth`."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def in_own_process(vectors: Path, queries: Path, items: int, backend: str) -> dict[str, float]:
    """Seconds and peak MiB of `choose_index` over the first `items` vectors, and what the process had before it."""
    command = [sys.executable, "-m", "benchmarks.serving.growth", str(vectors), str(queries), str(items), backend]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("items", type=int)
    parser.add_argument("backend")
    arguments = parser.parse_args()
    import numpy as np

    from benchmarks.serving.memory import peak_mib
    from components.index_builder.config import IndexConfig
    from components.index_builder.parameters import choose_index

    vectors = np.array(np.load(arguments.vectors, mmap_mode="r")[: arguments.items])
    queries, before = np.load(arguments.queries), peak_mib()
    config = IndexConfig(backend=arguments.backend, wanted_recall=0.97)
    started = time.perf_counter()
    _, curve = choose_index(vectors, queries, config)
    seconds = time.perf_counter() - started
    chosen = next(point for point in curve if point.chosen)
    found = {"recall": chosen.recall, "latency_ms": chosen.latency_ms}
    print(json.dumps({"seconds": seconds, "before_mib": before, "peak_mib": peak_mib(), **found}))


if __name__ == "__main__":
    main()
