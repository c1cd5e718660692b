"""Search examples of some users: their requests, each with the behaviour and the profile at that moment."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from components.example_gen.behaviour import Moments, behaviour
from components.example_gen.config import WindowConfig
from components.example_gen.encode import coded_lists, single_values, value_lists
from components.example_gen.splits import Splits
from components.example_gen.users import USER_ID
from schema import features


@dataclass(frozen=True)
class UserLog:
    """Everything known of some users.

    Requests have the schema `columns.REQUESTS`, interactions `columns.INTERACTIONS`, profiles one row per user.
    """

    requests: pl.DataFrame
    interactions: pl.DataFrame
    profiles: pl.DataFrame


def search_columns(
    log: UserLog, profile_columns: tuple[str, ...], windows: WindowConfig, splits: Splits
) -> dict[str, dict[str, pa.Array]]:
    """The search features of every request of `log`, per split, ordered by time and request id."""
    users = _user_codes(log)
    requests = _with_code(log.requests, users)
    interactions = _with_code(log.interactions, users)
    of_somebody = requests.filter(pl.col("user") >= 0)
    encoded = {}
    for split, since, until in (
        (features.TRAIN_SPLIT, splits.train_start, splits.eval_start),
        (features.EVAL_SPLIT, splits.eval_start, splits.end),
    ):
        chosen = requests.filter(pl.col("timestamp_ms").is_between(since, until, closed="left")).sort(
            "timestamp_ms", "request_id"
        )
        moments = Moments(chosen["user"].to_numpy(), chosen["timestamp_ms"].to_numpy())
        profiles = chosen.select(USER_ID).join(log.profiles, on=USER_ID, how="left", maintain_order="left")
        singles = {
            features.REQUEST_ID: chosen["request_id"],
            features.USER_ID: chosen[USER_ID],
            features.TIMESTAMP_MS: chosen["timestamp_ms"],
            features.QUERY: chosen["query"],
        } | {features.profile_feature(name): profiles[name] for name in profile_columns}
        lists = behaviour(moments, of_somebody, interactions, windows)
        encoded[split] = (
            {name: single_values(values) for name, values in singles.items()}
            | {name: coded_lists(values) for name, values in lists.items()}
            | {name: value_lists(chosen[name]) for name in (features.ITEMS, features.STAGES, features.POSITIONS)}
        )
    return encoded


def user_states(log: UserLog, profile_columns: tuple[str, ...], windows: WindowConfig, at: int) -> pl.DataFrame:
    """Each user's behaviour and profile at the moment `at` (epoch milliseconds), named as the features are."""
    users = _user_codes(log)
    moments = Moments(np.arange(len(users)), np.full(len(users), at, np.int64))
    lists = behaviour(
        moments,
        _with_code(log.requests, users).filter(pl.col("user") >= 0),
        _with_code(log.interactions, users),
        windows,
    )
    profiles = users.select(USER_ID).join(log.profiles, on=USER_ID, how="left", maintain_order="left")
    return pl.DataFrame(
        [users[USER_ID]]
        + [values.to_series(name) for name, values in lists.items()]
        + [profiles[name].alias(features.profile_feature(name)) for name in profile_columns]
    )


def _user_codes(log: UserLog) -> pl.DataFrame:
    """All users, sorted, with a number each."""
    everyone = pl.concat([frame[USER_ID] for frame in (log.requests, log.interactions, log.profiles)])
    return everyone.drop_nulls().unique().sort().to_frame(USER_ID).with_row_index("user")


def _with_code(frame: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    joined = frame.join(users, on=USER_ID, how="left", maintain_order="left")
    return joined.with_columns(pl.col("user").cast(pl.Int64).fill_null(-1))
