"""Which models are served, from where, by which policy: TensorFlow Serving's `models.config`."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tensorflow_serving.config import model_server_config_pb2

from schema.settings import InputError
from serving.server import text_protos, versions

log = logging.getLogger("souk.serve")

_PLATFORM = "tensorflow"
_MODEL_TYPES = {
    model_server_config_pb2.MODEL_TYPE_UNSPECIFIED: "",
    model_server_config_pb2.TENSORFLOW: _PLATFORM,
}


@dataclass(frozen=True)
class ModelSettings:
    """One model to serve.

    Attributes:
      name: what requests call it.
      base: folder of its versions.
      policy: which of the versions are served.
      labels: names of versions, as in {"stable": 3, "canary": 4}.
      optional: whether the server is ready without any version of it.
    """

    name: str
    base: Path
    policy: versions.Policy = versions.NEWEST
    labels: Mapping[str, int] = field(default_factory=dict)
    optional: bool = False


def read(path: Path) -> tuple[ModelSettings, ...]:
    """The models of a file that holds a ModelServerConfig as text.

    Raises:
      InputError: if the file cannot be read, or says something that cannot be served.
    """
    config = text_protos.read(
        path,
        model_server_config_pb2.ModelServerConfig,
        "--model-config-file",
        'model_config_list { config { name: "souk" base_path: "/models/souk" model_platform: "tensorflow" } }',
    )
    try:
        return from_proto(config)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def from_proto(config: model_server_config_pb2.ModelServerConfig) -> tuple[ModelSettings, ...]:
    """The models that `config` lists, which may be none.

    Raises:
      InputError: on anything that cannot be served, worded as TensorFlow Serving words it where it checks the same.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise InputError("Only a model_config_list is supported, got " + (config.WhichOneof("config") or "nothing"))
    models: dict[str, ModelSettings] = {}
    for entry in config.model_config_list.config:
        if entry.name in models:
            raise InputError(f"Illegal to list model {entry.name} multiple times in config list")
        models[entry.name] = _model(entry)
    return tuple(models.values())


def _model(entry: model_server_config_pb2.ModelConfig) -> ModelSettings:
    if not entry.name:
        raise InputError("Every model needs a name; one in the config list has none")
    _check_platform(entry)
    if not Path(entry.base_path).is_absolute():
        raise InputError(
            f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}"
        )
    base = versions.base_folder(entry.base_path, f"base_path of model {entry.name}")
    if entry.HasField("logging_config"):
        log.warning("%s: logging_config is not supported and has no effect", entry.name)
    for label, number in entry.version_labels.items():
        if not label or number < 0:
            raise InputError(
                f"Model {entry.name} gives the label {label!r} to version {number}; "
                "a label is a name, and a version is a number from 0 on"
            )
    return ModelSettings(entry.name, base, _policy(entry), dict(entry.version_labels))


def _check_platform(entry: model_server_config_pb2.ModelConfig) -> None:
    if entry.model_type and entry.model_platform:
        raise InputError(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
        )
    platform = entry.model_platform or _MODEL_TYPES.get(entry.model_type, "other")
    if not platform:
        raise InputError(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    if platform != _PLATFORM:
        raise InputError(f"Model {entry.name} requests unsupported platform {platform}; use {_PLATFORM!r}")


def _policy(entry: model_server_config_pb2.ModelConfig) -> versions.Policy:
    policy = entry.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return versions.All()
        case "specific":
            if not policy.specific.versions:
                raise InputError(f"Model {entry.name} has the policy `specific` without a version; list at least one")
            return versions.Specific(frozenset(policy.specific.versions))
        case _:
            # TensorFlow Serving takes an unset number for one version.
            return versions.Latest(policy.latest.num_versions or 1)
