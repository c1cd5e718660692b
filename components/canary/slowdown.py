"""How much other work slows this machine down: what its limits are scaled by."""

import statistics
import time
from collections.abc import Sequence

# Longer than the turns in which a scheduler gives out a processor, and short beside a request's deadline.
_COMPUTED_S = 0.01


def ratio(wall_s: float, processor_s: float) -> float:
    """How many times longer something took than the processor time it needed, to one decimal; at least 1.

    Args:
      wall_s: seconds that it took.
      processor_s: seconds of processor time; more than `wall_s` where it ran on several processors.
    """
    return max(1.0, round(wall_s / processor_s, 1)) if processor_s > 0 else 1.0


def measure() -> float:
    """The ratio of a computation of this thread, made now; it takes about 10 ms of processor time."""
    wall, processor = time.perf_counter(), time.thread_time()
    while (used := time.thread_time() - processor) < _COMPUTED_S:
        pass
    return ratio(time.perf_counter() - wall, used)


def typical(ratios: Sequence[float]) -> float:
    """The median of at least one ratio: a single pause of the machine does not stretch a limit."""
    return statistics.median_low(ratios)
