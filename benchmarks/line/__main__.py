"""How long each step of the demo's pipeline takes, in wall and processor seconds.

    make bench-line    or    python -m benchmarks.line [--runs 3] [--against FOLDER] [--folder runs/bench-line]

Every run is a process of its own and begins anew on the same simulated logs. With --against, another checkout whose
environment is set up runs in turns with this one; on a machine with other work, compare processor seconds alone.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.demo_shop import simulate_once
from benchmarks.line import timed_run

HERE = Path(__file__).resolve().parents[2]
# By step: wall and processor seconds.
Spent = dict[str, tuple[float, float]]


def run_once(checkout: Path, preset: str, data: Path, folder: Path) -> Spent:
    """One run of the pipeline as `checkout` has it."""
    out, log = folder / "spent.json", folder / "log.txt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = {"--preset": preset, "--data": data, "--root": folder / "run", "--out": out}
    command = [checkout / ".venv/bin/python", timed_run.__file__, *(part for pair in options.items() for part in pair)]
    with log.open("w") as file:
        ended = subprocess.run(
            [str(part) for part in command],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if ended.returncode != 0:
        raise SystemExit(f"the run of {checkout} ended with code {ended.returncode}; see {log}")
    spent: Spent = {step: (wall, processor) for step, (wall, processor) in json.loads(out.read_text()).items()}
    return spent


def table(by_checkout: dict[str, Sequence[Spent]], title: str) -> Table:
    """The median of each step's wall and processor seconds by checkout, and their sum."""
    shown = Table(title=title, title_justify="left")
    shown.add_column("step")
    for name in by_checkout:
        for column in ("wall s", "CPU s"):
            shown.add_column(f"{name}: {column}", justify="right")
    middles = {
        name: {step: [statistics.median(run[step][n] for run in runs) for n in range(2)] for step in runs[0]}
        for name, runs in by_checkout.items()
    }
    steps = list(dict.fromkeys(step for spent in middles.values() for step in spent))
    for step in [timed_run.START_UP, *(step for step in steps if step != timed_run.START_UP)]:
        taken = [seconds for spent in middles.values() for seconds in spent.get(step, (0.0, 0.0))]
        if max(taken) >= 0.5:
            shown.add_row(step, *(f"{seconds:.1f}" for seconds in taken))
    shown.add_section()
    sums = [sum(spent[n] for spent in middle.values()) for middle in middles.values() for n in range(2)]
    shown.add_row("all", *(f"{seconds:.1f}" for seconds in sums))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-line"))
    parser.add_argument("--against", type=Path, help="folder of another checkout")
    arguments = parser.parse_args()
    if arguments.against and not (arguments.against / ".venv/bin/python").exists():
        parser.error(f"{arguments.against} is no checkout that is set up; run `make setup` there")
    folder = arguments.folder.resolve()
    data = folder / f"{arguments.preset}-data"
    simulate_once(arguments.preset, data)
    checkouts = {"this": HERE} | ({"the other": arguments.against.resolve()} if arguments.against else {})
    spent: dict[str, list[Spent]] = {name: [] for name in checkouts}
    for _ in range(arguments.runs):
        for name, checkout in checkouts.items():
            spent[name].append(run_once(checkout, arguments.preset, data, folder / name.replace(" ", "-")))
    title = (
        f"the pipeline on the preset {arguments.preset}, median of {arguments.runs} runs, {os.cpu_count()} processors"
    )
    Console(width=120).print(table(dict(spent), title))


if __name__ == "__main__":
    main()
