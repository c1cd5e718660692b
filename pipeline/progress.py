"""The list of steps that a user watches while the pipeline works."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

State = Literal["waiting", "running", "cached", "done", "failed", "cancelled"]

STYLES: Final[dict[str, tuple[str, str]]] = {
    "waiting": ("·", "dim"),
    "running": ("▸", "bold cyan"),
    "cached": ("≡", "blue"),
    "done": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "cancelled": ("-", "yellow"),
}


@dataclass(frozen=True)
class ShownStep:
    """One line of the list.

    Attributes:
      name: the step's name.
      state: where it stands.
      started: monotonic seconds, 0.0 before it began.
      seconds: how long it took; 0.0 until it ended.
      note: what it says of itself while it runs.
    """

    name: str
    state: State = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    note: str = ""


class StepList:
    """The steps of one run; thread-safe, drawn by rich."""

    def __init__(self, names: Sequence[str]):
        self._lock = threading.Lock()
        self._steps = {name: ShownStep(name) for name in names}
        self._printer: Console | None = None

    @property
    def steps(self) -> tuple[ShownStep, ...]:
        """Every step as it stands now, in order."""
        with self._lock:
            return tuple(self._steps.values())

    def start(self, name: str) -> None:
        """Marks a step as running."""
        self._change(name, state="running", started=time.monotonic())

    def end(self, name: str, state: State) -> None:
        """Marks a running step as ended."""
        with self._lock:
            started = self._steps[name].started
        self._change(name, state=state, seconds=time.monotonic() - started, note="")
        if self._printer is not None:
            self._printer.print(_line(next(step for step in self.steps if step.name == name)))

    def note(self, message: str) -> None:
        """Puts a word beside the step that runs."""
        for step in self.steps:
            if step.state == "running":
                self._change(step.name, note=message)

    def _change(self, name: str, **changes: object) -> None:
        with self._lock:
            self._steps[name] = replace(self._steps[name], **changes)  # type: ignore[arg-type]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the list as it stands."""
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, min_width=max(len(step.name) for step in self.steps))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for step in self.steps:
            sign, style = STYLES[step.state]
            table.add_row(Text(sign, style), Text(step.name, style), _duration(step), step.note or _remark(step.state))
        yield table

    @contextmanager
    def shown(self, screen: TextIO) -> Iterator[None]:
        """Shows the list on `screen`: redrawn in place on a terminal, elsewhere a line per step that ended."""
        console = Console(file=screen, highlight=False)
        if console.is_terminal:
            # Standard output and error are in the log by now; Live must not take them over.
            with Live(self, console=console, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False):
                yield
        else:
            self._printer = console
            try:
                yield
            finally:
                self._printer = None


def _line(step: ShownStep) -> Text:
    sign, style = STYLES[step.state]
    return Text(f"{sign} {step.name} {step.state} {_duration(step)}".rstrip(), style)


def _duration(step: ShownStep) -> str:
    seconds = time.monotonic() - step.started if step.state == "running" else step.seconds
    return f"{seconds:.1f} s" if step.started and step.state != "cached" else ""


def _remark(state: State) -> str:
    return {"cached": "unchanged, taken from cache", "failed": "failed"}.get(state, "")
