"""The serving program under open-loop traffic, and the command line that asks it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
      address: "host:port" of gRPC.
      start_s: seconds from its start to its first version.
      process: the program.
    """

    address: str
    start_s: float
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Memory that it holds."""
        return resident_mib(self.process.pid)


@contextlib.contextmanager
def serving(base: Path, batching: Path | None, log: Path) -> Iterator[Server]:
    """A serving program of its own, as a user would start it, until the block ends."""
    ready = log.with_suffix(".ready")
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "serving.server", "--model-dir", str(base), "--port", "0", "--rest-port", "-1"]
    command += ["--ready-file", str(ready)]
    if batching is not None:
        command += ["--enable-batching", "--batching-parameters-file", str(batching)]
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        while not ready.exists() or not _available(json.loads(ready.read_text())["address"]):
            if process.poll() is not None or time.perf_counter() - started > _READY_S:
                raise SystemExit(f"the serving program did not start; see {log}")
            time.sleep(0.1)
        yield Server(json.loads(ready.read_text())["address"], time.perf_counter() - started, process)
    finally:
        process.terminate()
        process.wait(60)


def _available(address: str) -> bool:
    with Client(address) as client:
        try:
            return any(status.state == "AVAILABLE" for status in client.status())
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


@dataclass(frozen=True)
class Swap:
    """What a change of versions under traffic did.

    Attributes:
      reports: before, during and after it.
      swap_s: seconds from the push until the new version had taken over and the old one was gone.
      before_mib: memory before it.
      most_mib: the most that was held meanwhile.
      after_mib: memory after it.
    """

    reports: list[Report]
    swap_s: float
    before_mib: float
    most_mib: float
    after_mib: float


def swap(server: Server, base: Path, examples: Sequence[bytes], rate: float, seconds: float) -> Swap:
    """Pushes version 2, which has the files of version 1, while traffic flows."""
    config = LoadConfig(rate=rate, timeout_s=30, connections=4)
    shutil.copytree(base / "1", base / "incoming", copy_function=os.link)
    before = most = server.resident_mib()
    with (
        Client(server.address) as client,
        BackgroundLoad(server.address, examples, config, first="before") as load,
    ):
        time.sleep(seconds)
        load.begin("while version 2 is loaded")
        started = time.perf_counter()
        (base / "incoming").rename(base / "2")
        while {status.version: status.state for status in client.status()} != {1: "END", 2: "AVAILABLE"}:
            most = max(most, server.resident_mib())
            time.sleep(0.1)
        took = time.perf_counter() - started
        load.begin("after")
        time.sleep(seconds)
    return Swap(load.reports, took, before, most, server.resident_mib())


def cold_query_s(server: Server, query: str) -> float:
    """Seconds that `souk query` takes in a shell of its own."""
    command = [sys.executable, "-m", "pipeline.cli", "query", query, "--target", server.address]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
