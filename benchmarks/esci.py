"""Recall of the items that people judged exact, by a model that never saw their queries.

    make bench-esci                 or  python -m benchmarks.esci [--folder runs/esci] [--set key=value]

Simulates logs over the 6,764 real products of ESCI-150 (Reddy et al., arXiv 2206.06588), runs the pipeline on them and
measures the pushed model on the 150 real queries and their judgments, beside BM25. Queries and judgments are used for
this measurement only: the simulated searches are made from the catalog's own fields.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.demo_shop import simulate_once

ESCI = Path(__file__).parents[1].parent / "shared" / "data" / "esci150"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/esci"))
    parser.add_argument(
        "--set", action="append", default=[], metavar="key=value", help="a setting of the run; repeatable"
    )
    arguments = parser.parse_args()
    folder = arguments.folder
    catalog = ESCI / "items.jsonl.gz"
    if not catalog.exists():
        raise SystemExit(
            f"{catalog} is not there; the benchmark reads ESCI-150 from a `shared` folder beside the project"
        )
    data = folder / "data"
    simulate_once("esci", data, str(catalog))
    inputs = {
        "events": data / "events/*.jsonl.gz",
        "catalog": data / "catalog.jsonl.gz",
        "users": data / "users.jsonl.gz",
    }
    settings = [f"--set=ingest.data.{name}={path}" for name, path in inputs.items()]
    souk("run", "--config", "esci", f"--set=root={folder}", *settings, *(f"--set={given}" for given in arguments.set))
    pushed = folder / "serving" / "souk"
    judgments = ESCI / "judgments.jsonl.gz"
    souk("evaluate", f"--model-dir={pushed}", f"--catalog={catalog}", f"--judgments={judgments}")


def souk(*arguments: str) -> None:
    """One command of Souk; the benchmark ends where it fails."""
    ended = subprocess.run([sys.executable, "-m", "pipeline.cli", *arguments], check=False)
    if ended.returncode:
        raise SystemExit(ended.returncode)


if __name__ == "__main__":
    main()
