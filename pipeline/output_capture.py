"""Keeps the chatter of TFX, Beam and TensorFlow off the screen and in a log file."""

import atexit
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TextIO

from absl import logging as absl_logging

# Code whose messages are ours to show; what all other code says only goes to the log.
_ROOT = Path(__file__).resolve().parents[1]
_OUR_CODE = tuple(
    f"{_ROOT / package}{os.sep}" for package in ("components", "evaluation", "trainer", "serving", "pipeline")
)


@contextmanager
def captured_output(log_path: Path) -> Iterator[TextIO]:
    """Sends standard output and error of this process and its children, and all logging, to `log_path`.

    Works on the file descriptors, because TensorFlow's C++ code writes to them directly.

    Yields:
      A stream to what standard error was before, for what the user is to see.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    streams = sys.stdout, sys.stderr
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # TFX and the Trainer log through absl, which drops messages by a level of its own.
    verbosity = absl_logging.get_verbosity()
    with open(log_path, "a", buffering=1) as log, open(os.dup(saved[1]), "w", buffering=1) as screen:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.stdout = sys.stderr = log
        to_log = logging.StreamHandler(log)
        to_log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.handlers[:] = [to_log]
        root.setLevel(logging.INFO)
        absl_logging.set_verbosity(absl_logging.INFO)
        try:
            yield screen
        finally:
            sys.stdout, sys.stderr = streams
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])
            root.handlers[:] = handlers
            root.setLevel(level)
            absl_logging.set_verbosity(verbosity)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what TensorFlow, TFX and Beam say off the screen, most of it at import; errors are still raised."""
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    atexit.register(_silence_shutdown)
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def errors_told_once() -> Iterator[None]:
    """Keeps off the screen what Beam prints of an error that it raises too; what is printed otherwise comes at the end.

    A console that shows progress meanwhile must hold `sys.stderr` as it was before.
    """
    loggers = [logging.getLogger(f"apache_beam.runners.{name}") for name in ("common", "worker.sdk_worker")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()) as printed:
            yield
        sys.stderr.write(printed.getvalue())
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _silence_shutdown() -> None:
    """TensorFlow's objects complain when the interpreter takes them down after all is done and said."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class LatestMessage(logging.Handler):
    """Passes on the newest message of our own code, as a word on what a long step is doing."""

    def __init__(self, show: Callable[[str], None]):
        super().__init__(level=logging.INFO)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Shows the first line of `record` if our code wrote it, by whichever logger."""
        if record.pathname.startswith(_OUR_CODE):
            self._show(record.getMessage().partition("\n")[0])
