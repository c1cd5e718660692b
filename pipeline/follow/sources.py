"""Where live events come from, in batches, and the first of these places: standard input."""

import os
import select
import time
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from schema.settings import InputError

BATCH_EVENTS: Final = 5000
STANDARD_INPUT = 0
# How long a source waits for the first event of a batch, and for more of them once it has one, seconds.
POLL_S: Final = 0.5
LINGER_S: Final = 0.05
_READ_BYTES: Final = 1 << 20
_MAX_LINE_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Batch:
    """Events as JSON lines; when the oldest of them came in, epoch milliseconds; what the source knows them by."""

    lines: list[bytes]
    oldest_ms: int = 0
    token: Any = field(default=None, compare=False)


class Source(Protocol):
    """Where events come from. What is not done when the program ends comes again."""

    name: str
    """For dead letters and messages."""

    def poll(self) -> Batch | None:
        """The next events, none if none came for a while, None at the end of the source.

        Raises:
          redis.RedisError: if the source is Redis and away; polled again, it goes on where it was.
        """

    def done(self, batch: Batch) -> None:
        """Acknowledges a batch."""

    def backlog(self) -> int | None:
        """How many events wait in the source; None where it cannot tell."""

    def close(self) -> None:
        """Ends the connection."""


class StandardInput:
    """Lines of a pipe or a file; it acknowledges nothing, so who writes it decides what to send again.

    Args:
      descriptor: of the file; None is that of standard input.
      batch: most lines of a batch.
    """

    name = "standard input"

    def __init__(self, descriptor: int | None = None, batch: int = BATCH_EVENTS) -> None:
        self._descriptor, self._most = STANDARD_INPUT if descriptor is None else descriptor, batch
        self._lines: list[bytes] = []
        self._rest = b""
        self._ended = False

    def poll(self) -> Batch | None:
        """See `Source.poll`.

        Raises:
          InputError: if a line is longer than 64 MiB.
        """
        began = time.monotonic()
        while len(self._lines) < self._most and not self._ended:
            waited = time.monotonic() - began
            left = (LINGER_S if self._lines else POLL_S) - waited
            if not select.select([self._descriptor], [], [], max(left, 0.0))[0]:
                break
            self._read()
        taken, self._lines = self._lines[: self._most], self._lines[self._most :]
        if not taken and self._ended:
            return None
        return Batch(taken, time.time_ns() // 1_000_000)

    def done(self, batch: Batch) -> None:
        """See `Source.done`."""

    def backlog(self) -> int | None:
        """See `Source.backlog`."""
        return None

    def close(self) -> None:
        """See `Source.close`."""

    def _read(self) -> None:
        data = os.read(self._descriptor, _READ_BYTES)
        if not data:
            self._ended = True
            lines, self._rest = [self._rest], b""
        else:
            *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            raise InputError(
                f"A line of {self.name} is longer than {_MAX_LINE_BYTES >> 20} MiB; one JSON event a line is wanted."
            )
        self._lines += [line for line in lines if line and not line.isspace()]
