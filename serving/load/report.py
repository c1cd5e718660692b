"""What came back of the traffic that was sent."""

from collections import Counter
from dataclasses import dataclass, field

from serving.load.histogram import LatencyHistogram

OK = "OK"
# Beside gRPC's codes.
NOT_SENT = "NOT_SENT"
WRONG_ANSWER = "WRONG_ANSWER"


@dataclass
class Second:
    """The requests that were due in one second: how many, how many failed, latencies of those answered."""

    due: int = 0
    failed: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)


@dataclass
class Report:
    """One stretch of traffic; a request belongs to the stretch and to the second in which it was due.

    Attributes:
      name: what the stretch is called.
      begins: seconds from the beginning of all traffic to that of the stretch.
      seconds: how long requests were sent.
      due: requests that were due.
      codes: how they ended: "OK", the name of a gRPC code, "NOT_SENT" when a request was past its deadline before
        it could be sent, "WRONG_ANSWER" when an answer was found wrong.
      problems: the first message of each code but OK.
      versions: answers by the version of the model that gave them.
      latency: of answered requests, from the moment at which they were due.
      sent_late: how long after they were due requests were sent: where this is long, the generator or its limit
        of requests in flight is what is measured.
      last_answer: seconds from the beginning of the stretch to the last answer.
      by_second: from the second of the stretch to what was due in it.
    """

    name: str = ""
    begins: float = 0.0
    seconds: float = 0.0
    due: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    versions: Counter[int] = field(default_factory=Counter)
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    sent_late: LatencyHistogram = field(default_factory=LatencyHistogram)
    last_answer: float = 0.0
    by_second: dict[int, Second] = field(default_factory=dict)

    def enter(self, at: float, code: str, took: float, version: int | None = None, problem: str = "") -> None:
        """Enters how a request ended.

        Args:
          at: when it was due, in seconds after the beginning of all traffic.
          code: a key of `codes`.
          took: seconds from then to its end.
          version: the version that answered.
          problem: what was wrong, unless `code` is OK.
        """
        at -= self.begins
        self.due += 1
        second = self.by_second.setdefault(int(at), Second())
        second.due += 1
        self.codes[code] += 1
        if version is not None:
            self.versions[version] += 1
        if code == OK:
            self.latency.add(took)
            second.latency.add(took)
            self.last_answer = max(self.last_answer, at + took)
        else:
            second.failed += 1
            self.problems.setdefault(code, problem)

    @property
    def answered(self) -> int:
        """Requests that were answered, and rightly."""
        return self.codes[OK]

    @property
    def failed(self) -> int:
        """All others."""
        return self.due - self.answered

    @property
    def offered_rate(self) -> float:
        """Requests a second that were due."""
        return self.due / self.seconds if self.seconds else 0.0

    @property
    def achieved_rate(self) -> float:
        """Answers a second, up to the last answer: less than what was offered when a server falls behind."""
        lasted = max(self.seconds, self.last_answer)
        return self.answered / lasted if lasted else 0.0

    def as_json(self) -> dict[str, object]:
        """Plain values for programs; times in milliseconds, None where nothing was answered."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "due": self.due,
            "offered_rate": self.offered_rate,
            "achieved_rate": self.achieved_rate,
            "codes": dict(self.codes),
            "problems": self.problems,
            "versions": {str(version): count for version, count in sorted(self.versions.items())},
            "latency_ms": _milliseconds(self.latency),
            "sent_late_ms": _milliseconds(self.sent_late),
            "by_second": [
                {"second": at, "due": second.due, "failed": second.failed, "latency_ms": _milliseconds(second.latency)}
                for at, second in sorted(self.by_second.items())
            ],
        }


def _milliseconds(histogram: LatencyHistogram) -> dict[str, float] | None:
    if not histogram.count:
        return None
    percentiles = {f"p{percent:g}": histogram.percentile(percent) * 1e3 for percent in (50, 90, 98, 99, 99.9)}
    return {"mean": histogram.mean * 1e3, **percentiles, "max": histogram.max * 1e3}
