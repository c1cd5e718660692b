"""Turns rows of text into typed events, and finds those that cannot be used."""

import polars as pl

from components.example_gen.columns import (
    EVENT_COLUMNS,
    EVENT_ID,
    EVENT_TYPE,
    EVENTS,
    FILE,
    IMPRESSION,
    POSITION,
    SEARCH,
    TIMESTAMP,
)
from components.example_gen.timestamps import EARLIEST_MS, LATEST_MS, parse_timestamps
from schema.features import EventType

_TYPE_CODES = {name: code for code, name in enumerate(EventType.ALL)}
_TEXTS = (EVENT_ID, "request_id", "user_id", "query", "item_id")


def validate_events(
    raw: pl.DataFrame, file_index: int, max_query_characters: int, needs_query: bool = True
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Typed events out of text columns.

    Args:
      raw: the columns `EVENT_COLUMNS`, all text or null.
      file_index: goes into the column `file`.
      max_query_characters: longer queries are cut.
      needs_query: whether a search without a query is unusable. If not, its query stays "" where the log says that
        there is none, and null where another event of the request may hold it.

    Returns:
      The usable events (schema `columns.EVENTS`), the unusable rows as they came with a `reason`, and how many
      queries were cut.
    """
    texts = raw.with_columns([pl.col(name).str.strip_chars() for name in _TEXTS]).with_columns(
        [pl.col(name).replace("", None) for name in _TEXTS if needs_query or name != "query"]
    )
    typed = texts.select(
        pl.col(EVENT_ID),
        parse_timestamps(raw[TIMESTAMP]).alias("timestamp_ms"),
        pl.col("request_id"),
        pl.col("user_id"),
        pl.col(EVENT_TYPE).replace_strict(_TYPE_CODES, default=None, return_dtype=pl.UInt8),
        pl.col("query"),
        pl.col("item_id"),
        parse_whole_numbers(pl.col(POSITION)).alias(POSITION),
        (pl.col("query").str.len_chars() > max_query_characters).fill_null(value=False).alias("_cut"),
        pl.lit(file_index, pl.Int32).alias(FILE),
        has_position=pl.col(POSITION).replace("", None).is_not_null(),
    )
    kind = pl.col(EVENT_TYPE)
    problems: list[tuple[pl.Expr, str]] = [
        (pl.col(EVENT_ID).is_null(), "missing_event_id"),
        (pl.col("timestamp_ms").is_null(), "bad_timestamp"),
        (~pl.col("timestamp_ms").is_between(EARLIEST_MS, LATEST_MS), "timestamp_out_of_range"),
        (kind.is_null(), "unknown_event_type"),
        (kind.is_in([SEARCH, IMPRESSION]) & pl.col("request_id").is_null(), "missing_request_id"),
        (pl.col("user_id").is_null() & pl.col("request_id").is_null(), "missing_user_and_request"),
        ((kind != SEARCH) & pl.col("item_id").is_null(), "missing_item_id"),
        ((kind == SEARCH) & pl.col("query").is_null() & needs_query, "empty_query"),
        (pl.col("has_position") & (pl.col(POSITION).fill_null(-1) < 0), "bad_position"),
    ]
    reasons = first_problem(typed, problems)
    good = typed if reasons is None else typed.filter(reasons.is_null())
    cut = int(good["_cut"].sum())
    if cut:
        good = good.with_columns(pl.col("query").str.slice(0, max_query_characters).str.strip_chars())
    bad = raw.clear() if reasons is None else raw.filter(reasons.is_not_null())
    bad_reasons = pl.Series([], dtype=pl.String) if reasons is None else reasons.drop_nulls()
    return (
        good.select(EVENTS.names()),
        bad.select(EVENT_COLUMNS).with_columns(bad_reasons.alias("reason")),
        cut,
    )


def parse_whole_numbers(texts: pl.Expr) -> pl.Expr:
    """Int32 of texts such as `3` or, as data frames write it, `3.0`; null for anything else."""
    return texts.str.strip_suffix(".0").cast(pl.Int32, strict=False)


def first_problem(rows: pl.DataFrame, problems: list[tuple[pl.Expr, str]]) -> pl.Series | None:
    """The reason of the first of `problems` that each row has, null for a good row; None if all are good."""
    flags = rows.select([problem.fill_null(value=False).alias(reason) for problem, reason in problems])
    if not any(flags.select(pl.all().any()).row(0)):
        return None
    chain = pl.coalesce([pl.when(pl.col(reason)).then(pl.lit(reason)) for _, reason in problems])
    return flags.select(chain.alias("reason"))["reason"]
