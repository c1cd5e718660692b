"""The serving program under open-loop traffic, and the command line that asks it."""

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.libraries import Cost
from benchmarks.serving.memory import resident_mib
from serving.load.background import BackgroundLoad
from serving.load.config import LoadConfig
from serving.load.generator import send
from serving.load.report import Report
from serving.load.saturation import RateStep, Saturation, find_saturated_rate
from souk_client.client import Client, ServingError

_READY_S = 600.0


@dataclass(frozen=True)
class Server:
    """A serving program that runs.

    Attributes:
      name: what it is called in the table.
      address: "host:port" of gRPC.
      start_s: seconds from its start to its first version.
      process: the program; None for one that others have started.
    """

    name: str
    address: str
    start_s: float = 0.0
    process: subprocess.Popen[bytes] | None = None

    def cpu_s(self) -> float:
        """Seconds of processor time that it has used; NaN where that cannot be seen."""
        if self.process is None:
            return math.nan
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Memory that it holds; NaN where that cannot be seen."""
        return math.nan if self.process is None else resident_mib(self.process.pid)


@contextlib.contextmanager
def serving(name: str, base: Path, checkout: Path, log: Path) -> Iterator[Server]:
    """`souk serve` of a checkout, as a user would start it, until the block ends."""
    ready = log.with_suffix(".ready")
    ready.unlink(missing_ok=True)
    python = checkout / ".venv" / "bin" / "python"
    command = [str(python) if python.exists() else sys.executable, "-m", "serving.server", "--model-dir", str(base)]
    command += ["--port", "0", "--rest-port", "-1", "--ready-file", str(ready), "--parent-pid", str(os.getpid())]
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=checkout)
    try:
        while not ready.exists() or not available(json.loads(ready.read_text())["address"]):
            if process.poll() is not None or time.perf_counter() - started > _READY_S:
                raise SystemExit(f"the serving program did not start; see {log}")
            time.sleep(0.1)
        yield Server(name, json.loads(ready.read_text())["address"], time.perf_counter() - started, process)
    finally:
        process.terminate()
        process.wait(60)


def target(address: str, base: Path, version: int) -> Server:
    """A server that others have started on `base`, once it has the version."""
    started = time.perf_counter()
    while not available(address, version):
        if time.perf_counter() - started > _READY_S:
            raise SystemExit(f"{address} does not serve version {version} of {base}; start it on that folder first")
        time.sleep(0.5)
    return Server(address, address)


def available(address: str, version: int | None = None) -> bool:
    """Whether a server answers, by this version if one is given."""
    with Client(address) as client:
        try:
            return any(status.state == "AVAILABLE" for status in client.status() if version in (None, status.version))
        except ServingError:
            return False


def traffic(server: Server, examples: Sequence[bytes], rate: float, seconds: float, seed: int) -> Report:
    """Open-loop traffic of single queries."""
    return send(server.address, examples, LoadConfig(rate=rate, seconds=seconds, seed=seed, timeout_s=2, connections=4))


def saturate(
    server: Server, examples: Sequence[bytes], start: float, seconds: float, told: Callable[[RateStep], None]
) -> Saturation:
    """The highest rate that the server follows."""
    return find_saturated_rate(
        lambda rate: traffic(server, examples, rate, seconds, seed=1), start=start, factor=1.3, refinements=2, told=told
    )


def half_load(server: Server, examples: Sequence[bytes], rate: float, seconds: float, cost: Cost) -> Report:
    """Enters what a server's requests cost at half of `rate`."""
    used = server.cpu_s()
    report = traffic(server, examples, rate / 2, seconds, seed=len(cost.rate))
    if server.process is not None:
        cost.cpu_ms.append((server.cpu_s() - used) / max(1, report.answered) * 1e3)
    cost.p50_ms.append(report.latency.percentile(50) * 1e3)
    cost.p99_ms.append(report.latency.percentile(99) * 1e3)
    cost.rate.append(rate)
    return report


@dataclass(frozen=True)
class Swaps:
    """What changes of versions under traffic did.

    Attributes:
      steady: traffic before the first.
      during: traffic from each push until the old version was gone.
      seconds: how long each took.
      cpu_s: processor time of each, requests included.
      before_mib: memory before the first.
      after_mib: memory after the last.
    """

    steady: Report
    during: list[Report]
    seconds: list[float]
    cpu_s: list[float]
    before_mib: float
    after_mib: float


def swap(server: Server, base: Path, examples: Sequence[bytes], rate: float, count: int, seconds: float) -> Swaps:
    """Pushes the newest version's files as further versions, one after another, while traffic flows."""
    config = LoadConfig(rate=rate, timeout_s=30, connections=4)
    took: list[float] = []
    used: list[float] = []
    with Client(server.address) as client, BackgroundLoad(server.address, examples, config, first="steady") as load:
        time.sleep(seconds)
        before = server.resident_mib()
        for _ in range(count):
            last = max(int(path.name) for path in base.iterdir() if path.name.isdigit())
            shutil.copytree(base / str(last), base / "incoming", copy_function=os.link)
            load.begin("swap")
            started, cpu_s = time.perf_counter(), server.cpu_s()
            (base / "incoming").rename(base / str(last + 1))
            while {status.version: status.state for status in client.status()}.get(last) != "END":
                time.sleep(0.1)
            took.append(time.perf_counter() - started)
            used.append(server.cpu_s() - cpu_s)
            load.begin("between")
            shutil.rmtree(base / str(last))
            time.sleep(seconds)
        after = server.resident_mib()
    during = [report for report in load.reports if report.name == "swap"]
    return Swaps(load.reports[0], during, took, used, before, after)


def cold_query_s(server: Server, query: str) -> float:
    """Seconds that `souk query` takes in a shell of its own."""
    command = [sys.executable, "-m", "pipeline.cli", "query", query, "--target", server.address]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
