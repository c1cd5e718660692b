"""The store of user states that a command names."""

import re
from pathlib import Path
from typing import Final

from schema.settings import InputError
from serving.user_state.parquet import ParquetUserState
from souk_client.redis_user_state import RedisUserState
from souk_client.user_state import UserState

_REDIS: Final = re.compile(r"(rediss?|unix)://")


def is_redis(name: str) -> bool:
    """Whether `name` is an address of Redis, and not a file."""
    return _REDIS.match(name) is not None


def open_user_state(name: str) -> UserState:
    """The store at an address of Redis, or in ingestion's `user_state.parquet`.

    Raises:
      InputError: if it is neither, or the file is missing.
    """
    if is_redis(name):
        return RedisUserState(name)
    if "://" in name:
        raise InputError(
            f"{name} names no store of user states: give redis://HOST:PORT/DATABASE (rediss:// for TLS), or the path "
            "of a user_state.parquet."
        )
    return ParquetUserState(Path(name))
