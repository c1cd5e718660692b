"""Traffic that goes on while other things happen, told apart by what happened."""

from collections.abc import Callable

from serving.load.report import Report


class Stretches:
    """The reports of one run, a new one from every `begin` on. May be told so by any thread.

    Args:
      clock: seconds since the traffic began.
    """

    def __init__(self, clock: Callable[[], float], name: str = "") -> None:
        self._clock = clock
        self._reports = [Report(name)]

    def begin(self, name: str) -> None:
        """Requests that are due from now on belong to a stretch called `name`."""
        self._reports.append(Report(name, self._clock()))

    def of(self, at: float) -> Report:
        """The report of a request that was due `at` seconds after the beginning."""
        return next((report for report in reversed(self._reports) if report.begins <= at), self._reports[0])

    def end(self, at: float) -> list[Report]:
        """All reports, first one first, of traffic that was sent until `at` seconds after the beginning."""
        ends = [*(report.begins for report in self._reports[1:]), at]
        for report, ended in zip(self._reports, ends, strict=True):
            report.seconds = ended - report.begins
        return self._reports
