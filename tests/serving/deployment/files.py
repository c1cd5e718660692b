"""The deployment files as data, for all tests of this folder."""

from pathlib import Path
from typing import Any

import yaml

from tests.dockerfiles import dockerfile

ROOT = Path(__file__).resolve().parents[3]
SERVING = ROOT / "serving"
DOCKER, KUBERNETES, CONFIGS = SERVING / "docker", SERVING / "kubernetes", SERVING / "tf_serving"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))

# The default of a flag that takes 4 for each core of the machine.
PER_CORE = -1

# Command line flags of tensorflow_model_server 2.16 and their defaults, from its main.cc and server.h, but for the
# experimental ones.
FLAGS: dict[str, bool | int | float | str] = {
    "port": 8500,
    "grpc_socket_path": "",
    "rest_api_port": 0,
    "rest_api_num_threads": PER_CORE,
    "rest_api_timeout_in_ms": 30000,
    "rest_api_enable_cors_support": False,
    "enable_batching": False,
    "allow_version_labels_for_unavailable_models": False,
    "batching_parameters_file": "",
    "enable_per_model_batching_parameters": False,
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "model_name": "default",
    "model_base_path": "",
    "num_load_threads": 0,
    "num_unload_threads": 0,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60_000_000,
    "file_system_poll_wait_seconds": 1,
    "flush_filesystem_caches": True,
    "tensorflow_session_parallelism": 0,
    "tensorflow_session_config_file": "",
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "use_alts_credentials": False,
    "ssl_config_file": "",
    "platform_config_file": "",
    "per_process_gpu_memory_fraction": 0.0,
    "saved_model_tags": "serve",
    "grpc_channel_arguments": "",
    "grpc_max_threads": PER_CORE,
    "enable_model_warmup": True,
    "num_request_iterations_for_warmup": 0,
    "version": False,
    "monitoring_config_file": "",
    "remove_unused_fields_from_bundle_metagraph": True,
    "enable_signature_method_name_check": False,
    "enable_profiler": True,
    "thread_pool_factory_config_file": "",
    "enable_grpc_healthcheck_service": False,
}


def flag_problems(given: dict[str, str]) -> list[str]:
    """What is wrong with flags of tensorflow_model_server; a flag that says its default is one too many."""
    found = []
    for name, text in given.items():
        default = FLAGS.get(name)
        try:
            value = _BOOLEANS[text] if isinstance(default, bool) else type(default)(text)
        except (KeyError, TypeError, ValueError):
            found.append(
                f"--{name} is no flag" if default is None else f"--{name}={text} is no {type(default).__name__}"
            )
            continue
        if value == default:
            found.append(f"--{name}={text} is the default")
    return found


_BOOLEANS = {"true": True, "false": False}


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
