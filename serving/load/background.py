"""Traffic on a thread of its own, while the caller does something to the server."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from serving.load.config import LoadConfig
from serving.load.generator import Generator, run_loop
from serving.load.report import Report
from serving.load.stretches import Stretches


class BackgroundLoad:
    """Sends until the `with` block ends, however long `config.seconds`.

        with BackgroundLoad("localhost:8500", examples, LoadConfig(rate=50)) as load:
            load.begin("while version 2 is pushed")
            ...
        for report in load.reports: ...

    Arguments and errors as for `Generator`.

    Attributes:
      reports: one for each stretch, once the block has ended.
    """

    def __init__(
        self, target: str, values: Sequence[bytes], config: LoadConfig, *, first: str = "", **options: Any
    ) -> None:
        self.reports: list[Report] = []
        self._generator = Generator(target, values, config, **options)
        self._first = first
        self._stretches: Stretches | None = None
        self._error: BaseException | None = None
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="souk-load", daemon=True)

    def begin(self, name: str) -> None:
        """Requests that are due from now on belong to a report of this name."""
        if self._stretches is None:
            raise RuntimeError("traffic has not begun: use BackgroundLoad in a with statement")
        self._stretches.begin(name)

    def __enter__(self) -> Self:
        self._thread.start()
        self._running.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._generator.stop()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            self.reports = run_loop(self._generator.run(endless=True, started=self._has_started, first=self._first))
        except BaseException as error:
            self._error = error
        finally:
            self._running.set()

    def _has_started(self, stretches: Stretches) -> None:
        self._stretches = stretches
        self._running.set()
