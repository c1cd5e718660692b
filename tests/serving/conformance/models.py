"""What the conformance tests want to be served: `python -m tests.serving.conformance.models FOLDER` writes it.

The folder gets two versions of the tiny retriever, a `models.config` that serves both under labels, and the
`monitoring.config` that TensorFlow Serving needs to show its metrics. All of them are plain TensorFlow.
"""

import argparse
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tests.serving import tiny_retriever

NAME = "souk"
LABELS = {"stable": 1, "canary": 2}
MISSING_VERSION = 77

MONITORING = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'


def model_config(base_path: str, **labels: int) -> model_server_config_pb2.ModelServerConfig:
    """Serves both versions in `base_path`, a path as the server sees it, under `labels`."""
    config = model_server_config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(name=NAME, base_path=base_path, model_platform="tensorflow")
    model.model_version_policy.specific.versions.extend(sorted(LABELS.values()))
    model.version_labels.update(labels)
    return config


def write(folder: Path, base_path: str) -> Path:
    """Writes everything into `folder`, which the server sees as `base_path`; returns the model config's path."""
    for version in LABELS.values():
        tiny_retriever.push(folder, version)
    (folder / "monitoring.config").write_text(MONITORING)
    path = folder / "models.config"
    path.write_text(text_format.MessageToString(model_config(base_path, **LABELS)))
    return path


def main() -> None:
    """Entry point of `python -m tests.serving.conformance.models`."""
    parser = argparse.ArgumentParser(description="Write what the conformance tests want to be served.")
    parser.add_argument("folder", type=Path, help="folder to write to; it must be empty or not there")
    parser.add_argument("--base-path", help="the same folder as the server sees it (default: as it is here)")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(write(arguments.folder, arguments.base_path or str(arguments.folder.resolve())))


if __name__ == "__main__":
    main()
