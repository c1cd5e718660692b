"""Event ids over the whole log: events are joined by request, so two that have one id seldom meet there.

Every event leaves hashes of its id, its request and what happened (`columns.EVENT_IDS`), partitioned by id. Polars'
hashes are fast, and the same on all machines that run the same version, as the workers of one job do.
"""

from dataclasses import dataclass, field

import polars as pl

from components.example_gen.columns import EVENT_ID, EVENT_IDS, EVENT_TYPE, FILE, SEARCH

# An id at two places, and where: of an event that is delivered again without its request.
_DELIVERED_AGAIN = pl.Schema({"id": pl.UInt64(), "what": pl.UInt32()})
_EXAMPLES = 3


@dataclass(frozen=True)
class IdCheck:
    """The result of `check_ids`.

    `again` has the id and the deed of each event that was delivered both with its request and without; `reused` counts
    the events that have the id of another one, and `pairs` are the numbers of some files that share ids.
    """

    again: pl.DataFrame
    reused: int = 0
    pairs: list[tuple[int, int]] = field(default_factory=list)


def event_ids(events: pl.DataFrame) -> pl.DataFrame:
    """What `check_ids` needs to know of events (schema `columns.EVENTS`): schema `columns.EVENT_IDS`."""
    request = pl.col("request_id")
    return events.select(
        pl.col(EVENT_ID).hash(1).alias("id"),
        pl.when(request.is_not_null()).then(_short(request.hash(2))).alias("request"),
        what=_what(),
        file=pl.col(FILE),
    )


def check_ids(ids: pl.DataFrame) -> IdCheck:
    """Finds the ids that are of several events, and the events that were delivered with and without their request.

    Args:
      ids: schema `columns.EVENT_IDS`, all rows of each id.
    """
    repeated = ids.filter(ids["id"].is_duplicated())
    places = repeated.group_by("id", "request", "what").agg(first=pl.col(FILE).min(), last=pl.col(FILE).max())
    lost, known = places.filter(pl.col("request").is_null()), places.filter(pl.col("request").is_not_null())
    again = lost.join(known, on=["id", "what"], how="semi").select("id", "what").sort("id", "what")
    events = pl.concat([known, lost.join(known, on=["id", "what"], how="anti")])
    shared = (
        events.group_by("id")
        .agg(pl.len().alias("events"), pl.col("first").min(), pl.col("last").max())
        .filter(pl.col("events") > 1)
    )
    reused = int(shared["events"].sum()) - len(shared)
    pairs = shared.select("first", "last").unique().sort("first", "last").head(_EXAMPLES).rows()
    return IdCheck(again, reused, pairs)


def drop_delivered_again(events: pl.DataFrame, again: pl.DataFrame) -> pl.DataFrame:
    """Events without those rows that name no request and are in `again`, as `IdCheck` has them."""
    if again.is_empty():
        return events
    hashed = events.with_columns(pl.col(EVENT_ID).hash(1).alias("id"), what=_what())
    lost = pl.col("request_id").is_null()
    kept = hashed.filter(lost).join(again, on=["id", "what"], how="anti", maintain_order="left")
    return pl.concat([hashed.filter(~lost), kept]).select(events.columns)


def no_ids() -> pl.DataFrame:
    """`IdCheck.again` where nothing is."""
    return _DELIVERED_AGAIN.to_frame()


def _what() -> pl.Expr:
    """What tells two events of one request and id apart."""
    asked = pl.when(pl.col(EVENT_TYPE) == SEARCH).then("query").otherwise("item_id")
    return _short(asked.hash(3) ^ pl.col(EVENT_TYPE).hash(4))


def _short(number: pl.Expr) -> pl.Expr:
    return (number & 0xFFFF_FFFF).cast(EVENT_IDS["what"])
