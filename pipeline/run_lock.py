"""One run at a time in one root."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from schema.file_errors import StorageError, file_error
from schema.settings import InputError


class BusyError(InputError):
    """Another run is at work in the same root."""


@contextmanager
def run_lock(root: str) -> Iterator[None]:
    """Holds `root` for this process; the system lets go of it when the process ends, however it ends.

    Args:
      root: a folder.

    Raises:
      BusyError: another process holds it.
      InputError: the folder cannot be written or is not on a disk.
    """
    if "://" in root:
        raise InputError(
            f"{root} is not on this machine; a run keeps ML Metadata and its lock there, which need a local folder. "
            "A pipeline whose root is a bucket is for a cluster: see `souk compile`"
        )
    path = Path(root) / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path, fallback_to_soft=False).acquire(blocking=False)
    except Timeout:
        holder = path.read_text().strip() or "unknown"
        raise BusyError(
            f"another run (process {holder}) is at work in {root}; wait for it, or give this one a folder of its own"
        ) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(found := file_error(error, path), StorageError):
            raise found from None
        raise InputError(f"{root} cannot hold a run ({error}); choose a folder that can be written") from None
    with held:
        path.write_text(str(os.getpid()))
        yield
