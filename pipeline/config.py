"""One file that says everything about a pipeline: the settings of every step, put together.

A relative path in a file is relative to that file's folder; one in a preset (`demo`, `tiny`) or in `--set` is
relative to the folder that the command runs in.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, model_validator

from components.canary.config import CanaryConfig
from components.delta_index.config import DeltaConfig
from components.example_gen.config import IngestConfig
from components.hard_negatives.config import HardNegativesConfig
from components.index_builder.config import IndexConfig
from components.recall_gate.config import GateConfig
from components.schema_gate.config import SchemaGateConfig
from components.transform.config import TransformConfig
from pipeline.beam import BeamConfig, beam_arguments, data_paths
from pipeline.resources import ResourcesConfig
from schema.settings import InputError, Settings, kind_of, override
from schema.shards import push_directory
from serving.config import PATH_SETTINGS, ServingConfig
from souk_client.protocol import delta_model
from trainer.config import TrainerConfig

PRESETS: Final = Path(__file__).parent / "configs"

# Settings that hold a path, a glob or a list of these.
_PATHS: Final = (
    ("root",),
    ("ingest", "data", "events"),
    ("ingest", "data", "ubi_queries"),
    ("ingest", "data", "catalog"),
    ("ingest", "data", "users"),
    ("train", "text_encoder"),
    ("train", "text_encoder", "folder"),
    ("train", "text_encoder", "cache_dir"),
    ("schema_gate", "schema_path"),
    ("beam", "setup_file"),
    ("beam", "job_server_jar"),
    *(("serving", name) for name in PATH_SETTINGS),
)


class PipelineConfig(Settings):
    """What runs, on which data, and where its results go.

    Attributes:
      name: of the pipeline; runs of one name share a cache and a history of blessed models.
      root: folder of everything that a run leaves: metadata, artifacts, logs, and the pushed versions
        unless `serving.model_dir` says otherwise.
      ingest: the inputs, splits and behavior windows.
      schema_gate: what data may enter.
      hard_negatives: what the last blessed model ranked well though nobody took it, for the next to learn from.
      transform: vocabularies and segmentation.
      train: the model, its loss and its training.
      index: how the catalog is indexed.
      gate: what a model must reach to be pushed.
      canary: what the candidate must survive when really served.
      delta: the small index of what has changed since the full one.
      serving: the served model's name and the server's address.
      beam: where the Beam jobs within steps run.
      image: the container image that a compiled pipeline's steps run in.
      resources: what each step of a compiled pipeline gets.
    """

    name: str = Field("souk", min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    root: str = "runs/souk"
    ingest: IngestConfig
    schema_gate: SchemaGateConfig = SchemaGateConfig()
    hard_negatives: HardNegativesConfig = HardNegativesConfig()
    transform: TransformConfig = TransformConfig()
    train: TrainerConfig = TrainerConfig()
    index: IndexConfig = IndexConfig()
    gate: GateConfig = GateConfig()
    canary: CanaryConfig = CanaryConfig()
    delta: DeltaConfig = DeltaConfig()
    serving: ServingConfig = ServingConfig()
    beam: BeamConfig = BeamConfig()
    image: str = ""
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="after")
    def _hard_negatives_are_mined_and_learned_from(self) -> "PipelineConfig":
        mined, learned = self.hard_negatives.enabled, self.train.negatives.hard > 0
        if mined != learned:
            has, lacks = ("mined", "learned from") if mined else ("to be learned from", "mined")
            raise ValueError(
                f"hard negatives are {has} but not {lacks}: set both `hard_negatives.enabled: true` and "
                "`train.negatives.hard` above 0, or neither"
            )
        return self

    @model_validator(mode="after")
    def _all_shards_are_served(self) -> "PipelineConfig":
        if self.serving.shards not in (1, self.index.shards):
            raise ValueError(
                f"`serving.shards` is {self.serving.shards} and `index.shards` is {self.index.shards}: leave out the "
                "former, since what is pushed is served in as many shards as it has"
            )
        return self

    @property
    def metadata_path(self) -> str:
        """The SQLite file of ML Metadata."""
        return os.path.join(self.root, "metadata.sqlite")

    @property
    def artifacts_root(self) -> str:
        """The folder in which every step has a folder for its outputs."""
        return os.path.join(self.root, "artifacts")

    @property
    def ledger(self) -> str:
        """The folder in which the runs of a compiled pipeline find what earlier runs let through."""
        return os.path.join(self.root, "ledger")

    @property
    def summaries(self) -> str:
        """The folder of the runs' summaries."""
        return os.path.join(self.root, "summaries")

    @property
    def model_directory(self) -> str:
        """The folder of versions that servers watch; where there are shards, what the names of theirs begin with."""
        return self.serving.model_dir or os.path.join(self.root, "serving", self.serving.model_name)

    @property
    def delta_directory(self) -> str:
        """The folder that holds one folder per pushed version of the delta index."""
        return delta_model(self.model_directory.rstrip("/"))

    @property
    def push_directory(self) -> str:
        """The folder that holds one folder per pushed version: of its SavedModel, or of the map of its shards."""
        return push_directory(self.model_directory, self.index.shards)

    def beam_arguments(self) -> list[str]:
        """The arguments of every step's Beam jobs.

        Raises:
          InputError: the workers could not see the data or `root`.
        """
        return beam_arguments(self.beam, [("root", self.root), *data_paths(self.ingest)])

    def served(self) -> ServingConfig:
        """How to serve what is pushed."""
        return self.serving.model_copy(update={"model_dir": self.model_directory, "shards": self.index.shards})


def presets() -> list[str]:
    """Names of the configurations that come with Souk."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load(config: str, overrides: Sequence[str] = ()) -> PipelineConfig:
    """The configuration in a file or of a preset, with single settings replaced.

    Args:
      config: path of a YAML file, or the name of a preset.
      overrides: `key=value` each, the key with dots (`train.epochs=3`), the value as YAML would read it.

    Raises:
      InputError: no such file or preset, no YAML, an unknown key, a value out of range.
    """
    path, base = _locate(config)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold settings as `key: value` lines, it holds {kind_of(values)}")
    _anchor_paths(values, base)
    for setting in overrides:
        override(values, setting)
    _anchor_paths(values, Path.cwd())
    return PipelineConfig.parse(values, str(path) if not overrides else f"{path} with --set")


def _locate(config: str) -> tuple[Path, Path]:
    path = Path(config)
    if path.is_file():
        return path, path.resolve().parent
    preset = PRESETS / f"{config}.yaml"
    if config in presets():
        return preset, Path.cwd()
    problem = "is a folder" if path.is_dir() else "does not exist"
    raise InputError(
        f"the configuration {config} {problem}; give the path of a YAML file or one of the presets "
        f"{', '.join(presets())}"
    )


def _anchor_paths(values: dict[str, Any], base: Path) -> None:
    """Makes the relative paths among `values` absolute, in place; what has the wrong shape is left to the parser."""
    for *parents, key in _PATHS:
        group: Any = values
        for parent in parents:
            group = group.get(parent) if isinstance(group, dict) else None
        if not isinstance(group, dict):
            continue
        value = group.get(key)
        if isinstance(value, str):
            group[key] = _anchored(value, base)
        elif isinstance(value, list):
            group[key] = [_anchored(v, base) if isinstance(v, str) else v for v in value]


def _anchored(path: str, base: Path) -> str:
    return path if not path or "://" in path else os.path.normpath(base / Path(path).expanduser())
