"""What later runs are compared with, kept as small files in a folder that every run of a pipeline can reach.

On one machine a Resolver finds these in ML Metadata. On a cluster it cannot: Kubeflow's own backend runs no resolvers,
and the strategies that TFX can compile for Vertex know nothing of refused data or of the run's own model. There the
gates write down what they let through, and read what earlier runs have let through.

A ledger has one folder per kind, and in it one file per entry, named by the time of writing. Nothing is ever changed,
so runs may overlap.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Collection
from typing import Any, Final, TypeVar

import tensorflow as tf
from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2

from schema.files import write_whole

STATISTICS: Final = "statistics"
SERVABLES: Final = "servables"

# A TFX artifact.
Artifact = TypeVar("Artifact", bound=Any)

_logger = logging.getLogger(__name__)


def record(ledger: str, kind: str, artifact: Any) -> None:
    """Writes down that a gate let `artifact` through.

    Args:
      ledger: the folder, local or remote; "" for none, where nothing is written.
      kind: `STATISTICS` or `SERVABLES`.
      artifact: where it is and what its properties say is kept.
    """
    if not ledger:
        return
    folder = os.path.join(ledger, kind)
    tf.io.gfile.makedirs(folder)
    # Two steps may finish in the same millisecond; entries sort by name.
    digest = hashlib.blake2b(artifact.uri.encode(), digest_size=4).hexdigest()
    text = json_format.MessageToJson(artifact.mlmd_artifact, preserving_proto_field_name=True)
    write_whole(os.path.join(folder, f"{time.time_ns() // 1_000_000:015d}-{digest}.json"), text.encode())


def latest(
    ledger: str, kind: str, artifact_type: type[Artifact], other_than: str = "", splits: Collection[str] = ()
) -> Artifact | None:
    """The artifact that was let through last.

    Args:
      ledger: as for `record`.
      kind: as for `record`.
      artifact_type: its type.
      other_than: an URI to leave out, the run's own.
      splits: that it must have; those of a refreshed catalog have one alone.

    Returns:
      The artifact, None where there is no other.
    """
    folder = os.path.join(ledger, kind)
    if not ledger or not tf.io.gfile.isdir(folder):
        return None
    for name in sorted((name for name in tf.io.gfile.listdir(folder) if name.endswith(".json")), reverse=True):
        with tf.io.gfile.GFile(os.path.join(folder, name)) as file:
            stored = json_format.ParseDict(json.loads(file.read()), metadata_store_pb2.Artifact())
        found = artifact_type()
        found.set_mlmd_artifact(stored)
        if stored.uri != other_than and has_splits(found, splits) and tf.io.gfile.exists(stored.uri):
            _logger.info("the %s to compare with are those of %s: %s", kind, name, stored.uri)
            return found
    return None


def has_splits(artifact: Any, splits: Collection[str]) -> bool:
    """Whether an artifact has all of `splits`."""
    return not splits or set(splits) <= set(json.loads(artifact.split_names or "[]"))
