"""What the canary asks of a candidate."""

from typing import Annotated, ClassVar

from pydantic import Field

from schema.settings import Settings


class CanaryConfig(Settings):
    """Settings of the Canary component.

    Attributes:
      requests: how many requests of the eval split are sent, one at a time.
      batch_size: how many of them are sent once more, in one call.
      p99_limit_ms: largest allowed 99th percentile of their latency in milliseconds, measured from a client on
        the machine that the pipeline runs on. It is multiplied by the slowdown of a machine that has other work.
        None sets no limit.
      attempts: how often the requests are sent, if they take too long, until the candidate is refused.
      process_timeout_s: seconds within which the serving program must open its ports, before it loads the candidate.
        If it does not, the step fails; the candidate is not refused.
      load_timeout_s: seconds after that within which the candidate must be loaded and warmed up. It is multiplied by
        the slowdown that the start of the program had. The program is started once more before a candidate that takes
        longer is refused.
      request_timeout_s: seconds within which each request must be answered, in one of the attempts. It is multiplied by
        the slowdown, too.
      seed: of the choice of requests.
    """

    gone: ClassVar = {
        "startup_timeout_s": "it is `load_timeout_s` now, and `process_timeout_s` for the start of the serving program"
    }

    requests: Annotated[int, Field(ge=1)] = 64
    batch_size: Annotated[int, Field(ge=1)] = 16
    p99_limit_ms: Annotated[float, Field(gt=0)] | None = 500.0
    attempts: Annotated[int, Field(ge=1)] = 3
    process_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    load_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    request_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    seed: int = 0
