"""Rows that cannot be used: why, how many, and the dead-letter files that keep them."""

from collections.abc import Iterable
from typing import Final

import orjson
import polars as pl

from components.example_gen.files import create

# Malformed rows; they count towards `max_bad_fraction`.
BAD_ROW_REASONS: Final = {
    "not_json": "the line is not a JSON object",
    "not_utf8": "the row holds bytes that are not UTF-8",
    "wrong_number_of_values": "the line has more or fewer values than the header has columns",
    "missing_event_id": "event_id is empty; without it deliveries of one event cannot be told apart",
    "bad_timestamp": "timestamp is neither RFC 3339 nor epoch milliseconds",
    "timestamp_out_of_range": "timestamp lies before 2000 or after 2100; are these seconds, not milliseconds?",
    "unknown_event_type": "event_type is none of search, impression, click, add_to_cart, order",
    "missing_request_id": "a search or an impression has no request_id",
    "missing_user_and_request": "an event has neither user_id nor request_id, so it belongs to nobody",
    "missing_item_id": "item_id is empty",
    "empty_query": "the query of a search is empty",
    "bad_position": "position is not a whole number from 0 up",
    "missing_title": "an item has no title",
    "bad_price": "price is not a number",
    "negative_price": "price is negative",
    "missing_user_id": "a profile has no user_id",
}
# Well-formed rows that match nothing; they count towards `max_unmatched_fraction`.
UNMATCHED_REASONS: Final = {
    "unknown_item": "the item is not in the catalog",
    "request_without_query": "no event of the request holds its query",
}
# Repeated rows of the catalog or the profiles: one is kept, the others are told of but fail nothing.
REPEATED_REASONS: Final = {
    "duplicate_item": "the catalog has this item_id more than once; one row was kept",
    "duplicate_user": "the profiles have this user_id more than once; one row was kept",
}
# Rows that are in order and that nothing can be learned from; they are counted alone, and fail nothing.
SKIPPED: Final = {
    "searches_without_text": "nothing was typed, as on a browse page; they give no example",
    "of_searches_without_text": "what was shown or done on such pages gives no label; what was done stays behavior",
    "ignored_actions": "UBI actions that are none of Souk's events; see `ingest.data.ubi_actions`",
}
EXPLANATIONS: Final = BAD_ROW_REASONS | UNMATCHED_REASONS | REPEATED_REASONS | SKIPPED

REJECTS: Final = pl.Schema({"reason": pl.String(), "file": pl.String(), "row": pl.String()})
EXAMPLES_SHOWN: Final = 3


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
