"""How Souk serves: which models, from where, on which addresses, and how much it takes on."""

from typing import Annotated

from pydantic import Field

from schema.settings import Settings
from souk_client.protocol import DEFAULT_HOST, DEFAULT_MODEL_NAME, DEFAULT_PORT, delta_model, shard_models

DEFAULT_REST_PORT = 8501

_VERSIONS_OF_A_SHARD = 2

# The settings that name a file or a folder.
PATH_SETTINGS = (
    "model_dir",
    "model_config_file",
    "batching_parameters_file",
    "ssl_config_file",
    "auth_token_file",
)


class ServingConfig(Settings):
    """Settings of `souk serve`, and the defaults of `souk query`.

    Attributes:
      model_name: name under which clients ask for the model.
      model_dir: folder that holds one folder per version, named by its number. None: the folder that the
        pipeline pushes to.
      model_config_file: TensorFlow Serving's `models.config` for several models, policies and labels; it takes the
        place of `model_name`, `model_dir` and `versions`.
      model_config_poll_interval_s: seconds between two looks at `model_config_file`; 0 reads it once.
      host: address to listen on. The default answers this machine alone; "0.0.0.0" answers the network.
      port: TCP port of gRPC; 0 takes a free one.
      rest_port: TCP port of REST and of Prometheus' metrics; 0 takes a free one, a negative one switches REST
        off. None: 8501, or a free one where `port` is 0.
      rest_timeout_s: deadline of a REST request in seconds.
      poll_interval_s: seconds between two looks into `model_dir`.
      versions: how many of the newest versions are served at once; of a model in shards two at least, because an answer
        must be of a version that all shards have.
      shards: in how many shards the model was pushed (`index.shards`). With more than one, `model_dir` is what
        `model_dir` would be without: shard 0 of 3 lies in `MODEL_DIR-shard-0-of-3`, and is served as a model of
        its own, `MODEL_NAME-shard-0-of-3`.
      threads: requests worked on at once; 0 takes 64, or without batching two per processor core, at least 4.
      enable_batching: whether requests that come at the same time are run together.
      batching_parameters_file: TensorFlow Serving's BatchingParameters as text; None takes its defaults.
      max_request_bytes: size of the largest request that is read.
      max_rows: most rows (first dimension of an input) of one request.
      ssl_config_file: TensorFlow Serving's SSLConfig as text; None serves in clear text.
      auth_token_file: file with one bearer token a line, of which every request must bring one; None asks for none.
      warm_up_limit: most recorded warm-up requests that are replayed before a version is served.
      shutdown_grace_s: seconds that requests in flight get when the server is told to stop.
    """

    model_name: Annotated[str, Field(min_length=1)] = DEFAULT_MODEL_NAME
    model_dir: str | None = None
    model_config_file: str | None = None
    model_config_poll_interval_s: Annotated[float, Field(ge=0)] = 0.0
    host: str = DEFAULT_HOST
    port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_PORT
    rest_port: Annotated[int, Field(ge=-1, le=65535)] | None = None
    rest_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    poll_interval_s: Annotated[float, Field(gt=0)] = 1.0
    versions: Annotated[int, Field(ge=1)] = 1
    shards: Annotated[int, Field(ge=1)] = 1
    threads: Annotated[int, Field(ge=0)] = 0
    enable_batching: bool = True
    batching_parameters_file: str | None = None
    max_request_bytes: Annotated[int, Field(ge=1, le=2**31 - 1)] = 64 * 2**20
    max_rows: Annotated[int, Field(ge=1)] = 65536
    ssl_config_file: str | None = None
    auth_token_file: str | None = None
    warm_up_limit: Annotated[int, Field(ge=0)] = 1000
    shutdown_grace_s: Annotated[float, Field(ge=0)] = 10.0

    def model_folders(self) -> dict[str, str | None]:
        """The folder of the versions of each model to serve, by its name; that of a model in shards is several."""
        names = shard_models(self.model_name, self.shards)
        if self.model_dir is None or self.shards == 1:
            return dict.fromkeys(names, self.model_dir)
        return dict(zip(names, shard_models(self.model_dir.rstrip("/"), self.shards), strict=True))

    def delta_folder(self) -> tuple[str, str] | None:
        """Name and folder of the delta index beside the model, which may come later; None without a folder."""
        if self.model_dir is None:
            return None
        return delta_model(self.model_name), delta_model(self.model_dir.rstrip("/"))

    def served_versions(self) -> int:
        """How many versions of each model are served at once."""
        return self.versions if self.shards == 1 else max(self.versions, _VERSIONS_OF_A_SHARD)

    def chosen_rest_port(self) -> int | None:
        """The port to open for REST, 0 for any free one; None if there is to be none."""
        if self.rest_port is None:
            return DEFAULT_REST_PORT if self.port else 0
        return None if self.rest_port < 0 else self.rest_port
