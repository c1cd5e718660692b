"""What the canary asks of a candidate."""

from typing import Annotated

from pydantic import Field

from schema.settings import Settings


class CanaryConfig(Settings):
    """Settings of the Canary component.

    Attributes:
      requests: how many requests of the eval split are sent, one at a time.
      batch_size: how many of them are sent once more, in one call.
      p99_limit_ms: largest allowed 99th percentile of their latency in milliseconds, measured from a client on
        the machine that the pipeline runs on. None sets no limit.
      startup_timeout_s: seconds within which the server must have the candidate loaded and warmed up.
      request_timeout_s: seconds within which each request must be answered.
      seed: of the choice of requests.
    """

    requests: Annotated[int, Field(ge=1)] = 64
    batch_size: Annotated[int, Field(ge=1)] = 16
    p99_limit_ms: Annotated[float, Field(gt=0)] | None = 500.0
    startup_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    request_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    seed: int = 0
