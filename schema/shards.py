"""How a servable is laid out that is cut into shards: who holds which item, what each is called, where it lies.

A catalog past one machine is cut by the hash of the item's id, so an item's shard is known without looking it up, is
the same in every version, and no item moves when others come or go.
"""

import posixpath
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from schema.settings import Settings
from souk_client.protocol import shard_models

# Beside the shards of a whole servable, and in each pushed version of one; written last of all.
SHARD_MAP_FILE: Final = "shards.json"

_UP: Final = "../"
_Count = Annotated[int, Field(ge=0)]


class ShardMap(Settings):
    """Which shards a servable is cut into, in `shards.json`.

    Attributes:
      hash: says which shard holds an item: the 64-bit FarmHash fingerprint of the bytes of its id, modulo the number of
        shards (`farmhash::Fingerprint64`; `tf.strings.to_hash_bucket_fast`; `FARM_FINGERPRINT` in BigQuery, read as
        unsigned).
      items: by shard, how many items of the catalog are its own.
      indexed_items: by shard, how many of these can be found; of items that look alike only one can.
      folders: by shard, where its SavedModel lies, from the folder of this file.
    """

    hash: Literal["farmhash_fingerprint64"] = "farmhash_fingerprint64"
    items: Annotated[tuple[_Count, ...], Field(min_length=2)]
    indexed_items: tuple[_Count, ...]
    folders: tuple[Annotated[str, Field(min_length=1)], ...]

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self.folders)

    def folders_from(self, payload: str) -> list[str]:
        """The shards' folders, where this map lies in `payload`, a path or a URI."""
        found = []
        for relative in self.folders:
            base = payload.rstrip("/")
            while relative.startswith(_UP):
                base, relative = posixpath.dirname(base), relative.removeprefix(_UP)
            found.append(posixpath.join(base, relative))
        return found

    @model_validator(mode="after")
    def _an_entry_for_each_shard(self) -> Self:
        sizes = len(self.items), len(self.indexed_items), len(self.folders)
        if len(set(sizes)) != 1:
            raise ValueError(f"items, indexed_items and folders must be as many as there are shards, got {sizes}")
        return self


def push_directory(model_dir: str, shards: int) -> str:
    """The folder that has a folder for every pushed version: of the SavedModels, or of the shard maps that name them.

    Args:
      model_dir: folder of the versions of a model in one piece.
      shards: how many.
    """
    return model_dir if shards == 1 else f"{model_dir}-in-{shards}-shards"


def pushed_folders(model_dir: str, shards: int, version: int) -> tuple[str, ...]:
    """Where the shards of a pushed version lie, from its folder in `push_directory`."""
    names = shard_models(posixpath.basename(model_dir.rstrip("/")), shards)
    return tuple(f"{_UP}{_UP}{name}/{version}" for name in names)
