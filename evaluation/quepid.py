"""Reads the judgments that Quepid exports as CSV.

A case's ratings have the columns `query,docid,rating`. A book has `query,docid` and a column of ratings for each
rater, whose mean counts here. Rows without a rating are those that nobody has judged yet.
"""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schema.settings import InputError

_QUERY_KEYS: Final = ("query", "query_text")
_ITEM_KEYS: Final = ("docid", "doc_id", "item_id", "product_id")
_RATING_KEYS: Final = ("rating", "grade")


def is_quepid(first_line: str) -> bool:
    """Whether a file's first line is the header of such an export."""
    names = [name.strip().lower() for name in first_line.split(",")]
    return bool(set(names) & set(_QUERY_KEYS) and set(names) & set(_ITEM_KEYS))


def quepid_rows(path: Path, text: str) -> Iterator[tuple[int, str, str, float]]:
    """Line number, query, item id and rating of each judged row.

    Raises:
      InputError: a column is missing, a row has an item without a query, or a rating is no number; with its line.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(reader, [])]
    lowered = [name.lower() for name in header]
    query_at, item_at = (_place(path, header, lowered, keys) for keys in (_QUERY_KEYS, _ITEM_KEYS))
    rating_at = next((lowered.index(key) for key in _RATING_KEYS if key in lowered), None)
    raters = [at for at in range(len(header)) if at not in (query_at, item_at)] if rating_at is None else [rating_at]
    if not raters:
        raise InputError(f"{path} has no column rating, nor one of a rater; it has {', '.join(header)}")
    try:
        for row in reader:
            # Quepid puts a blank before what a spreadsheet would take for a formula.
            cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
            given = [cells[at] for at in raters if cells[at]]
            if not given or not cells[item_at]:
                continue
            if not cells[query_at]:
                raise InputError(f"{path}, line {reader.line_num}: item {cells[item_at]!r} is rated for no query")
            ratings = [_rating(path, reader.line_num, cell) for cell in given]
            yield reader.line_num, cells[query_at], cells[item_at], sum(ratings) / len(ratings)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num} is not CSV ({error})") from None


def _place(path: Path, header: list[str], lowered: list[str], keys: tuple[str, ...]) -> int:
    for key in keys:
        if key in lowered:
            return lowered.index(key)
    raise InputError(
        f"{path} has no column {keys[0]}; its first line is {', '.join(header)}. Quepid's export begins with "
        "query,docid,rating"
    )


def _rating(path: Path, number: int, cell: str) -> float:
    try:
        rating = float(cell)
    except ValueError:
        rating = math.nan
    if not math.isfinite(rating):
        raise InputError(f"{path}, line {number}: the rating is {cell!r}; give a number, or leave it empty")
    return rating
