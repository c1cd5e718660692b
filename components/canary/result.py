"""What the canary found, and how it is written for the Pusher and for people."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from schema.artifacts import CANARY_FILE

# The file names that TFX's InfraValidator writes; the content is empty, the name tells.
BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"


@dataclass(frozen=True)
class Latency:
    """Latency percentiles of single requests in milliseconds, over `requests` of them."""

    requests: int
    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> "Latency":
        """The percentiles of at least one measurement, by the nearest rank: each is a latency that was measured."""
        ordered = sorted(milliseconds)

        def percentile(percent: int) -> float:
            return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]

        return cls(len(ordered), percentile(50), percentile(90), percentile(99), ordered[-1])


@dataclass(frozen=True)
class CanaryResult:
    """What came of one candidate.

    Attributes:
      failures: why it is not blessed, most important first; none for a good candidate.
      startup_seconds: from the start of the serving program until its ports were open; None if it was not started, did
        not load the candidate, or is that of `server_command`.
      load_seconds: from the start of the serving program until the candidate was ready; None if it never was.
      places: items in a full answer (k of the candidate); None if it never answered.
      latency: of the requests of the eval split, each the lowest of the attempts; None if none was answered.
      attempts: how often these requests were sent.
      allowed_p99_ms: largest allowed 99th percentile of their latency; None without a limit.
      slowdown: how many times slower the machine was because of other work when they were sent; None if none was.
      edge_latency_ms: latency of each awkward request, by its name.
      server_log: the end of what the serving program printed, if something failed.
      server: which server it was: `souk serve`, or the command line of the settings; "" if none was started.
    """

    failures: tuple[str, ...] = ()
    startup_seconds: float | None = None
    load_seconds: float | None = None
    places: int | None = None
    latency: Latency | None = None
    attempts: int = 0
    allowed_p99_ms: float | None = None
    slowdown: float | None = None
    edge_latency_ms: dict[str, float] = field(default_factory=dict)
    server_log: str = ""
    server: str = ""

    @property
    def blessed(self) -> bool:
        """Whether the candidate may be pushed."""
        return not self.failures

    def write(self, folder: Path) -> None:
        """Writes the blessing's marker file and canary.json into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        result = {"blessed": self.blessed, **asdict(self)}
        (folder / CANARY_FILE).write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
        (folder / (BLESSED_FILE if self.blessed else NOT_BLESSED_FILE)).write_text("")
