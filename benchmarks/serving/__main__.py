"""What a search request costs, from bare ScaNN to `souk serve`: processor time, latency, throughput, swaps.

    make bench-serving    or    python -m benchmarks.serving [--sizes 100000 1000000] [--folder runs/bench-serving]

Real towers, trained on the simulated demo shop, answer requests of its last day over unit vectors that are scattered
around those of the shop's items. Parameters are chosen with one half of the requests, and recall is measured with the
other. Servers are processes of their own, asked over gRPC by open-loop traffic of single queries; the traffic's
generator runs on the same processors. What is compared is measured in turns, round by round; medians are printed.

--against takes another checkout, whose `souk serve` is measured in turns with this one's. --target takes any server,
such as TensorFlow Serving, that was started on FOLDER/served and takes over new versions by itself.
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.serving import growth, libraries
from benchmarks.serving.libraries import Cost, FaissHnsw, FaissIvf, Hnswlib, Library, Scann, ScannOp, tune
from benchmarks.serving.memory import resident_mib
from benchmarks.serving.servable import Built, build
from benchmarks.serving.server import Server, Swaps, cold_query_s, half_load, saturate, serving, swap, target
from benchmarks.serving.towers import Towers, exact_neighbors, grow, train_towers
from components.index_builder.config import IndexConfig
from components.index_builder.parameters import recall_against_exact
from serving.load.histogram import LatencyHistogram
from serving.load.report import Report
from serving.load.saturation import RateStep
from serving.server import loader

K, REQUESTS, WANTED_RECALL = 100, 2000, 0.97
_SERVABLE = "the servable, by a session"
ROOT = Path(__file__).resolve().parents[2]


def told(text: str) -> None:
    """Progress, for who waits."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Runs the benchmark and prints its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000], metavar="ITEMS")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-serving"))
    parser.add_argument("--model", default="two_tower", choices=("two_tower", "dpsr", "mmse", "mgdspr"))
    parser.add_argument("--backend", default="scann", choices=("scann", "portable"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of traffic at each rate")
    parser.add_argument("--swaps", type=int, default=10, help="versions that are pushed under half of the load")
    parser.add_argument("--growth", type=int, nargs="*", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--alone", action="store_true", help="leave FAISS and hnswlib out")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    parser.add_argument("--target", metavar="HOST:PORT")
    arguments = parser.parse_args()
    console = Console(width=130)

    told("towers ...")
    towers = train_towers(arguments.folder, REQUESTS, arguments.model)
    console.print(
        f"{os.cpu_count()} processors; {arguments.model} towers; {REQUESTS:,} requests of a simulated day; all at the "
        "same recall"
    )
    for items in arguments.sizes:
        with contextlib.ExitStack() as stack:
            if arguments.target is None:
                base = Path(tempfile.mkdtemp(prefix="bench-serving-", dir=arguments.folder))
                stack.callback(shutil.rmtree, base)
            else:
                base = arguments.folder / "served"
                base.mkdir(exist_ok=True)
            compare(arguments, items, towers, base, console)
    if arguments.growth:
        vectors, _ = grow(towers.catalog, max(arguments.growth))
        console.print(growth_table(vectors, towers, arguments.growth, arguments.backend))


def compare(arguments: argparse.Namespace, items: int, towers: Towers, base: Path, console: Console) -> None:
    """Everything at one size."""
    vectors, rows = grow(towers.catalog, items)
    judged = towers.queries[REQUESTS // 2 :]
    exact = exact_neighbors(vectors, judged, K)
    told(f"{items:,} items: index and servable ...")
    config = IndexConfig(k=K, backend=arguments.backend, wanted_recall=WANTED_RECALL)
    built = build(towers, vectors, rows, config, REQUESTS // 2, base)
    recall = recall_against_exact(built.found, exact)
    console.print(
        f"\n{items:,} vectors of {vectors.shape[1]}: {built.chosen.name} {built.chosen.parameters}, recall@{K} "
        f"{recall:.4f} on requests that it was not chosen with; chosen and built in {built.index_s:.0f} s, saved in "
        f"{built.save_s:.0f} s"
    )
    others = build_libraries(built, vectors, exact, judged, recall, arguments.alone, console)
    checkouts = {"souk serve, over gRPC": ROOT}
    if arguments.against is not None:
        checkouts["souk serve of --against"] = arguments.against.resolve()
    with contextlib.ExitStack() as stack:
        bases, servers = {}, []
        for number, (name, checkout) in enumerate(checkouts.items()):
            # Each has versions of its own, so that those that are pushed to one do not come to the other.
            bases[name] = base / f"server-{number}"
            shutil.copytree(base / str(built.version), bases[name] / "1", copy_function=os.link)
            stack.callback(shutil.rmtree, bases[name])
            log = base / f"server-{number}.log"
            servers.append(stack.enter_context(serving(name, bases[name].resolve(), checkout, log.resolve())))
        if arguments.target is not None:
            servers.append(target(arguments.target, base, built.version))
        rates = rounds(others, built, servers, towers, base, arguments, console)
        for server in servers if arguments.swaps else ():
            if server.process is not None:
                told(f"new versions under traffic: {server.name} ...")
                found = swap(
                    server,
                    bases[server.name],
                    towers.examples,
                    rates[server.name] / 2,
                    arguments.swaps,
                    arguments.seconds,
                )
                console.print(swap_table(server.name, found))


def build_libraries(
    built: Built,
    vectors: np.ndarray,
    exact: np.ndarray,
    queries: np.ndarray,
    recall: float,
    alone: bool,
    console: Console,
) -> list[Library]:
    """Every library, built and set to the recall that the servable's index has, and a table of what that took."""
    parameters = built.chosen.parameters
    leaves = int(parameters.get("leaves", 2 * len(vectors) ** 0.5))
    pair = (int(parameters.get("leaves_to_search", leaves // 20)), int(parameters.get("reorder", 3 * K)))
    table = Table(title="Built with all processors, set to the servable's recall", title_justify="left")
    for name in ("library", "build s", "resident MiB more", "setting", f"recall@{K}"):
        table.add_column(name, justify="left" if name == "library" else "right")
    found: list[Library] = [Scann(leaves, [pair], K), ScannOp(built.index, K)]
    if not alone:
        found += [FaissIvf(leaves), FaissHnsw(), Hnswlib()]
    for library in found:
        told(f"{library.name} ...")
        before, started = resident_mib(), time.perf_counter()
        library.build(vectors, os.cpu_count() or 1)
        seconds, more = time.perf_counter() - started, resident_mib() - before
        knob, reached = tune(library, queries, exact, recall - 0.001)
        table.add_row(library.name, f"{seconds:.0f}", f"{more:,.0f}", str(knob), f"{reached:.4f}")
    console.print(table)
    return found


def rounds(
    others: Sequence[Library],
    built: Built,
    servers: Sequence[Server],
    towers: Towers,
    base: Path,
    arguments: argparse.Namespace,
    console: Console,
) -> dict[str, float]:
    """Measures everything in turns, prints what it costs, and returns the saturated rate of each server."""
    threads, queries = os.cpu_count() or 1, towers.queries[REQUESTS // 2 :]
    model = loader.load(base / str(built.version))
    rows = [np.array([example], object) for example in towers.examples[REQUESTS // 2 :]]

    def ask_servable(row: np.ndarray) -> dict[str, np.ndarray]:
        return model.run("serving_default", {"examples": row})

    costs = {name: Cost() for name in (*(library.name for library in others), _SERVABLE, *(s.name for s in servers))}
    starts = dict.fromkeys(costs, 200.0)
    halves: list[Report] = []
    for number in range(arguments.rounds):
        told(f"round {number + 1} of {arguments.rounds} ...")
        for library in others:
            ask = partial(library.single, k=K)
            libraries.measure(ask, queries, threads, costs[library.name])
        libraries.measure(ask_servable, rows, threads, costs[_SERVABLE])
        for server in servers:
            told(f" {server.name}")
            rate = saturate(server, towers.examples, starts[server.name], arguments.seconds, tell_step).rate
            starts[server.name] = max(10.0, 0.8 * rate)
            halves.append(half_load(server, towers.examples, rate, 2 * arguments.seconds, costs[server.name]))
    console.print(cost_table(costs))
    cold = [cold_query_s(servers[0], "red shoes") for _ in range(3)]
    console.print(
        f"At half of the saturated rates {sum(half.failed for half in halves)} of "
        f"{sum(half.due for half in halves):,} requests failed. {servers[0].name} was ready {servers[0].start_s:.1f} s "
        f"after its start and holds {servers[0].resident_mib():,.0f} MiB.\n"
        f"`souk query` from a cold shell: {np.median(cold):.2f} s (worst of {len(cold)}: {max(cold):.2f} s)\n"
    )
    return {server.name: float(np.median(costs[server.name].rate)) for server in servers}


def cost_table(costs: dict[str, Cost]) -> Table:
    """What a request costs; the first row is what the others are compared with."""
    table = Table(
        title="A request. In process: one after another; servers: at half of their saturated rate", title_justify="left"
    )
    for name in ("", "CPU ms", "of the first row's", "p50 ms", "p99 ms (rounds)", "most /s", "of the first row's"):
        table.add_column(name, justify="right" if name else "left")
    first = next(iter(costs.values()))
    for name, cost in costs.items():
        cpu, rate = (float(np.median(values)) if values else np.nan for values in (cost.cpu_ms, cost.rate))
        table.add_row(
            name,
            f"{cpu:.2f}" if cost.cpu_ms else "",
            f"{cpu / np.median(first.cpu_ms):.1f} times" if cost.cpu_ms else "",
            f"{np.median(cost.p50_ms):.2f}",
            f"{np.median(cost.p99_ms):.1f} ({', '.join(f'{value:.1f}' for value in cost.p99_ms)})",
            f"{rate:,.0f}",
            f"{rate / np.median(first.rate):.1%}",
        )
    return table


def swap_table(name: str, swaps: Swaps) -> Table:
    """Latencies before and during changes of versions."""
    table = Table(
        title=f"{name}: {len(swaps.during)} new versions under half of the load, each over after "
        f"{np.median(swaps.seconds):.0f} s and {np.median(swaps.cpu_s):.0f} s of processor time (requests included); "
        f"{swaps.before_mib:,.0f} MiB before, {swaps.after_mib:,.0f} after",
        title_justify="left",
    )
    for column in ("", "requests", "failed", "p50 ms", "p99 ms", "longest ms"):
        table.add_column(column, justify="right" if column else "left")
    for row, reports in {"before": [swaps.steady], "during the changes": swaps.during}.items():
        latency = LatencyHistogram()
        for report in reports:
            latency.merge(report.latency)
        times = (latency.percentile(50), latency.percentile(99), latency.max)
        due, failed = sum(report.due for report in reports), sum(report.failed for report in reports)
        table.add_row(row, f"{due:,}", str(failed), *(f"{value * 1e3:.1f}" for value in times))
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
