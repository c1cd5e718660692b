"""The server of `canary.server_command`, on one candidate."""

import contextlib
import os
import shlex
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from components.canary import slowdown
from components.canary.checks import scaled
from components.canary.config import CanaryConfig
from components.canary.server_command import fill
from components.canary.server_process import (
    POLL_S,
    ServerProcess,
    StartError,
    is_available,
    last_lines,
    lay_out,
    running,
)
from schema.settings import InputError
from souk_client.client import ServingError

_HOST = "127.0.0.1"
_READY_TIMEOUT_S = 5.0
_NOT_JUDGED = "so the candidate is neither blessed nor refused"


@contextlib.contextmanager
def serve_candidate_with(
    command: str, folders: Sequence[Path], log: Path, config: CanaryConfig
) -> Iterator[ServerProcess]:
    """Programs that serve the SavedModels in `folders`, one each, stopped when the block ends.

    Unlike `souk serve`, the program may load the candidate before it opens its ports, and does not say which of the two
    it is about. So `process_timeout_s` and `load_timeout_s` together limit both, and a program that ends or is late
    does not refuse the candidate.

    Args:
      command: a checked `server_command`.
      folders: as for `server_process.serve_candidate`; shard by shard they have a program of their own.
      log: file that gets what the programs print.
      config: how long starting and loading may take, and what tells that the candidate is ready.

    Raises:
      InputError: if the program cannot be started.
      StartError: if it ends, or is too late.
      LoadError: if it says that it cannot load the candidate.
    """
    with (
        tempfile.TemporaryDirectory(prefix="souk-canary-") as scratch,
        log.open("wb") as output,
        contextlib.ExitStack() as stack,
    ):
        started, slowed = time.monotonic(), slowdown.measure()
        deadline = started + config.process_timeout_s + config.load_timeout_s * slowed
        programs = []
        ports = iter(_free_ports(2 * len(folders)))
        for (name, model_dir), folder in zip(lay_out(folders, Path(scratch)).items(), folders, strict=True):
            values = {
                "port": next(ports),
                "rest_port": next(ports),
                "model_dir": model_dir,
                "version_dir": folder.resolve(),
                "model_name": name,
            }
            words = fill(command, values)
            try:
                process = stack.enter_context(running(words, output, os.environ))
            except OSError as error:
                raise InputError(
                    f"the program {words[0]!r} of canary.server_command cannot be started: {error.strerror}. Install "
                    "it on the machine that the pipeline runs on, or give its whole path."
                ) from None
            programs.append(_Program(words, process, name, values, config.server_ready))
        for program in programs:
            _wait_until_ready(program, log, deadline, scaled(config.load_timeout_s, slowed, "s"), config)
        yield ServerProcess(
            processes=tuple(program.process for program in programs),
            addresses=tuple(program.address for program in programs),
            startup_seconds=None,
            load_seconds=time.monotonic() - started,
            slowdown=slowed,
        )


@dataclass(frozen=True)
class _Program:
    words: Sequence[str]
    process: subprocess.Popen[bytes]
    name: str
    values: Mapping[str, object]
    ready_url: str | None

    @property
    def address(self) -> str:
        return f"{_HOST}:{self.values['port']}"

    def missing(self) -> str:
        """What is missing until the candidate is ready; "" if nothing is.

        Raises:
          LoadError: if the program says that it cannot load the candidate.
        """
        if self.ready_url is not None:
            return missing_at(self.ready_url.format_map(self.values))
        try:
            return "" if is_available(self.address, self.name) else f"{self.address} is still loading {self.name}"
        except ServingError as error:
            if error.code is grpc.StatusCode.UNAVAILABLE:
                return f"nothing answers gRPC at {self.address}"
            return f"{self.address} answers {error.code.name}"


def missing_at(url: str) -> str:
    """What is missing until `url` answers 200; "" if nothing is."""
    try:
        with urllib.request.urlopen(url, timeout=_READY_TIMEOUT_S) as answer:
            return "" if answer.status == 200 else f"{url} answers {answer.status}"
    except (OSError, ValueError) as error:
        return f"{url} does not answer 200: {error}"


def _wait_until_ready(program: _Program, log: Path, deadline: float, load_limit: str, config: CanaryConfig) -> None:
    told = f"the server of canary.server_command (`{shlex.join(program.words)}`)"
    while True:
        missing = program.missing()
        if not missing:
            return
        code = program.process.poll()
        if code is not None:
            raise StartError(
                f"{told} ended with code {code} before the candidate was ready, {_NOT_JUDGED}; either the command is "
                f"wrong, or the server ends because it cannot load the candidate. It printed last: {last_lines(log)}"
            )
        if time.monotonic() > deadline:
            raise StartError(
                f"{told} was not ready within {config.process_timeout_s:g} s (canary.process_timeout_s) and "
                f"{load_limit} (canary.load_timeout_s), {_NOT_JUDGED}; at last: {missing}, where it must "
                f"serve {program.name}. It printed last: {last_lines(log)}"
            )
        time.sleep(POLL_S)


def _free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((_HOST, 0))
        return [each.getsockname()[1] for each in sockets]
