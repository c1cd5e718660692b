"""How traffic is sent."""

from typing import Annotated

from pydantic import Field

from schema import features
from schema.settings import Settings
from serving.config import DEFAULT_MODEL_NAME


class LoadConfig(Settings):
    """Settings of the load generator.

    Attributes:
      rate: requests a second, on average.
      seconds: how long requests are sent.
      seed: of the arrival times and of the order of requests.
      timeout_s: deadline of a request, from the moment at which it was due.
      in_flight: most requests that wait for an answer at once; further ones are sent late, and the wait counts.
      connections: connections that requests take in turn.
      model_name: name that the server gives the model.
      version: the version to ask; None asks the newest.
      signature: the signature to ask.
      input_name: its one string input [batch].
      outputs: names of the outputs to ask for; empty asks for all.
    """

    rate: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 100.0
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    seed: int = 1
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    in_flight: Annotated[int, Field(ge=1)] = 1000
    connections: Annotated[int, Field(ge=1, le=1000)] = 1
    model_name: Annotated[str, Field(min_length=1)] = DEFAULT_MODEL_NAME
    version: Annotated[int, Field(ge=0)] | None = None
    signature: str = features.SIGNATURE_DEFAULT
    input_name: Annotated[str, Field(min_length=1)] = features.INPUT_EXAMPLES
    outputs: tuple[str, ...] = ()
