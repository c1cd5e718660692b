"""What the canary asks of a candidate."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from components.canary.server_command import check_command, placeholders
from schema.settings import Settings


class CanaryConfig(Settings):
    """Settings of the Canary component.

    Attributes:
      server_command: command line of the server to ask, with the placeholders `{port}`, `{rest_port}`, `{model_name}`,
        and `{model_dir}` (the folder of versions) or `{version_dir}` (the SavedModel itself). It is started without a
        shell. None asks `souk serve`.
      server_ready: address that answers 200 once that server has the candidate ready, with the same placeholders. None
        asks GetModelStatus over gRPC.
      requests: how many requests of the eval split are sent, one at a time.
      batch_size: how many of them are sent once more, in one call.
      p99_limit_ms: largest allowed 99th percentile of their latency in milliseconds, measured from a client on
        the machine that the pipeline runs on. It is multiplied by the slowdown of a machine that has other work.
        None sets no limit.
      attempts: how often the requests are sent, if they take too long, until the candidate is refused.
      process_timeout_s: seconds within which the serving program must open its ports, before it loads the candidate.
        If it does not, the step fails; the candidate is not refused. The server of `server_command` has this and
        `load_timeout_s` together for both.
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

    server_command: str | None = None
    server_ready: str | None = None
    requests: Annotated[int, Field(ge=1)] = 64
    batch_size: Annotated[int, Field(ge=1)] = 16
    p99_limit_ms: Annotated[float, Field(gt=0)] | None = 500.0
    attempts: Annotated[int, Field(ge=1)] = 3
    process_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    load_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    request_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    seed: int = 0

    @field_validator("server_command")
    @classmethod
    def _is_a_command(cls, value: str | None) -> str | None:
        if value is not None:
            check_command(value)
        return value

    @field_validator("server_ready")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not ({"port", "rest_port"} & placeholders(value) and value.startswith("http")):
            raise ValueError("it must be an address like http://127.0.0.1:{rest_port}/v1/models/{model_name}")
        return value

    @model_validator(mode="after")
    def _has_a_server_to_be_ready(self) -> Self:
        if self.server_ready is not None:
            missing = placeholders(self.server_ready) - placeholders(self.server_command or "") - {"model_name"}
            if self.server_command is None:
                raise ValueError("`server_ready` is about the server of `server_command`, which is not given")
            if "rest_port" in missing:
                raise ValueError("`server_ready` asks {rest_port}, which `server_command` does not open")
        return self

    @property
    def server(self) -> str:
        """The server that is asked, for people."""
        return self.server_command or "souk serve"
