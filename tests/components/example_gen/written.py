"""Reads what ingestion wrote, with TensorFlow."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from tests.components.example_gen.columnar import LISTS


def shards(folder: Path, split: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file of a split, in their order."""
    return {
        path.name: [row(record.numpy()) for record in tf.data.TFRecordDataset(str(path), compression_type="GZIP")]
        for path in sorted((Path(folder) / f"Split-{split}").glob("*.tfrecord.gz"))
    }


def rows(folder: Path, split: str) -> list[dict[str, Any]]:
    """All rows of a split."""
    return [example for shard in shards(folder, split).values() for example in shard]


def in_order(folder: Path, split: str) -> list[dict[str, Any]]:
    """All rows of a search split, in the order of the oracle's."""
    return sorted(rows(folder, split), key=lambda row: (row["timestamp_ms"], row["request_id"]))


def row(serialized: bytes) -> dict[str, Any]:
    """List features as lists, others as a value or None; a profile that is absent is left out."""
    plain: dict[str, Any] = {}
    for name, feature in tf.train.Example.FromString(serialized).features.feature.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        values = [value.decode() if isinstance(value, bytes) else value for value in values]
        if name in LISTS:
            plain[name] = values
        elif values or not name.startswith("profile_"):
            plain[name] = values[0] if values else None
    return plain
