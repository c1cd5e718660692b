"""Validates rows: text columns become typed rows; rows that cannot be used go to dead-letter files with a reason."""

from collections.abc import Iterable
from typing import Final

import orjson
import polars as pl

from components.example_gen.clean import FLAGS, PROBLEMS, cleaned
from components.example_gen.columns import (
    CLIENT_ID,
    EVENT_COLUMNS,
    EVENT_ID,
    EVENT_TYPE,
    EVENTS,
    FILE,
    IMPRESSION,
    POSITION,
    SEARCH,
    TIMESTAMP,
    UBI_EVENTS,
    USER_ID,
)
from components.example_gen.files import create
from components.example_gen.times import out_of_range, parse_timestamps
from schema.features import EventType

# Malformed rows; they count towards `max_bad_fraction`.
BAD_ROW_REASONS: Final = {
    "not_json": "the line is not a JSON object",
    "not_utf8": "the row holds bytes that are not UTF-8",
    "wrong_number_of_values": "the line has more or fewer values than the header has columns",
    "several_values": "a column that takes one value holds a list of several, or an object",
    "rounded_id": "an id is a number that has lost its last digits, as spreadsheets do to long ones; write ids as text",
    "missing_event_id": "event_id is empty; without it deliveries of one event cannot be told apart",
    "bad_timestamp": "timestamp is neither RFC 3339 nor epoch milliseconds",
    "timestamp_in_seconds": "timestamp is epoch seconds by its size; milliseconds or RFC 3339 are wanted",
    "timestamp_in_microseconds": "timestamp is epoch microseconds by its size; milliseconds or RFC 3339 are wanted",
    "timestamp_in_nanoseconds": "timestamp is epoch nanoseconds by its size; milliseconds or RFC 3339 are wanted",
    "timestamp_out_of_range": "timestamp lies before 2000 or after 2100",
    "unknown_event_type": "event_type is none of search, impression, click, add_to_cart, order",
    "missing_request_id": "a search or an impression has no request_id",
    "missing_user_and_request": "an event has neither user_id nor request_id, so it belongs to nobody",
    "missing_item_id": "item_id is empty",
    "empty_query": "the query of a search is empty",
    "bad_position": "position is not a whole number from 0 up",
    "missing_title": "an item has no title",
    "bad_price": "price is not a number, such as 1299.90; currencies and thousands separators are not read",
    "negative_price": "price is negative",
    "bad_available": "available is neither true nor false",
    "bad_category": "category is an object or a list that gives no names",
    "missing_user_id": "a profile has no user_id",
}
# Well-formed rows that match nothing; they count towards `max_unmatched_fraction`.
UNMATCHED_REASONS: Final = {
    "unknown_item": "the item is not in the catalog",
    "request_without_query": "no event of the request holds its query",
}
# Repeated rows of the catalog or the profiles: one is kept, the others are counted and fail nothing.
REPEATED_REASONS: Final = {
    "duplicate_item": "the catalog has this item_id more than once; one row was kept",
    "duplicate_user": "the profiles have this user_id more than once; one row was kept",
}
# Rows that are in order and that nothing can be learned from; they are counted alone, and fail nothing.
SKIPPED: Final = {
    "searches_without_text": "nothing was typed, as on a browse page; they give no example",
    "of_searches_without_text": "what was shown or done on such pages gives no label; what was done stays behavior",
    "without_query_id": "UBI impressions, and searches without text, that have no query_id; they belong to no search",
    "ignored_actions": "UBI actions that are none of Souk's events; see `ingest.data.ubi_actions`",
}
# What else is told. Nothing of it fails a run but `reused_event_ids`, whose limit is `max_bad_fraction`.
TOLD: Final = {
    "duplicates": "further deliveries of an event; of what they say, what is there counts",
    "reused_event_ids": "events that have the event_id of another event: do ids restart in every file? all are used",
    "after_the_end": "dated long after all others, as by a wrong clock; they give no example",
    "profiles_without_events": "profiles whose user_id is no user of the log",
}
# What became of the further columns of the catalog; the ends of the counters `catalog.<feature>.<what>`.
ATTRIBUTES: Final = {
    "items": "items that have a value",
    "cut": "texts longer than `ingest.max_text_characters`",
    "objects": "objects where values are wanted; name one of their fields",
    "not_a_number": "values that are no finite number; the items are kept without",
}
# Of examples, by the end of the counter's name.
CLICKED: Final = "with_click"
LABELS: Final = {CLICKED: "led to a click, a cart or an order: what is learned from and measured on"}
EXPLANATIONS: Final = BAD_ROW_REASONS | UNMATCHED_REASONS | REPEATED_REASONS | SKIPPED | TOLD | ATTRIBUTES | LABELS

REJECTS: Final = pl.Schema({"reason": pl.String(), "file": pl.String(), "row": pl.String()})
EXAMPLES_SHOWN: Final = 3
_TYPE_CODES = {name: code for code, name in enumerate(EventType.ALL)}
_IDS = (EVENT_ID, "request_id", USER_ID, "item_id")


def validate_events(
    raw: pl.DataFrame, file_index: int, max_query_characters: int, needs_query: bool = True
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Typed events out of text columns.

    Args:
      raw: the columns `EVENT_COLUMNS`, all text or null; and for UBI the client.
      file_index: goes into the column `file`.
      max_query_characters: longer queries are cut.
      needs_query: whether a search without a query is unusable. If not, its query stays "" where the log says that
        there is none, and null where another event of the request may hold it.

    Returns:
      The usable events (schema `columns.EVENTS`, or `columns.UBI_EVENTS` if the client is given), the unusable rows as
      they came with a `reason`, and how many queries were cut.
    """
    queries = ("query",) if needs_query else ()
    ids = (*_IDS, CLIENT_ID) if CLIENT_ID in raw.columns else _IDS
    values = {name: parse(raw[name]) for name, parse in _PARSERS.items()}
    # Where each text has its value as it is, there is nothing to clean.
    unclean = tuple(name for name, parsed in values.items() if parsed.null_count() > raw[name].null_count())
    texts = cleaned(raw, ids, queries=queries, numbers=unclean)
    values |= {name: _PARSERS[name](texts[name]) for name in unclean}
    positions = (texts if POSITION in unclean else raw)[POSITION]
    if not needs_query:
        texts = texts.with_columns(raw["query"].str.strip_chars())
    typed = texts.select(
        pl.col(EVENT_ID),
        values[TIMESTAMP].alias("timestamp_ms"),
        pl.col("request_id"),
        pl.col("user_id"),
        values[EVENT_TYPE],
        pl.col("query"),
        pl.col("item_id"),
        values[POSITION],
        (pl.col("query").str.len_chars() > max_query_characters).fill_null(value=False).alias("_cut"),
        pl.lit(file_index, pl.Int32).alias(FILE),
        pl.col(FLAGS),
        *([CLIENT_ID] if CLIENT_ID in ids else []),
        has_position=positions.is_not_null(),
    )
    kind = pl.col(EVENT_TYPE)
    problems: list[tuple[pl.Expr, str]] = [
        *PROBLEMS,
        (pl.col(EVENT_ID).is_null(), "missing_event_id"),
        (pl.col("timestamp_ms").is_null(), "bad_timestamp"),
        *out_of_range(pl.col("timestamp_ms")),
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
        good.select((UBI_EVENTS if CLIENT_ID in ids else EVENTS).names()),
        bad.select(EVENT_COLUMNS).with_columns(bad_reasons.alias("reason")),
        cut,
    )


def validate_users(raw: pl.DataFrame, columns: tuple[str, ...], file_index: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The usable profiles (user_id, `columns`, file), and the unusable rows with a `reason`."""
    typed = cleaned(raw, (USER_ID,), names=columns).with_columns(file=pl.lit(file_index, pl.Int32))
    reasons = first_problem(typed, [*PROBLEMS, (pl.col(USER_ID).is_null(), "missing_user_id")])
    good = typed.drop(FLAGS)
    if reasons is None:
        return good, raw.clear().with_columns(reason=pl.lit(""))
    return good.filter(reasons.is_null()), raw.filter(reasons.is_not_null()).with_columns(reason=reasons.drop_nulls())


def one_row_per_user(profiles: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Profiles sorted by user, and the repeated rows with a `reason`. The least by content is kept."""
    order = profiles.sort(profiles.columns)
    first = order[USER_ID].is_first_distinct()
    return order.filter(first), order.filter(~first).with_columns(reason=pl.lit("duplicate_user"))


def parse_whole_numbers(texts: pl.Series) -> pl.Series:
    """Int32 of texts such as `3` or, as data frames and decimals write it, `3.0`; null for anything else."""
    found = texts.cast(pl.Int32, strict=False)
    if found.null_count() == texts.null_count():
        return found
    return texts.str.replace(r"\.0+$", "").cast(pl.Int32, strict=False)


def _parse_event_types(texts: pl.Series) -> pl.Series:
    return texts.replace_strict(_TYPE_CODES, default=None, return_dtype=pl.UInt8)


_PARSERS: Final = {
    TIMESTAMP: parse_timestamps,
    EVENT_TYPE: _parse_event_types,
    POSITION: parse_whole_numbers,
}


def first_problem(rows: pl.DataFrame, problems: list[tuple[pl.Expr, str]]) -> pl.Series | None:
    """The reason of the first of `problems` that each row has, null for a good row; None if all are good."""
    flags = rows.select([problem.fill_null(value=False).alias(reason) for problem, reason in problems])
    if not any(flags.select(pl.all().any()).row(0)):
        return None
    chain = pl.coalesce([pl.when(pl.col(reason)).then(pl.lit(reason)) for _, reason in problems])
    return flags.select(chain.alias("reason"))["reason"]


def rejected(rows: pl.DataFrame, file: str | pl.Expr) -> pl.DataFrame:
    """Dead letters of `rows`, which carry a `reason`; the row itself is kept as JSON.

    Args:
      rows: the input's columns and `reason`.
      file: the file that they came from, or an expression for it.
    """
    if rows.is_empty():
        return REJECTS.to_frame()
    kept = [name for name in rows.columns if name not in ("reason", "file")]
    return rows.select(
        pl.col("reason"),
        (pl.lit(file) if isinstance(file, str) else file).cast(pl.String).alias("file"),
        pl.struct(kept).struct.json_encode().alias("row"),
    )


def unreadable(rejects: Iterable[tuple[str, str]], file: str) -> pl.DataFrame:
    """Dead letters of what a reader could not make a row of, as (reason, raw text)."""
    rows = [(reason, file, orjson.dumps(text).decode()) for reason, text in rejects]
    return pl.DataFrame(rows, schema=REJECTS, orient="row")


def counts(rejects: pl.DataFrame, what: str) -> dict[str, int]:
    """Counters `<what>.dropped.<reason>` of `rejects`."""
    return {f"{what}.dropped.{reason}": n for reason, n in rejects["reason"].value_counts().iter_rows()}


def examples(rejects: pl.DataFrame) -> dict[str, list[str]]:
    """The first few rejects of each reason in the order of their text, as `file: row`."""
    shown = rejects.select("reason", pl.concat_str([pl.col("file"), pl.col("row")], separator=": ").alias("text"))
    return {
        str(reason[0]): rows["text"].bottom_k(EXAMPLES_SHOWN).sort().to_list()
        for reason, rows in shown.group_by("reason")
    }


def write_dead_letters(rejects: pl.DataFrame, path: str) -> None:
    """Writes `rejects` as JSON lines with `reason`, `explanation`, `file` and the raw `row`."""
    if rejects.is_empty():
        return
    with create(path) as stream:
        for reason, file, row in rejects.iter_rows():
            line = {"reason": reason, "explanation": EXPLANATIONS[reason], "file": file, "row": orjson.Fragment(row)}
            stream.write(orjson.dumps(line) + b"\n")
