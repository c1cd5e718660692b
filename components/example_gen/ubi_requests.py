"""What one document of UBI does not tell, and the others of its query or of the log do."""

from collections.abc import Iterable

import polars as pl

from components.example_gen.columns import CLIENT_ID, EVENT_ID, EVENTS, FILE, POSITION, USER_ID


def name_users(events: pl.DataFrame) -> pl.DataFrame:
    """Events of UBI (schema `columns.EVENTS`) under the user whom any document of their query and client names.

    Only clients send a `user_id`, and the engine logs a search under its `client_id`: without this a search and its
    clicks would be of two users. An event that names its user and no client speaks for all clients of its query.

    Args:
      events: schema `columns.UBI_EVENTS`, all of each request; `user_id` is the client where no user is named.
    """
    is_named = pl.col(USER_ID).is_not_null() & pl.col(USER_ID).ne_missing(pl.col(CLIENT_ID))
    named = events.filter(is_named & pl.col("request_id").is_not_null()).sort("timestamp_ms", EVENT_ID, USER_ID)
    if named.is_empty():
        return events.select(EVENTS.names())
    keys = ["request_id", CLIENT_ID]
    of_client = named.unique(keys, keep="first", maintain_order=True).select(*keys, of_client=USER_ID)
    of_any = of_client.filter(pl.col(CLIENT_ID).is_null()).select("request_id", of_any="of_client")
    joined = events.join(of_client, on=keys, how="left", maintain_order="left").join(
        of_any, on="request_id", how="left", maintain_order="left"
    )
    found = pl.coalesce(pl.when(is_named).then(USER_ID), "of_client", "of_any", USER_ID)
    return joined.with_columns(found.alias(USER_ID)).select(EVENTS.names())


def count_positions(events: pl.DataFrame, first_ordinal: int, files: Iterable[int]) -> pl.DataFrame:
    """Events with positions from 1.

    Args:
      events: schema `columns.EVENTS`.
      first_ordinal: the ordinal of the first item of a page.
      files: the numbers of the files whose positions are ordinals; other positions count from 1 already.
    """
    if first_ordinal == 1:
        return events
    is_ordinal = pl.col(FILE).is_in(list(files))
    return events.with_columns(pl.when(is_ordinal).then(pl.col(POSITION) + 1).otherwise(POSITION).alias(POSITION))


def count_ordinals(events: pl.DataFrame) -> dict[str, int]:
    """How many of the text positions there are, and how many of them are 0."""
    position = events[POSITION]
    return {"all": position.count(), "zero": int((position == "0").sum())}
