"""The deployment files as data, for all tests of this folder."""

from pathlib import Path
from typing import Any

import yaml

from tests.dockerfiles import dockerfile

ROOT = Path(__file__).resolve().parents[3]
SERVING = ROOT / "serving"
DOCKER, KUBERNETES, CONFIGS = SERVING / "docker", SERVING / "kubernetes", SERVING / "tf_serving"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))

# Command line flags of tensorflow_model_server 2.16, from its main.cc, but for the experimental ones.
FLAGS = frozenset(
    [
        "port",
        "grpc_socket_path",
        "rest_api_port",
        "rest_api_num_threads",
        "rest_api_timeout_in_ms",
        "rest_api_enable_cors_support",
        "enable_batching",
        "allow_version_labels_for_unavailable_models",
        "batching_parameters_file",
        "enable_per_model_batching_parameters",
        "model_config_file",
        "model_config_file_poll_wait_seconds",
        "model_name",
        "model_base_path",
        "num_load_threads",
        "num_unload_threads",
        "max_num_load_retries",
        "load_retry_interval_micros",
        "file_system_poll_wait_seconds",
        "flush_filesystem_caches",
        "tensorflow_session_parallelism",
        "tensorflow_session_config_file",
        "tensorflow_intra_op_parallelism",
        "tensorflow_inter_op_parallelism",
        "use_alts_credentials",
        "ssl_config_file",
        "platform_config_file",
        "per_process_gpu_memory_fraction",
        "saved_model_tags",
        "grpc_channel_arguments",
        "grpc_max_threads",
        "enable_model_warmup",
        "num_request_iterations_for_warmup",
        "version",
        "monitoring_config_file",
        "remove_unused_fields_from_bundle_metagraph",
        "enable_signature_method_name_check",
        "enable_profiler",
        "thread_pool_factory_config_file",
        "enable_grpc_healthcheck_service",
    ]
)


def documents(path: Path) -> list[dict[str, Any]]:
    """Every document of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def only(path: Path) -> dict[str, Any]:
    """The one document of a YAML file."""
    (document,) = documents(path)
    return document


def flags(arguments: list[str]) -> dict[str, str]:
    """`--name=value` arguments by name."""
    assert all(argument.startswith("--") and "=" in argument for argument in arguments), arguments
    pairs = [(name, value) for name, _, value in (argument[2:].partition("=") for argument in arguments)]
    assert len({name for name, _ in pairs}) == len(pairs), "a flag is given twice"
    return dict(pairs)


def image_command(path: Path) -> dict[str, str]:
    """The flags that an image starts the server with."""
    (command,) = [entry for entry in dockerfile(path.read_text()) if entry.name == "CMD"]
    return flags(command.words)


def deployment() -> dict[str, Any]:
    """The Deployment."""
    return only(KUBERNETES / "base" / "deployment.yaml")


def container() -> dict[str, Any]:
    """The Deployment's one container."""
    (found,) = deployment()["spec"]["template"]["spec"]["containers"]
    return found
