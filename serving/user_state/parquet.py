"""What is known of a user now: one row of the `user_state.parquet` that ingestion writes."""

from pathlib import Path

import polars as pl

from schema import features
from schema.settings import InputError
from souk_client.examples import Behavior

_LISTS = (features.HISTORY_QUERIES, *features.BEHAVIOR_ITEM_FEATURES)


class ParquetUserState:
    """The user states of a `user_state.parquet`, which are those of the log's end whatever the moment of a request.

    Raises:
      InputError: if the file is missing.
    """

    def __init__(self, path: Path) -> None:
        check_exists(path)
        self._path = path

    def behavior(self, user_id: str, at_ms: int | None = None) -> Behavior | None:
        """See `UserState.behavior`.

        Raises:
          InputError: if the file cannot be read.
        """
        return read_behavior(self._path, user_id)


def read_behavior(path: Path, user: str) -> Behavior | None:
    """The behavior and profile of `user`, or None for a user who is not in the file.

    Reads only the row groups that can hold the user. A column that the file does not have counts as empty.

    Raises:
      InputError: if the file is missing, is not Parquet, or has no `user_id` column.
    """
    check_exists(path)
    try:
        table = scan_user_states(path)
        columns = table.collect_schema().names()
        rows = table.filter(pl.col(features.USER_ID) == user).head(1).collect().to_dicts()
    # A compressed file that is cut off gives an OSError.
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
    if not rows:
        return None
    row = rows[0]
    profile = {
        column.removeprefix(features.PROFILE_PREFIX): str(row[column])
        for column in columns
        if column.startswith(features.PROFILE_PREFIX) and row[column] is not None
    }
    return Behavior(**{name: tuple(row.get(name) or ()) for name in _LISTS}, profile=profile)


def scan_user_states(path: Path) -> pl.LazyFrame:
    """All users of the file, read when they are collected.

    Raises:
      InputError: if it has no `user_id` column.
      OSError: if it cannot be read; also a `polars.exceptions.PolarsError`.
    """
    table = pl.scan_parquet(path)
    columns = table.collect_schema().names()
    if features.USER_ID not in columns:
        raise InputError(
            f"{path} has no column `{features.USER_ID}` (it has: {', '.join(columns)}), "
            "so it is not a user state file. Give the user_state.parquet that ingestion wrote."
        )
    return table


def check_exists(path: Path) -> None:
    """Stops where there is no such file.

    Raises:
      InputError: if it is missing.
    """
    if not path.is_file():
        raise InputError(
            f"There is no user state file {path}. `souk run` and `souk ingest` write one as user_state.parquet "
            "beside the examples."
        )


def unreadable(path: Path, error: Exception) -> InputError:
    """What to say when reading the file failed."""
    return InputError(f"{path} cannot be read as a Parquet user state file: {error}")
