"""Souk's serving at a million items: recall, latency, throughput, build and start, beside ScaNN, FAISS and hnswlib.

    make bench-serving    or    python -m benchmarks.serving [--items 1000000] [--folder runs/bench-serving]

Real towers, trained on the simulated demo shop, answer requests of its last day over unit vectors that are scattered
around those of the shop's items. Parameters are chosen with one half of the requests, and recall is measured with the
other. The server is a process of its own, asked over gRPC by open-loop traffic of single queries; the traffic's
generator runs on the same processors. What is compared is measured in turns, round by round; medians are printed.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.serving import growth
from benchmarks.serving.libraries import FaissHnsw, FaissIvf, Hnswlib, Library, Scann, Speed, measure, tune
from benchmarks.serving.memory import resident_mib
from benchmarks.serving.servable import Built, build
from benchmarks.serving.server import Server, Swap, cold_query_s, saturate, serving, swap, traffic
from benchmarks.serving.towers import Towers, exact_neighbors, grow, train_towers
from components.index_builder.config import IndexConfig
from components.index_builder.parameters import recall_against_exact
from serving.load.report import Report
from serving.load.saturation import RateStep, Saturation

K, REQUESTS, WANTED_RECALL = 100, 2000, 0.97
BATCHING = (
    "max_batch_size {{ value: 64 }} batch_timeout_micros {{ value: 0 }} num_batch_threads {{ value: {threads} }}\n"
)


def told(text: str) -> None:
    """Progress, for who waits."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Runs the benchmark and prints its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-serving"))
    parser.add_argument("--model", default="two_tower", choices=("two_tower", "dpsr", "mmse", "mgdspr"))
    parser.add_argument("--backend", default="scann", choices=("scann", "portable"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of traffic at each rate")
    parser.add_argument("--growth", type=int, nargs="*", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--alone", action="store_true", help="leave the other libraries out")
    arguments = parser.parse_args()
    console, threads = Console(width=130), os.cpu_count() or 1

    told("towers ...")
    towers = train_towers(arguments.folder, REQUESTS, arguments.model)
    vectors, rows = grow(towers.catalog, arguments.items)
    judged = towers.queries[REQUESTS // 2 :]
    exact = exact_neighbors(vectors, judged, K)
    console.print(
        f"{threads} processors; {len(vectors):,} vectors of {vectors.shape[1]}; {arguments.model} towers; "
        f"{REQUESTS:,} requests of a simulated day"
    )
    told("index and servable ...")
    base = Path(tempfile.mkdtemp(prefix="bench-serving-", dir=arguments.folder))
    config = IndexConfig(k=K, backend=arguments.backend, wanted_recall=WANTED_RECALL)
    try:
        built = build(towers, vectors, rows, config, REQUESTS // 2, base)
        recall = recall_against_exact(built.found, exact)
        console.print(
            f"{built.chosen.name} {built.chosen.parameters}: recall@{K} {recall:.4f} on requests that it was not "
            f"chosen with; index chosen and built in {built.index_s:.0f} s, saved in {built.save_s:.0f} s\n"
        )
        libraries = [] if arguments.alone else build_libraries(built, vectors, exact, judged, recall, console)
        batching = base / "batching.config"
        batching.write_text(BATCHING.format(threads=threads))
        with serving(base, batching, base / "server.log") as server:
            rate = rounds(libraries, server, towers, judged, arguments.rounds, arguments.seconds, threads, console)
            told("a new version under traffic ...")
            console.print(swap_table(swap(server, base, towers.examples, rate / 2, arguments.seconds)))
    finally:
        shutil.rmtree(base)
    if arguments.growth:
        console.print(growth_table(vectors, towers, arguments.growth, arguments.backend))


def build_libraries(
    built: Built, vectors: np.ndarray, exact: np.ndarray, queries: np.ndarray, recall: float, console: Console
) -> list[Library]:
    """Every library, built and set to the recall that the servable's index has, and a table of what that took."""
    parameters = built.chosen.parameters
    leaves = int(parameters.get("leaves", 2 * len(vectors) ** 0.5))
    pair = (int(parameters.get("leaves_to_search", leaves // 20)), int(parameters.get("reorder", 3 * K)))
    table = Table(title="Built with all processors, set to the servable's recall", title_justify="left")
    for name in ("library", "build s", "resident MiB more", "setting", f"recall@{K}"):
        table.add_column(name, justify="left" if name == "library" else "right")
    libraries: list[Library] = [Scann(leaves, [pair], K), FaissIvf(leaves), FaissHnsw(), Hnswlib()]
    for library in libraries:
        told(f"{library.name} ...")
        before, started = resident_mib(), time.perf_counter()
        library.build(vectors, os.cpu_count() or 1)
        seconds, more = time.perf_counter() - started, resident_mib() - before
        knob, reached = tune(library, queries, exact, recall - 0.001)
        table.add_row(library.name, f"{seconds:.0f}", f"{more:,.0f}", str(knob), f"{reached:.4f}")
    console.print(table)
    return libraries


def rounds(
    libraries: Sequence[Library],
    server: Server,
    towers: Towers,
    queries: np.ndarray,
    count: int,
    seconds: float,
    threads: int,
    console: Console,
) -> float:
    """Measures libraries and server in turns, prints what they do, and returns the saturated rate."""
    speeds = {library.name: Speed() for library in libraries}
    saturations: list[Saturation] = []
    halves: list[Report] = []
    cold: list[float] = []
    cpu_ms: list[float] = []
    start = 100.0
    for number in range(count):
        told(f"round {number + 1} of {count} ...")
        for library in libraries:
            measure(library, queries, K, threads, speeds[library.name])
        saturations.append(saturate(server, towers.examples, start, seconds, tell_step))
        start = max(10.0, 0.8 * saturations[-1].rate)
        used = server.cpu_s()
        halves.append(traffic(server, towers.examples, saturations[-1].rate / 2, 2 * seconds, seed=number))
        cpu_ms.append((server.cpu_s() - used) / halves[-1].answered * 1e3)
        cold += [cold_query_s(server, "red shoes") for _ in range(3)]
    saturated = float(np.median([found.rate for found in saturations]))
    table = Table(title="Queries a second and milliseconds a query", title_justify="left")
    for name in ("", "one after another, ms", "one by one, /s", "handed over at once, /s", "server / one by one"):
        table.add_column(name, justify="right" if name else "left")
    for name, speed in speeds.items():
        singles = float(np.median(speed.singles))
        table.add_row(
            name,
            f"{np.median(speed.single_ms):.2f}",
            f"{singles:,.0f}",
            f"{np.median(speed.batched):,.0f}",
            f"{saturated / singles:.2f}",
        )
    table.add_row("Souk over gRPC, towers included", "", f"{saturated:,.0f}", "", "1.00")
    console.print(table)
    worst = [f"{half.latency.percentile(99) * 1e3:.1f}" for half in halves]
    percentiles = {p: np.median([half.latency.percentile(p) * 1e3 for half in halves]) for p in (50, 90, 99)}
    console.print(
        f"At half of that rate: p50 {percentiles[50]:.1f} ms, p90 {percentiles[90]:.1f} ms, "
        f"p99 {percentiles[99]:.1f} ms (rounds: {', '.join(worst)}), "
        f"{sum(half.failed for half in halves)} of {sum(half.due for half in halves):,} failed, "
        f"{np.median(cpu_ms):.2f} ms of the server's processor time a query\n"
        f"The server was ready {server.start_s:.1f} s after its start and holds {server.resident_mib():,.0f} MiB.\n"
        f"`souk query` from a cold shell: {np.median(cold):.2f} s (worst of {len(cold)}: {max(cold):.2f} s)\n"
    )
    return saturated


def swap_table(changed: Swap) -> Table:
    """Latencies before, during and after a change of versions."""
    table = Table(
        title=f"A new version under traffic: over after {changed.swap_s:.0f} s; {changed.before_mib:,.0f} MiB before, "
        f"{changed.most_mib:,.0f} at most, {changed.after_mib:,.0f} after",
        title_justify="left",
    )
    for name in ("", "requests", "failed", "p50 ms", "p99 ms", "longest ms"):
        table.add_column(name, justify="right" if name else "left")
    for report in changed.reports:
        times = (report.latency.percentile(50), report.latency.percentile(99), report.latency.max)
        table.add_row(report.name, f"{report.due:,}", str(report.failed), *(f"{value * 1e3:.1f}" for value in times))
    return table


def tell_step(step: RateStep) -> None:
    """Progress within the search for the highest rate."""
    told(f"  {step.rate:,.0f}/s: {step.trouble or f'held, p99 {step.report.latency.percentile(99) * 1e3:.1f} ms'}")


def growth_table(vectors: np.ndarray, towers: Towers, sizes: Sequence[int], backend: str) -> Table:
    """What building an index costs by size, each in a process of its own, and what 10 M would by the last two."""
    table = Table(title=f"Building the index ({backend}) by number of items", title_justify="left")
    for name in ("items", "seconds", "peak MiB", "recall@100", "ms a query"):
        table.add_column(name, justify="right")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        if max(sizes) > len(vectors):
            vectors, _ = grow(towers.catalog, max(sizes))
        np.save(Path(folder) / "vectors.npy", vectors)
        np.save(Path(folder) / "queries.npy", towers.queries[: IndexConfig().sample_requests])
        for items in sizes:
            told(f"index of {items:,} ...")
            cost = growth.in_own_process(Path(folder) / "vectors.npy", Path(folder) / "queries.npy", items, backend)
            found.append(cost)
            table.add_row(
                f"{items:,}",
                f"{cost['seconds']:.0f}",
                f"{cost['peak_mib']:,.0f}",
                f"{cost['recall']:.4f}",
                f"{cost['latency_ms']:.2f}",
            )
    if len(sizes) > 1:
        slope = (10_000_000 - sizes[-1]) / (sizes[-1] - sizes[-2])
        ahead = {
            name: found[-1][name] + slope * (found[-1][name] - found[-2][name]) for name in ("seconds", "peak_mib")
        }
        table.add_row("10,000,000 if it goes on so", f"{ahead['seconds']:.0f}", f"{ahead['peak_mib']:,.0f}", "", "")
    return table


if __name__ == "__main__":
    main()
