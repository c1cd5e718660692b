"""Tells how far a local job is, whichever processes do the work: every finished piece leaves a mark on disk."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from components.example_gen.job import Job

Progress = Callable[[str, int, int], None]
_SECONDS = 0.5


@contextmanager
def watch(job: Job, progress: Progress | None) -> Iterator[None]:
    """Calls `progress(step, pieces done, pieces in all)` while the body runs, whenever something was done."""
    if progress is None:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_report, args=(job, progress, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _report(job: Job, progress: Progress, stop: threading.Event) -> None:
    totals = {"read": len(job.tasks), "catalog": job.item_keys, "join": job.keys, "write": job.keys}
    told: dict[str, int] = {}
    folder = job.scratch("done")
    finished = False
    while not finished:
        finished = stop.wait(_SECONDS)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        for step, total in totals.items():
            done = sum(name.startswith(f"{step}-") and ".tmp-" not in name for name in names)
            if done != told.get(step):
                told[step] = done
                progress(step, done, total)
