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

import serving
from schema.shards import shard_models
from serving.client import Client, ServingError

MODEL_NAME = "canary"

_POLL_S = 0.1
_STOP_GRACE_S = 15.0
_LOG_TAIL_CHARACTERS = 4000


class StartupError(RuntimeError):
    """The serving program did not get the candidate ready; the message says why."""


@dataclass(frozen=True)
class ServerProcess:
    """A serving program that has the candidate loaded; `load_seconds` after its start."""

    process: subprocess.Popen[bytes]
    address: str
    load_seconds: float

    @property
    def exit_code(self) -> int | None:
        """Exit code of the program; None while it runs."""
        return self.process.poll()


@contextlib.contextmanager
def serve_candidate(folders: Sequence[Path], log: Path, timeout_s: float) -> Iterator[ServerProcess]:
    """The serving program on the SavedModels in `folders`, stopped when the block ends.

    A process of its own keeps a candidate that crashes from taking the pipeline along, and needs no fork of a
    process that runs threads. It stops by itself if the pipeline is killed.

    Args:
      folders: local folder of the SavedModel, or of each shard's; not written to. What they are served as is
        `shard_models(MODEL_NAME, len(folders))`.
      log: file that gets what the program prints.
      timeout_s: seconds within which the candidate must be ready.

    Raises:
      StartupError: if the program ends, refuses the candidate, or is too late.
    """
    with tempfile.TemporaryDirectory(prefix="souk-canary-") as scratch, log.open("wb") as output:
        names = shard_models(MODEL_NAME, len(folders))
        for name, folder in zip(names, folders, strict=True):
            (Path(scratch) / name).mkdir()
            (Path(scratch) / name / "1").symlink_to(folder.resolve(), target_is_directory=True)
        ready = Path(scratch) / "ready.json"
        started = time.monotonic()
        process = subprocess.Popen(
            _command(Path(scratch), len(folders), ready),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(),
        )
        try:
            deadline = started + timeout_s
            address = _wait_for_port(process, ready, deadline, timeout_s)
            for name in names:
                _wait_for_candidate(process, address, name, deadline, timeout_s)
            yield ServerProcess(process, address, time.monotonic() - started)
        finally:
            _stop(process)


def log_tail(log: Path) -> str:
    """The end of what the serving program printed."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return text[-_LOG_TAIL_CHARACTERS:]


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


def _wait_for_port(process: subprocess.Popen[bytes], ready: Path, deadline: float, timeout_s: float) -> str:
    while not ready.exists():
        _check_waiting(process, deadline, timeout_s, "open its port")
        time.sleep(_POLL_S)
    return str(json.loads(ready.read_text())["address"])


def _wait_for_candidate(
    process: subprocess.Popen[bytes], address: str, name: str, deadline: float, timeout_s: float
) -> None:
    with Client(address, model_name=name) as client:
        while True:
            _check_waiting(process, deadline, timeout_s, "load the candidate")
            # Until the folder has been looked at, the server does not know of any version.
            with contextlib.suppress(ServingError):
                (status,) = client.status()
                if status.state == "AVAILABLE":
                    return
                if status.state == "END":
                    raise StartupError(f"the serving program cannot load the candidate: {status.error}")
            time.sleep(_POLL_S)


def _check_waiting(process: subprocess.Popen[bytes], deadline: float, timeout_s: float, what: str) -> None:
    code = process.poll()
    if code is not None:
        raise StartupError(f"the serving program ended with code {code} before it could {what}")
    if time.monotonic() > deadline:
        raise StartupError(f"the serving program did not {what} within {timeout_s:g} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
