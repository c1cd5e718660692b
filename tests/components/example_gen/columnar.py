"""Runs the columnar steps in memory, partition by partition, without Beam and without files."""

from typing import Any

import numpy as np
import polars as pl

from components.example_gen.columns import EVENTS, INTERACTIONS, REQUESTS
from components.example_gen.config import WindowConfig
from components.example_gen.encode import Column, Lists
from components.example_gen.features import SearchLog
from components.example_gen.join import join_requests
from components.example_gen.partition import stable_hash
from components.example_gen.times import TimeSplits
from schema.features import EventType
from tests.components.example_gen.oracle import Event


def frame(log: list[Event]) -> pl.DataFrame:
    rows = [
        (
            e.event_id,
            e.timestamp_ms,
            e.request_id,
            e.user_id,
            EventType.ALL.index(e.event_type),
            e.query,
            e.item_id,
            e.position,
            0,
        )
        for e in log
    ]
    return pl.DataFrame(rows, schema=EVENTS, orient="row")


def partitioned(rows: pl.DataFrame, by: pl.Series, partitions: int) -> list[pl.DataFrame]:
    numbers = pl.Series(stable_hash(by) % np.uint64(partitions))
    return [rows.filter(numbers == number) for number in range(partitions)]


def profile_frame(profiles: dict[str, dict[str, str]], columns: tuple[str, ...]) -> pl.DataFrame:
    rows = [(user, *(values.get(column) for column in columns)) for user, values in profiles.items()]
    return pl.DataFrame(rows, schema=dict.fromkeys(("user_id", *columns), pl.String), orient="row")


def joined(
    log: list[Event], known_items: set[str], splits: TimeSplits, partitions: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The requests and the interactions of all partitions."""
    events = frame(log)
    known = pl.Series(sorted(known_items), dtype=pl.String)
    parts = [
        join_requests(part, known, splits.eval_start)
        for part in partitioned(events, events.select(pl.coalesce("request_id", "event_id")).to_series(), partitions)
    ]
    return (
        pl.concat([part.requests for part in parts]).cast(dict(REQUESTS)),
        pl.concat([part.interactions for part in parts]).cast(dict(INTERACTIONS)),
    )


def examples(
    log: list[Event],
    known_items: set[str],
    profiles: dict[str, dict[str, str]],
    windows: WindowConfig,
    splits: TimeSplits,
    partitions: int = 2,
    columns: tuple[str, ...] = (),
) -> dict[str, list[dict[str, Any]]]:
    """The examples of both splits, each sorted by (time, request id)."""
    requests, interactions = joined(log, known_items, splits, partitions)
    profile_rows = profile_frame(profiles, columns)
    found: dict[str, list[dict[str, Any]]] = {"train": [], "eval": []}
    for parts in zip(
        partitioned(requests, requests.select(pl.coalesce("user_id", "request_id")).to_series(), partitions),
        partitioned(interactions, interactions["user_id"], partitions),
        partitioned(profile_rows, profile_rows["user_id"], partitions),
        strict=True,
    ):
        for split, encoded in SearchLog(*parts, columns, windows).batches(splits):
            found[split] += plain_rows(encoded)
    return {split: sorted(rows, key=lambda r: (r["timestamp_ms"], r["request_id"])) for split, rows in found.items()}


LISTS = (
    "category_path",
    "history_queries",
    "real_time_items",
    "short_term_items",
    "long_term_clicks",
    "long_term_orders",
    "long_term_carts",
    "items",
    "stages",
    "positions",
)


def plain_rows(columns: dict[str, Column]) -> list[dict[str, Any]]:
    """List columns as one dict per row: lists for list features, a value or None for the others; no absent profile."""
    rows = []
    plain_columns = [
        column.to_series(name).to_list() if isinstance(column, Lists) else column.to_pylist()
        for name, column in columns.items()
    ]
    for values in zip(*plain_columns, strict=True):
        row: dict[str, Any] = {}
        for name, value in zip(columns, values, strict=True):
            plain = [v.decode() if isinstance(v, bytes) else v for v in value or []]
            row[name] = plain if name in LISTS else (plain[0] if plain else None)
        rows.append({k: v for k, v in row.items() if v is not None or not k.startswith("profile_")})
    return rows
