"""The files of a servable: where its SavedModels lie, what it says of itself, and which shard holds an item."""

import os

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from schema.settings import InputError
from schema.shards import SHARD_MAP_FILE, ShardMap

SAVED_MODEL_FILE = "saved_model.pb"


def shard_of(item_ids: NDArray[np.bytes_], shards: int) -> NDArray[np.int64]:
    """The shard of each item, as `ShardMap.hash` says: the same in every run, machine and language, [items]."""
    found: NDArray[np.int64] = tf.strings.to_hash_bucket_fast(tf.constant(item_ids.astype(object)), shards).numpy()
    return found


def items_per_shard(owner: NDArray[np.int64], shards: int) -> tuple[int, ...]:
    """How many items each shard has, where `owner` [items] is each one's shard.

    Raises:
      InputError: a shard has none.
    """
    counts = np.bincount(owner, minlength=shards)
    if not counts.all():
        raise InputError(
            f"`index.shards` is {shards}, but of {len(owner)} items none falls to shard {int(np.argmin(counts))}: take "
            "fewer shards, or one"
        )
    return tuple(counts.tolist())


def write_shard_map(payload: str, shard_map: ShardMap) -> None:
    """Puts the map into the folder of a servable, after its shards: with it, the servable is complete."""
    with tf.io.gfile.GFile(os.path.join(payload, SHARD_MAP_FILE), "w") as file:
        file.write(shard_map.model_dump_json(indent=1))


def read_shard_map(payload: str) -> ShardMap | None:
    """The map of a servable in shards; None for one in one piece.

    Raises:
      InputError: the file is not such a map.
    """
    path = os.path.join(payload, SHARD_MAP_FILE)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return ShardMap.from_json(file.read(), path)


def saved_models(payload: str) -> list[str]:
    """The folders of the SavedModels of a servable, one per shard in their order; its own, where it is in one piece.

    Args:
      payload: the folder of a servable: `Format-Serving` of an artifact, or a pushed version.

    Raises:
      InputError: there is none, or one of the shards is missing.
    """
    shard_map = read_shard_map(payload)
    if shard_map is None:
        folders = [payload]
        advice = (
            "Give the folder of one model version, such as serving_models/1700000000, or the `Format-Serving` folder "
            "of a Model artifact."
        )
    else:
        folders = shard_map.folders_from(payload)
        advice = f"{os.path.join(payload, SHARD_MAP_FILE)} says that it should. Build and push the servable again."
    for folder in folders:
        if not tf.io.gfile.exists(os.path.join(folder, SAVED_MODEL_FILE)):
            raise InputError(f"{folder} holds no `{SAVED_MODEL_FILE}`. {advice}")
    return folders
