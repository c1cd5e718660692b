"""Progress of a job, told by the marks that its splits and partitions leave in a local work folder."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from components.example_gen.job import IngestJob

# Called with (step, splits or partitions done, of how many).
Progress = Callable[[str, int, int], None]

_SECONDS = 0.5


@contextmanager
def watch(job: IngestJob, progress: Progress | None) -> Iterator[None]:
    """Calls `progress` while the body runs; every split and partition that is done, by any process, has left a mark."""
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


def _report(job: IngestJob, progress: Progress, stop: threading.Event) -> None:
    totals = {"read": len(job.input_splits), "catalog": job.item_partitions}
    totals |= dict.fromkeys(("join", "write"), job.partitions)
    reported: dict[str, int] = {}
    folder = job.scratch("done")
    finished = False
    while not finished:
        finished = stop.wait(_SECONDS)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        for step, total in totals.items():
            done = sum(name.startswith(f"{step}-") and ".tmp-" not in name for name in names)
            if done != reported.get(step):
                reported[step] = done
                progress(step, done, total)
