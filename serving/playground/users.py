"""The users of ingestion's `user_state.parquet`, for people to choose from."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from schema import features
from schema.settings import InputError
from serving.examples import Behaviour

if TYPE_CHECKING:
    import polars as pl

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

    def __init__(self, path: Path | None) -> None:
        if path is not None and not path.is_file():
            raise InputError(
                f"There is no user state file {path}. `souk run` and `souk ingest` write one as user_state.parquet "
                "beside the examples."
            )
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

        Each has `user`, and the numbers of `items` and `queries` of the behaviour.

        Raises:
          InputError: if the file cannot be read.
        """
        if self._path is None:
            return []
        import polars as pl

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

    def behaviour(self, user: str) -> Behaviour | None:
        """What is known of a user, or None for one who is not in the file.

        Raises:
          InputError: if the file cannot be read.
        """
        from serving.user_state import read_behaviour

        return None if self._path is None else read_behaviour(self._path, user)

    def frequent_queries(self, limit: int) -> list[str]:
        """Queries that many users typed before.

        Raises:
          InputError: if the file cannot be read.
        """
        if self._path is None:
            return []
        import polars as pl

        name = features.HISTORY_QUERIES
        try:
            scan = pl.scan_parquet(self._path)
            if name not in scan.collect_schema():
                return []
            queries = scan.select(name).head(_QUERY_USERS).collect()[name].explode().drop_nulls()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(self._path, error) from error
        counts = queries.value_counts().sort("count", name, descending=[True, False])
        return counts[name].head(limit).to_list()

    def _table(self, path: Path) -> "pl.DataFrame":
        with self._lock:
            if self._read is None:
                self._read = _read(path)
            return self._read


def _read(path: Path) -> "pl.DataFrame":
    import polars as pl

    try:
        scan = pl.scan_parquet(path)
        columns = scan.collect_schema().names()
        if features.USER_ID not in columns:
            raise InputError(
                f"{path} has no column `{features.USER_ID}` (it has: {', '.join(columns)}), "
                "so it is not a user state file. Give the user_state.parquet that ingestion wrote."
            )
        lists = [pl.col(name).list.len().fill_null(0) for name in features.BEHAVIOUR_ITEM_FEATURES if name in columns]
        queries = [pl.col(name).list.len().fill_null(0) for name in (features.HISTORY_QUERIES,) if name in columns]
        none = pl.lit(0, pl.Int64)
        return scan.select(
            pl.col(features.USER_ID).cast(pl.String),
            pl.sum_horizontal(none, *lists).cast(pl.Int64).alias(_ITEMS),
            pl.sum_horizontal(none, *queries).cast(pl.Int64).alias(_QUERIES),
        ).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read as a Parquet user state file: {error}")
