"""Finds the rate that a server can no longer follow."""

from collections.abc import Callable
from dataclasses import dataclass

from schema.settings import InputError
from serving.load.report import Report

LEAST_ACHIEVED = 0.95


@dataclass(frozen=True)
class RateStep:
    """What was measured at one rate, and why the server did not hold it ("" if it did)."""

    rate: float
    report: Report
    trouble: str


@dataclass(frozen=True)
class Saturation:
    """Every step that was measured, in the order in which it was.

    Attributes:
      steps: what was measured.
      rate: the highest rate that was held; 0 if none was.
      throughput: most answers a second of any step.
      found: whether a rate that is too high was found; if not, the server can do more than `rate`.
    """

    steps: tuple[RateStep, ...]

    @property
    def rate(self) -> float:
        """The highest rate that was held; 0 if none was."""
        return max((step.rate for step in self.steps if not step.trouble), default=0.0)

    @property
    def throughput(self) -> float:
        """Most answers a second of any step."""
        return max((step.report.achieved_rate for step in self.steps), default=0.0)

    @property
    def found(self) -> bool:
        """Whether a rate that is too high was found; if not, the server can do more than `rate`."""
        return any(step.trouble for step in self.steps)


def find_saturated_rate(
    measure: Callable[[float], Report],
    *,
    start: float,
    factor: float = 1.5,
    p99_s: float | None = None,
    most: float = 1e5,
    refinements: int = 2,
    told: Callable[[RateStep], None] = lambda step: None,
) -> Saturation:
    """Raises the rate until the server does not hold it, then halves the gap to the last one that it held.

    A rate is held if at least `LEAST_ACHIEVED` of what was offered was answered in time, and p99 is within its bound.

    Args:
      measure: sends traffic at a rate in requests a second.
      start: the first rate; lowered by `factor` as often as need be if it is not held, to a hundredth of itself.
      factor: between one step and the next.
      p99_s: most seconds that 99 % of requests may take; None looks at throughput alone.
      most: the highest rate to try.
      refinements: how often the gap between the highest rate held and the lowest not held is halved.
      told: gets every step when it is done.

    Raises:
      InputError: if a rate or the factor makes no sense.
    """
    if not 0 < start <= most:
        raise InputError(f"The first rate must be more than 0 and at most {most:g} requests a second, got {start:g}.")
    if factor <= 1:
        raise InputError(f"The rate is raised by a factor of more than 1, got {factor:g}.")
    steps: list[RateStep] = []

    def held(rate: float) -> bool:
        report = measure(rate)
        steps.append(RateStep(rate, report, trouble(report, p99_s)))
        told(steps[-1])
        return not steps[-1].trouble

    low, high = 0.0, start
    while held(high):
        low = high
        if high >= most:
            return Saturation(tuple(steps))
        high = min(high * factor, most)
    while not low and high > start / 100:
        if held(high / factor):
            low = high / factor
        else:
            high /= factor
    for _ in range(refinements if low else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) else (low, middle)
    return Saturation(tuple(steps))


def trouble(report: Report, p99_s: float | None) -> str:
    """Why a rate was not held; "" if it was."""
    if not report.due:
        return "no request was due; let it last longer"
    share = report.achieved_rate / report.offered_rate
    if share < LEAST_ACHIEVED:
        return f"{share:.0%} of the requests were answered in time"
    if p99_s is not None and report.answered and report.latency.percentile(99) > p99_s:
        return f"p99 of {report.latency.percentile(99) * 1e3:.1f} ms is above {p99_s * 1e3:g} ms"
    return ""
