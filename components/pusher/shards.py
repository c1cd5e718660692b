"""Puts the shards of a version in place one after the other, so that a push that is killed in between does no harm.

Each shard is renamed into the folder of its versions as a whole. Clients ask for a version that all shards have, so one
that only some have is never used, and the next push removes it. The map of the shards comes last: with it, the version
is one that commands know of.
"""

import os

import tensorflow as tf
from absl import logging

from schema.servable_files import SAVED_MODEL_FILE, write_shard_map
from schema.shards import ShardMap, push_directory, pushed_folders
from souk_client.protocol import shard_models


def newest_version(model_dir: str, shards: int = 1) -> int:
    """The highest version of a model, in whatever of its folders; 0 where there is none."""
    folders = {push_directory(model_dir, shards), *shard_models(model_dir, shards)}
    return max((max(versions_in(folder), default=0) for folder in folders), default=0)


def clear_up(model_dir: str, shards: int) -> None:
    """Removes the versions that a push has put into the folders of some shards and was killed before it came to all.

    Left there, they could push out of a server's two newest versions the one that all shards have.
    """
    found = {folder: versions_in(folder) for folder in shard_models(model_dir, shards)}
    of_all = set.intersection(*found.values())
    for folder, versions in found.items():
        for version in sorted(versions - of_all - versions_in(push_directory(model_dir, shards))):
            logging.warning("removing version %d from %s: it was not pushed to all shards", version, folder)
            tf.io.gfile.rmtree(os.path.join(folder, str(version)))


def put_in_place(payload: str, staged: str, shard_map: ShardMap, model_dir: str, version: int) -> None:
    """Moves the shards of a staged servable to their folders; what stays is the map, which says where they are.

    Args:
      payload: the folder of the servable.
      staged: the copy that the stock executor made of it, on the file system of `model_dir`. It leaves out every
        `saved_model.pb` but that of a servable in one piece.
      shard_map: of it.
      model_dir: what the names of the shards' folders begin with.
      version: of all of them.
    """
    copies = shard_map.folders_from(staged)
    for source, copied in zip(shard_map.folders_from(payload), copies, strict=True):
        tf.io.gfile.copy(*(os.path.join(folder, SAVED_MODEL_FILE) for folder in (source, copied)))
    for source, folder in zip(copies, shard_models(model_dir, shard_map.shards), strict=True):
        tf.io.gfile.makedirs(folder)
        tf.io.gfile.rename(source, os.path.join(folder, str(version)))
    pushed = pushed_folders(model_dir, shard_map.shards, version)
    write_shard_map(staged, shard_map.model_copy(update={"folders": pushed}))


def versions_in(folder: str) -> set[int]:
    """The numbers of the versions in a folder; none where it is not there."""
    names = [name.rstrip("/") for name in tf.io.gfile.listdir(folder)] if tf.io.gfile.isdir(folder) else []
    return {int(name) for name in names if name.isdigit()}
