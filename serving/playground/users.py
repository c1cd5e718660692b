"""The users of ingestion's `user_state.parquet`, for people to choose from."""

import threading
from pathlib import Path
from typing import Final

import polars as pl

from schema import features
from schema.settings import InputError
from serving.user_state.parquet import check_exists, read_behavior, scan_user_states, unreadable
from souk_client.examples import Behavior

# Users whose queries the suggestions are drawn from; more would cost memory and change little.
_QUERY_USERS: Final = 20_000
_ITEMS, _QUERIES = "items", "queries"


class Users:
    """Users by id, with how much is known of each; read when first asked for.

    Args:
      path: the file; None where there is none, which is a shop without known users.

    Raises:
      InputError: if the file is missing.
    """

    live = False

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            check_exists(path)
        self._path = path
        self._lock = threading.Lock()
        self._read: pl.DataFrame | None = None

    @property
    def known(self) -> bool:
        """Whether there is a file of users at all."""
        return self._path is not None

    def count(self) -> int:
        """How many users there are.

        Raises:
          InputError: if the file cannot be read.
        """
        return 0 if self._path is None else len(self._table(self._path))

    def find(self, text: str, limit: int) -> list[dict[str, object]]:
        """Users whose id begins with `text`, then those whose id holds it; of whom most is known first.

        Each has `user`, and the numbers of `items` and `queries` of the behavior.

        Raises:
          InputError: if the file cannot be read.
        """
        if self._path is None:
            return []
        wanted, user = text.strip().lower(), pl.col(features.USER_ID)
        lower = user.str.to_lowercase()
        found = (
            self._table(self._path)
            .lazy()
            .filter(lower.str.contains(wanted, literal=True))
            .sort(lower != wanted, ~lower.str.starts_with(wanted), -pl.col(_ITEMS), -pl.col(_QUERIES), user)
            .head(limit)
            .collect()
        )
        return [
            {"user": row[features.USER_ID], _ITEMS: row[_ITEMS], _QUERIES: row[_QUERIES]}
            for row in found.iter_rows(named=True)
        ]

    def behavior(self, user: str) -> Behavior | None:
        """What is known of a user, or None for one who is not in the file.

        Raises:
          InputError: if the file cannot be read.
        """
        return None if self._path is None else read_behavior(self._path, user)

    def click(self, user: str, item_id: str) -> str:
        """A file takes no clicks.

        Raises:
          InputError: always.
        """
        raise InputError(
            "These user states do not change by a click. Start the playground with --user-state redis://..."
        )

    def frequent_queries(self, limit: int) -> list[str]:
        """Queries that many users typed before.

        Raises:
          InputError: if the file cannot be read.
        """
        if self._path is None:
            return []
        name = features.HISTORY_QUERIES
        try:
            scan = pl.scan_parquet(self._path)
            if name not in scan.collect_schema():
                return []
            queries = scan.select(name).head(_QUERY_USERS).collect()[name].explode().drop_nulls()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(self._path, error) from error
        counts = queries.value_counts().sort("count", name, descending=[True, False])
        return counts[name].head(limit).to_list()

    def _table(self, path: Path) -> pl.DataFrame:
        with self._lock:
            if self._read is None:
                self._read = _read(path)
            return self._read


def _read(path: Path) -> pl.DataFrame:
    try:
        scan = scan_user_states(path)
        columns = scan.collect_schema().names()
        lists = [pl.col(name).list.len().fill_null(0) for name in features.BEHAVIOR_ITEM_FEATURES if name in columns]
        queries = [pl.col(name).list.len().fill_null(0) for name in (features.HISTORY_QUERIES,) if name in columns]
        none = pl.lit(0, pl.Int64)
        return scan.select(
            pl.col(features.USER_ID).cast(pl.String),
            pl.sum_horizontal(none, *lists).cast(pl.Int64).alias(_ITEMS),
            pl.sum_horizontal(none, *queries).cast(pl.Int64).alias(_QUERIES),
        ).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from error
