"""Search examples of some users: their requests, each with the behavior and the profile at that moment."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from components.example_gen.behavior import Behavior, Moments
from components.example_gen.config import WindowConfig
from components.example_gen.encode import coded_lists, single_values, value_lists
from components.example_gen.splits import Splits
from components.example_gen.users import USER_ID
from schema import features

# A robot's request knows several hundred items, so that their lists together are what takes the memory.
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class UserLog:
    """Everything known of some users.

    Requests have the schema `columns.REQUESTS`, interactions `columns.INTERACTIONS`, profiles one row per user.
    """

    requests: pl.DataFrame
    interactions: pl.DataFrame
    profiles: pl.DataFrame


class SearchLog:
    """A `UserLog` ready to give examples.

    Args:
      log: of some users.
      profile_columns: which columns of the profiles become features.
      windows: lengths and caps of the behavior windows.
    """

    def __init__(self, log: UserLog, profile_columns: tuple[str, ...], windows: WindowConfig):
        self._profile_columns = profile_columns
        self._profiles = log.profiles
        self._users = _user_codes(log)
        self._requests = _with_code(log.requests, self._users)
        self._behavior = Behavior(
            self._requests.filter(pl.col("user") >= 0), _with_code(log.interactions, self._users), windows
        )

    def blocks(self, splits: Splits) -> Iterator[tuple[str, dict[str, pa.Array]]]:
        """The search features of every request by split, ordered by time and request id, some thousands at a time."""
        for split, since, until in (
            (features.TRAIN_SPLIT, splits.train_start, splits.eval_start),
            (features.EVAL_SPLIT, splits.eval_start, splits.end),
        ):
            chosen = self._requests.filter(pl.col("timestamp_ms").is_between(since, until, closed="left")).sort(
                "timestamp_ms", "request_id"
            )
            for block in chosen.iter_slices(_ROWS_AT_ONCE):
                yield split, self._columns_of(block)

    def states(self, at: int) -> pl.DataFrame:
        """Every user's behavior and profile at the moment `at` (epoch milliseconds), named as the features are."""
        moments = Moments(np.arange(len(self._users)), np.full(len(self._users), at, np.int64))
        profiles = self._profiles_of(self._users)
        return pl.DataFrame(
            [self._users[USER_ID]]
            + [values.to_series(name) for name, values in self._behavior.at(moments).items()]
            + [profiles[name].alias(features.profile_feature(name)) for name in self._profile_columns]
        )

    def _columns_of(self, chosen: pl.DataFrame) -> dict[str, pa.Array]:
        profiles = self._profiles_of(chosen)
        singles = {
            features.REQUEST_ID: chosen["request_id"],
            features.USER_ID: chosen[USER_ID],
            features.TIMESTAMP_MS: chosen["timestamp_ms"],
            features.QUERY: chosen["query"],
        } | {features.profile_feature(name): profiles[name] for name in self._profile_columns}
        lists = self._behavior.at(Moments(chosen["user"].to_numpy(), chosen["timestamp_ms"].to_numpy()))
        labels = (features.ITEMS, features.STAGES, features.POSITIONS)
        return (
            {name: single_values(values) for name, values in singles.items()}
            | {name: coded_lists(values) for name, values in lists.items()}
            | {name: value_lists(chosen[name]) for name in labels}
        )

    def _profiles_of(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(USER_ID).join(self._profiles, on=USER_ID, how="left", maintain_order="left")


def _user_codes(log: UserLog) -> pl.DataFrame:
    """All users, sorted, with a number each."""
    everyone = pl.concat([frame[USER_ID] for frame in (log.requests, log.interactions, log.profiles)])
    return everyone.drop_nulls().unique().sort().to_frame(USER_ID).with_row_index("user")


def _with_code(frame: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    joined = frame.join(users, on=USER_ID, how="left", maintain_order="left")
    return joined.with_columns(pl.col("user").cast(pl.Int64).fill_null(-1))
