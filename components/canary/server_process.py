"""The serving program as a process of its own, on one candidate."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import serving
from components.canary import checks, slowdown
from components.canary.config import CanaryConfig
from souk_client.client import Client, ServingError
from souk_client.protocol import shard_models

MODEL_NAME = "canary"

_LOADS = 2
_SHOWN_LINES = 3
POLL_S = 0.1
_STOP_GRACE_S = 15.0
_LOG_TAIL_CHARACTERS = 4000


class StartError(RuntimeError):
    """The serving program did not open its ports, which has nothing to do with the candidate; the message says why."""


class LoadError(RuntimeError):
    """The serving program did not get the candidate ready; the message says why."""


@dataclass(frozen=True)
class ServerProcess:
    """A serving program that has the candidate loaded; of shards it may be several.

    Attributes:
      processes: the programs.
      addresses: where each SavedModel of the candidate is served.
      startup_seconds: from its start until its ports were open; None if that is not known.
      load_seconds: from its start until the candidate was ready.
      slowdown: how many times slower the machine was because of other work when it started.
    """

    processes: tuple[subprocess.Popen[bytes], ...]
    addresses: tuple[str, ...]
    startup_seconds: float | None
    load_seconds: float
    slowdown: float

    @property
    def exit_code(self) -> int | None:
        """Exit code of the program that ended; None while it runs."""
        codes = (process.poll() for process in self.processes)
        return next((code for code in codes if code is not None), None)


@contextlib.contextmanager
def serve_candidate(folders: Sequence[Path], log: Path, config: CanaryConfig) -> Iterator[ServerProcess]:
    """`souk serve` on the SavedModels in `folders`, stopped when the block ends.

    A process of its own keeps a candidate that crashes from taking the pipeline along, and needs no fork of a
    process that runs threads. It stops by itself if the pipeline is killed. Where the candidate is not loaded in time,
    the program is started once more.

    Args:
      folders: local folder of the SavedModel, or of each shard's; not written to. What they are served as is
        `shard_models(MODEL_NAME, len(folders))`.
      log: file that gets what the program prints.
      config: how long starting and loading may take.

    Raises:
      StartError: if the program ends or is too late before it opens its ports.
      LoadError: if it ends, refuses the candidate, or is too late after that.
    """
    with tempfile.TemporaryDirectory(prefix="souk-canary-") as scratch, log.open("wb") as output:
        names = lay_out(folders, Path(scratch))
        for attempt in range(1, _LOADS + 1):
            started = time.monotonic()
            ready = Path(scratch) / f"ready-{attempt}.json"
            with running(_command(Path(scratch), len(folders), ready), output, _environment()) as process:
                told = _wait_for_ports(process, ready, log, started, config.process_timeout_s)
                startup_seconds = time.monotonic() - started
                slowed = slowdown.ratio(startup_seconds, told["processor_seconds"])
                deadline = time.monotonic() + config.load_timeout_s * slowed
                if all(_wait_for_candidate(process, told["address"], name, deadline) for name in names):
                    load_seconds = time.monotonic() - started
                    addresses = (told["address"],) * len(folders)
                    yield ServerProcess((process,), addresses, startup_seconds, load_seconds, slowed)
                    return
        raise LoadError(
            f"the serving program did not load the candidate in {_LOADS} attempts; "
            f"allowed {checks.scaled(config.load_timeout_s, slowed, 's')}"
        )


def log_tail(log: Path) -> str:
    """The end of what the serving program printed."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return text[-_LOG_TAIL_CHARACTERS:]


def last_lines(log: Path) -> str:
    """The last lines of what the serving program printed, in one."""
    return " | ".join(log_tail(log).strip().splitlines()[-_SHOWN_LINES:]) or "nothing"


def lay_out(folders: Sequence[Path], scratch: Path) -> dict[str, Path]:
    """Folders in `scratch` with each SavedModel as version 1, by the name that it is served as."""
    found = {}
    for name, folder in zip(shard_models(MODEL_NAME, len(folders)), folders, strict=True):
        found[name] = scratch / name
        found[name].mkdir()
        (found[name] / "1").symlink_to(folder.resolve(), target_is_directory=True)
    return found


@contextlib.contextmanager
def running(
    command: Sequence[str], output: IO[bytes], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is told to end, and after a while is killed, when the block ends.

    Raises:
      OSError: if there is no such program.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    try:
        yield process
    finally:
        _stop(process)


def _command(folder: Path, shards: int, ready: Path) -> list[str]:
    options = {
        "--model-dir": folder / MODEL_NAME,
        "--shards": shards,
        "--name": MODEL_NAME,
        "--port": 0,
        "--ready-file": ready,
        "--parent-pid": os.getpid(),
    }
    arguments = [str(part) for option in options.items() for part in option]
    return [sys.executable, "-m", "serving.server", *arguments]


def _environment() -> dict[str, str]:
    root = str(Path(serving.__file__).resolve().parent.parent)
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root if not path else f"{root}{os.pathsep}{path}"}


def _wait_for_ports(process: subprocess.Popen[bytes], ready: Path, log: Path, started: float, timeout_s: float) -> Any:
    """What the program writes when its ports are open."""
    while not ready.exists():
        code = process.poll()
        if code is not None:
            raise StartError(
                f"the serving program ended with code {code} before it opened its ports, so the candidate was not "
                "asked and is not refused; run again, and if it ends again, look at what it printed: " + last_lines(log)
            )
        if time.monotonic() - started > timeout_s:
            raise StartError(
                f"the serving program did not open its ports within {timeout_s:g} s, so the candidate was not asked "
                "and is not refused; the machine is too busy: run again when it has less to do, or give "
                "canary.process_timeout_s more seconds"
            )
        time.sleep(POLL_S)
    return json.loads(ready.read_text())


def _wait_for_candidate(process: subprocess.Popen[bytes], address: str, name: str, deadline: float) -> bool:
    """Whether the candidate is ready by `deadline`."""
    while True:
        code = process.poll()
        if code is not None:
            raise LoadError(f"the serving program ended with code {code} before it could load the candidate")
        if time.monotonic() > deadline:
            return False
        # Until the folder has been looked at, the server does not know of any version.
        with contextlib.suppress(ServingError):
            if is_available(address, name):
                return True
        time.sleep(POLL_S)


def is_available(address: str, name: str) -> bool:
    """Whether the server at `address` answers with the candidate, which it serves as `name`.

    Raises:
      ServingError: if it does not answer, or does not know the name.
      LoadError: if it says that it cannot load the candidate.
    """
    # A connection of its own each time: one that was refused would wait longer and longer before it tries again.
    with Client(address, model_name=name) as client:
        (status,) = client.status()
    if status.state == "END":
        raise LoadError(f"the serving program cannot load the candidate: {status.error}")
    return status.state == "AVAILABLE"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
