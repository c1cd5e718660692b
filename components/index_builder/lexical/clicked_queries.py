"""The queries that led to an item, as a field in which other queries are found.

What people searched for when they took an item is the best description of it that a log has.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.index_builder.lexical.requests import read_chunks

# Of an item, the queries that most requests led to it with.
_MOST_QUERIES: Final = 64
# A query counts as often as requests led to the item with it, up to this.
_MOST_REPEATS: Final = 3

_CLICKS: Final = pl.Schema({"item": pl.Int64(), "query": pl.String(), "in_validation": pl.Boolean()})


def read_clicks(pattern: str, validation_share: float, item_ids: NDArray[np.bytes_]) -> pl.DataFrame:
    """Every click or better of a log: `item`, its place in `item_ids`, `query`, and whether it is `in_validation`.

    Args:
      pattern: glob of raw search examples, gzip TFRecords.
      validation_share: of the requests that the trainer kept out.
      item_ids: of the items that can be found, ascending.
    """
    frames = [_CLICKS.to_frame()]
    for chunk in read_chunks(pattern, validation_share):
        items, request = chunk.reached.values.numpy(), chunk.reached.value_rowids().numpy()
        place = np.minimum(np.searchsorted(item_ids, items.astype(item_ids.dtype)), len(item_ids) - 1)
        # An id that is longer than all known ones was cut to their length.
        known = item_ids[place].astype(object) == items
        frames.append(
            pl.DataFrame(
                {
                    "item": place[known],
                    "query": pl.Series(chunk.queries.numpy()[request[known]].tolist(), dtype=pl.Binary),
                    "in_validation": chunk.in_validation.numpy()[request[known]],
                },
                schema_overrides={"item": pl.Int64},
            ).with_columns(pl.col("query").cast(pl.String, strict=False).str.to_lowercase().str.strip_chars())
        )
    return pl.concat(frames).filter(pl.col("query").is_not_null() & (pl.col("query") != ""))


def clicked_queries(clicks: pl.DataFrame, items: int) -> list[bytes]:
    """The queries that led to each item, a line for each, empty for an item without: [items] of bytes.

    Args:
      clicks: some of `read_clicks`.
      items: how many there are.
    """
    counted = (
        clicks.group_by("item", "query")
        .len("requests")
        .sort("item", "requests", "query", descending=[False, True, False])
    )
    lines = pl.col("query").repeat_by(pl.min_horizontal("requests", _MOST_REPEATS)).list.join("\n")
    texts = counted.group_by("item").agg(lines.head(_MOST_QUERIES).str.join("\n"))
    found = [b""] * items
    for item, text in texts.iter_rows():
        found[item] = text.encode()
    return found
