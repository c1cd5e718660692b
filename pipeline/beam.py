"""Where the Beam jobs within steps run: the section `beam` of the configuration, and Beam's arguments for it."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from pydantic import Field, model_validator

from components.example_gen.config import INPUTS, IngestConfig
from schema.settings import InputError, Settings

Runner = Literal["local", "processes", "flink", "spark", "dataflow"]

# Their workers are told by Beam how to start Souk; the other runners have theirs in this process or below it.
_PORTABLE: Final = ("flink", "spark")
_HERE: Final = re.compile(r"(\w+://)?(localhost|127\.0\.0\.1|\[::1\]|\[local\]|local(\[.*\])?)(:\d+)?")
# TFX packs itself for workers that are given no image and no setup file. Those that have Souk have TFX, and a second
# per Beam step is saved; nothing reads this name.
_HAS_ALL: Final = "--sdk_container_image=none"
# Between two stages of a job; else each would start processes of its own, which import TensorFlow for seconds.
_KEPT_MS: Final = 10_000


class WorkerConfig(Settings):
    """How a worker on Flink or Spark starts Souk's code.

    Attributes:
      type: `docker`: a container of `image`, with Beam's `boot` as its entry point; `process`: the program
        `command`; `external`: what listens at `address`, a container beside each worker; `loopback`: the process that
        hands in the job, which must be reachable from all workers.
      image: for `docker` and Dataflow: one that holds Souk, its locked dependencies and Beam's `boot`.
      command: for `process`: the path of a program on every worker that ends in `python -m pipeline.beam_worker "$@"`.
      variables: for `process`: environment variables of `command`; no secrets, as a run's settings are kept.
      address: for `external`: `host:port` as a worker sees it.
      processes: Python processes for each worker of the cluster; 0 is one for each of its processors.
      renewed_after_s: seconds after which another process takes the place of one. One that was lost is given work
        until then, so Flink must start a job again over a longer time than this.
    """

    type: Literal["docker", "process", "external", "loopback"] = "docker"
    image: str = ""
    command: str = ""
    variables: dict[str, str] = Field(default_factory=dict)
    address: str = ""
    processes: int = Field(1, ge=0)
    renewed_after_s: float = Field(300.0, gt=0)

    @model_validator(mode="after")
    def _fits_its_type(self) -> "WorkerConfig":
        wanted = {"process": "command", "external": "address"}.get(self.type)
        if wanted and not getattr(self, wanted):
            raise ValueError(f"`type` is {self.type}, so `{wanted}` must be given")
        for name, of in (("command", "process"), ("variables", "process"), ("address", "external")):
            if getattr(self, name) and self.type != of:
                raise ValueError(f"`{name}` is only read with `type: {of}`, and `type` is {self.type}")
        if self.command and not os.path.isabs(self.command):
            raise ValueError(f"`command` must be an absolute path without arguments, not {self.command!r}")
        return self


class DataflowConfig(Settings):
    """What Google Cloud's service needs to know.

    Attributes:
      project: that is billed.
      region: of the machines, `europe-west4`.
      service_account: e-mail that the machines act as; by default Compute Engine's.
      machine_type: of the machines; by default Dataflow's.
      disk_gb: of each machine's disk.
      subnetwork: as `regions/REGION/subnetworks/NAME`.
      public_ips: whether machines have addresses of their own.
    """

    project: str = ""
    region: str = ""
    service_account: str = ""
    machine_type: str = ""
    disk_gb: int | None = Field(None, ge=10)
    subnetwork: str = ""
    public_ips: bool = True


class BeamConfig(Settings):
    """Where the Beam jobs of ingestion, statistics, transform, embedding and evaluation run.

    Attributes:
      runner: `local`: in this process; `processes`: in several of this machine; `flink`, `spark`, `dataflow`: on a
        cluster, see [scale](scale.md).
      workers: threads (`local`), processes, Flink's parallelism, or Dataflow's machines at the start. By default one
        thread (for ingestion one for each processor, at most 4), as many processes as processors, and what the cluster
        says.
      max_workers: most machines that Dataflow may take.
      job_endpoint: `host:port` of Beam's job server for Flink or Spark.
      master: without a job server: Flink's REST address `host:port`, or `spark://host:7077`; Beam then starts a job
        server of its own out of `job_server_jar`.
      job_server_jar: path or URL of Beam's job server for `master`; by default Beam fetches it from Maven Central.
      worker: how a worker on Flink or Spark starts.
      shared_disk: whether paths without `scheme://` are on a disk that all workers see at the same place.
      setup_file: Souk's `setup.py`: containers install this Souk over the one in their image.
      temp_location: where Dataflow keeps temporary files, `gs://bucket/folder`.
      staging_location: where it keeps packages, if not there.
      dataflow: the rest that it needs.
      options: further options as Beam spells them, after all others.
    """

    runner: Runner = "local"
    workers: int | None = Field(None, ge=1)
    max_workers: int | None = Field(None, ge=1)
    job_endpoint: str = ""
    master: str = ""
    job_server_jar: str = ""
    worker: WorkerConfig = WorkerConfig()
    shared_disk: bool = False
    setup_file: str = ""
    temp_location: str = ""
    staging_location: str = ""
    dataflow: DataflowConfig = DataflowConfig()
    options: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_read_by_the_runner(self) -> "BeamConfig":
        read_by = {
            "workers": ("local", "processes", "flink", "dataflow"),
            "max_workers": ("dataflow",),
            "job_endpoint": _PORTABLE,
            "master": _PORTABLE,
            "job_server_jar": _PORTABLE,
            "worker": (*_PORTABLE, "dataflow"),
            "shared_disk": _PORTABLE,
            "setup_file": (*_PORTABLE, "dataflow"),
            "temp_location": ("dataflow",),
            "staging_location": ("dataflow",),
            "dataflow": ("dataflow",),
        }
        for name, runners in read_by.items():
            if getattr(self, name) != type(self).model_fields[name].default and self.runner not in runners:
                raise ValueError(f"`{name}` is only read with `runner: {' or '.join(runners)}`, it is {self.runner}")
        for option in self.options:
            if not option.startswith("--"):
                raise ValueError(f"`options`: {option!r} is no option of Beam; each is spelled `--name=value`")
        return self

    @model_validator(mode="after")
    def _a_cluster_is_told(self) -> "BeamConfig":
        if self.runner in _PORTABLE and bool(self.job_endpoint) == bool(self.master):
            raise ValueError(f"`runner` is {self.runner}, so either `job_endpoint` or `master` must say where it is")
        if self.job_server_jar and not self.master:
            raise ValueError("`job_server_jar` is only read with `master`; the server at `job_endpoint` has its own")
        if self.runner in _PORTABLE and self.worker.type != "docker" and self.setup_file:
            raise ValueError(
                f"`setup_file` is only installed by workers in containers, and `worker.type` is {self.worker.type}: "
                "install Souk where they run"
            )
        if self.runner == "dataflow":
            self._check_dataflow()
        if self.in_containers and not self.worker.image:
            raise ValueError(
                f"`runner` is {self.runner} and its workers are containers, so `worker.image` must name an image that "
                "holds Souk"
            )
        return self

    def _check_dataflow(self) -> None:
        for name in ("project", "region"):
            if not getattr(self.dataflow, name):
                raise ValueError(f"`runner` is dataflow, so `dataflow.{name}` must be given")
        for name in ("temp_location", "staging_location"):
            path = getattr(self, name)
            if not path.startswith("gs://") and (path or name == "temp_location"):
                raise ValueError(f"`{name}` is {path!r}; Dataflow needs a folder in Cloud Storage, gs://bucket/folder")
        if self.worker.type != "docker":
            raise ValueError("`worker.type` is only read with `runner: flink or spark`; Dataflow starts containers")
        if self.max_workers and self.workers and self.max_workers < self.workers:
            raise ValueError(f"`max_workers` is {self.max_workers}, less than the {self.workers} `workers`")

    @property
    def on_cluster(self) -> bool:
        """Whether the work is done by processes that Souk does not start itself."""
        return self.runner in (*_PORTABLE, "dataflow")

    @property
    def in_containers(self) -> bool:
        """Whether the cluster starts the workers from an image."""
        return self.on_cluster and self.worker.type == "docker"

    @property
    def sees_local_paths(self) -> bool:
        """Whether all workers have this machine's disk."""
        if not self.on_cluster or self.shared_disk:
            return True
        if self.runner == "dataflow" or self.worker.type == "docker":
            return False
        return self.worker.type == "loopback" or bool(_HERE.fullmatch(self.job_endpoint or self.master))


def beam_arguments(config: BeamConfig, paths: Iterable[tuple[str, str]] = ()) -> list[str]:
    """The arguments of a Beam pipeline.

    Args:
      config: the section `beam`.
      paths: what the workers read and write, as (name of the setting, path).

    Raises:
      InputError: the workers could not see one of the paths.
    """
    for name, path in paths:
        if "://" not in path and not config.sees_local_paths:
            raise InputError(
                f"`{name}` is {path}, a path on this machine, and `beam.runner` is {config.runner}, whose workers are "
                "elsewhere: give one that they can see, such as gs://bucket/folder, or set `beam.shared_disk: true` if "
                "the path is on a disk that all of them mount there"
            )
    return [*_runner_arguments(config), *_worker_arguments(config), *config.options]


def for_ingestion(config: BeamConfig, workers: int | None = None) -> BeamConfig:
    """The same with as many `workers`, or by default threads, as ingestion takes.

    Its threads work side by side, unlike in the other steps: what they do runs outside Python's lock.
    """
    if workers is None and config.workers is None and config.runner == "local":
        workers = min(os.cpu_count() or 1, 4)
    return BeamConfig.parse(config.model_dump() | {"workers": workers}, "--workers") if workers else config


def data_paths(config: IngestConfig) -> list[tuple[str, str]]:
    """What ingestion reads, as `beam_arguments` takes it."""
    return [(f"ingest.data.{name}", path) for name in INPUTS for path in getattr(config.data, name)]


def _runner_arguments(config: BeamConfig) -> Iterator[str]:
    match config.runner:
        case "local":
            yield "--runner=FnApiRunner"
            if config.workers and config.workers > 1:
                yield from ("--direct_running_mode=multi_threading", f"--direct_num_workers={config.workers}")
        case "processes":
            yield "--runner=FnApiRunner"
            # 0 is one for each processor.
            yield from ("--direct_running_mode=multi_processing", f"--direct_num_workers={config.workers or 0}")
        case "flink":
            yield "--runner=FlinkRunner"
            yield from _given(
                job_endpoint=config.job_endpoint,
                flink_master=config.master,
                flink_job_server_jar=config.job_server_jar,
                parallelism=config.workers,
            )
        case "spark":
            yield "--runner=SparkRunner"
            yield from _given(
                job_endpoint=config.job_endpoint,
                spark_master_url=config.master,
                spark_job_server_jar=config.job_server_jar,
            )
        case "dataflow":
            yield "--runner=DataflowRunner"
            yield from _given(
                project=config.dataflow.project,
                region=config.dataflow.region,
                temp_location=config.temp_location,
                staging_location=config.staging_location,
                num_workers=config.workers,
                max_num_workers=config.max_workers,
                service_account_email=config.dataflow.service_account,
                machine_type=config.dataflow.machine_type,
                disk_size_gb=config.dataflow.disk_gb,
                subnetwork=config.dataflow.subnetwork,
            )
            if not config.dataflow.public_ips:
                yield "--no_use_public_ips"


def _worker_arguments(config: BeamConfig) -> Iterator[str]:
    worker = config.worker
    if config.in_containers:
        yield from _given(sdk_container_image=worker.image, setup_file=config.setup_file)
    else:
        yield _HAS_ALL
    if config.runner in _PORTABLE:
        yield f"--environment_type={worker.type.upper()}"
        yield f"--sdk_worker_parallelism={worker.processes}"
        yield f"--environment_cache_millis={_KEPT_MS}"
        yield f"--environment_expiration_millis={round(worker.renewed_after_s * 1000)}"
        process = json.dumps({"command": worker.command, "env": worker.variables})
        settings = {"docker": worker.image, "process": process, "external": worker.address, "loopback": ""}
        yield from _given(environment_config=settings[worker.type])


def _given(**options: object) -> Iterator[str]:
    return (f"--{name}={value}" for name, value in options.items() if value not in ("", None))
