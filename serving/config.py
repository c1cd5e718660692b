"""How Souk serves: which model, from where, on which address."""

from typing import Annotated

from pydantic import Field

from schema.settings import Settings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8500
DEFAULT_MODEL_NAME = "souk"


class ServingConfig(Settings):
    """Settings of `souk serve`, and the defaults of `souk query`.

    Attributes:
      model_name: name under which clients ask for the model.
      model_dir: folder that holds one folder per version, named by its number. None: the folder that the
        pipeline pushes to.
      host: address to listen on. The default answers this machine alone; "0.0.0.0" answers the network.
      port: TCP port of gRPC; 0 takes a free one.
      poll_interval_s: seconds between two looks into `model_dir`.
      versions: how many of the newest versions are served at once.
      threads: requests worked on at once; 0 takes two per processor core, at least 4.
      warm_up_limit: most recorded warm-up requests that are replayed before a version is served.
      shutdown_grace_s: seconds that requests in flight get when the server is told to stop.
    """

    model_name: Annotated[str, Field(min_length=1)] = DEFAULT_MODEL_NAME
    model_dir: str | None = None
    host: str = DEFAULT_HOST
    port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_PORT
    poll_interval_s: Annotated[float, Field(gt=0)] = 1.0
    versions: Annotated[int, Field(ge=1)] = 1
    threads: Annotated[int, Field(ge=0)] = 0
    warm_up_limit: Annotated[int, Field(ge=0)] = 1000
    shutdown_grace_s: Annotated[float, Field(ge=0)] = 10.0
