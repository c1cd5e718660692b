"""The serving program as a process of its own, on one candidate."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
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
_POLL_S = 0.1
_STOP_GRACE_S = 15.0
_LOG_TAIL_CHARACTERS = 4000


class StartError(RuntimeError):
    """The serving program did not open its ports, which has nothing to do with the candidate; the message says why."""


class LoadError(RuntimeError):
    """The serving program did not get the candidate ready; the message says why."""


@dataclass(frozen=True)
class ServerProcess:
    """A serving program that has the candidate loaded.

    Attributes:
      process: the program.
      address: where it answers.
      startup_seconds: from its start until its ports were open.
      load_seconds: from its start until the candidate was ready.
      slowdown: how many times slower the machine was because of other work when it started.
    """

    process: subprocess.Popen[bytes]
    address: str
    startup_seconds: float
    load_seconds: float
    slowdown: float

    @property
    def exit_code(self) -> int | None:
        """Exit code of the program; None while it runs."""
        return self.process.poll()


@contextlib.contextmanager
def serve_candidate(folders: Sequence[Path], log: Path, config: CanaryConfig) -> Iterator[ServerProcess]:
    """The serving program on the SavedModels in `folders`, stopped when the block ends.

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
        names = shard_models(MODEL_NAME, len(folders))
        for name, folder in zip(names, folders, strict=True):
            (Path(scratch) / name).mkdir()
            (Path(scratch) / name / "1").symlink_to(folder.resolve(), target_is_directory=True)
        for attempt in range(1, _LOADS + 1):
            started = time.monotonic()
            ready = Path(scratch) / f"ready-{attempt}.json"
            with _program(_command(Path(scratch), len(folders), ready), output) as process:
                told = _wait_for_ports(process, ready, log, started, config.process_timeout_s)
                startup_seconds = time.monotonic() - started
                slowed = slowdown.ratio(startup_seconds, told["processor_seconds"])
                deadline = time.monotonic() + config.load_timeout_s * slowed
                if all(_wait_for_candidate(process, told["address"], name, deadline) for name in names):
                    load_seconds = time.monotonic() - started
                    yield ServerProcess(process, told["address"], startup_seconds, load_seconds, slowed)
                    return
        raise LoadError(
            f"the serving program did not load the candidate in {_LOADS} attempts; "
            f"allowed {checks.scaled(config.load_timeout_s, slowed, 's')}"
        )


def log_tail(log: Path) -> str:
    """The end of what the serving program printed."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return text[-_LOG_TAIL_CHARACTERS:]


@contextlib.contextmanager
def _program(command: Sequence[str], output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=_environment())
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
            lines = log_tail(log).strip().splitlines()[-_SHOWN_LINES:]
            raise StartError(
                f"the serving program ended with code {code} before it opened its ports, so the candidate was not "
                "asked and is not refused; run again, and if it ends again, look at what it printed: "
                + (" | ".join(lines) or "nothing")
            )
        if time.monotonic() - started > timeout_s:
            raise StartError(
                f"the serving program did not open its ports within {timeout_s:g} s, so the candidate was not asked "
                "and is not refused; the machine is too busy: run again when it has less to do, or give "
                "canary.process_timeout_s more seconds"
            )
        time.sleep(_POLL_S)
    return json.loads(ready.read_text())


def _wait_for_candidate(process: subprocess.Popen[bytes], address: str, name: str, deadline: float) -> bool:
    """Whether the candidate is ready by `deadline`."""
    with Client(address, model_name=name) as client:
        while True:
            code = process.poll()
            if code is not None:
                raise LoadError(f"the serving program ended with code {code} before it could load the candidate")
            if time.monotonic() > deadline:
                return False
            # Until the folder has been looked at, the server does not know of any version.
            with contextlib.suppress(ServingError):
                (status,) = client.status()
                if status.state == "AVAILABLE":
                    return True
                if status.state == "END":
                    raise LoadError(f"the serving program cannot load the candidate: {status.error}")
            time.sleep(_POLL_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
