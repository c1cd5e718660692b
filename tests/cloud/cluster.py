"""A cluster whose buckets are buckets: of the stand-in for Cloud Storage, by the clients that a real cluster has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cloud.storage import Storage
from tests.pipeline.cluster import Cluster


@dataclass(kw_only=True)
class CloudCluster(Cluster):
    """Runs a compiled pipeline as `Cluster` does, with its paths as they are.

    Attributes:
      storage: of the stand-in.
    """

    storage: Storage

    def _provision(self, component: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
        # As a `Path` it has lost a slash.
        bucket, _, prefix = str(folder).removeprefix("gs:/").partition("/")
        outputs = {}
        for key, artifact in component["outputDefinitions"]["artifacts"].items():
            self._artifacts += 1
            outputs[key] = {
                "name": f"projects/1/locations/here/metadataStores/default/artifacts/{self._artifacts}",
                "uri": f"gs://{bucket}/{prefix}/{key}",
                "type": artifact["artifactType"],
                "metadata": dict(artifact.get("metadata", {})),
            }
            self.storage.put(bucket, f"{prefix}/{key}/Split-catalog/of-an-earlier-attempt", b"x")
        return outputs
