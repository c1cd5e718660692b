"""How a `souk` command ends, for a scheduler to act on: `docs/runs.md` has the same table for people."""

import enum

from pipeline.run_lock import BusyError
from schema.file_errors import StorageError
from schema.settings import DataError, InputError


class ExitCode(enum.IntEnum):
    """What came of a command, or of one step of a compiled pipeline.

    Attributes:
      DONE: all went well; a run has its model pushed, by itself or by the earlier run that the cache remembers.
      FAILED: something broke that is no fault of what was given. Trying again may help.
      BAD_INPUT: what was given is wrong. Trying again without changing it does not help.
      REFUSED: the run is whole, but the recall gate or the canary refused its model. No crash: the last good model
        stays in service.
      BAD_DATA: the logs or the catalog cannot be used: too many bad rows, or not what the schema says. Trying again
        helps once the data is mended or complete.
      BUSY: another run is at work in the same root (EX_TEMPFAIL of sysexits.h). Try again later.
      INTERRUPTED: by Ctrl-C or SIGTERM. The next run goes on from the last finished step.
    """

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    BAD_DATA = 4
    BUSY = 75
    INTERRUPTED = 130


def code_of(error: InputError) -> ExitCode:
    """How a command ends that `error` ended."""
    if isinstance(error, BusyError):
        return ExitCode.BUSY
    if isinstance(error, StorageError):
        return ExitCode.FAILED
    return ExitCode.BAD_DATA if isinstance(error, DataError) else ExitCode.BAD_INPUT
