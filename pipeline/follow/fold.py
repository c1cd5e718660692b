"""Folds new events into what is known of their requests, by the join of ingestion.

A request is a set of deliveries; what a user did follows of the whole set, whatever came first and however often. So
new deliveries change user states by the difference between what follows with them and without.
"""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import orjson
import polars as pl

from components.example_gen.columns import (
    CLIENT_ID,
    EVENT_ID,
    EVENT_TYPE,
    EVENTS,
    FILE,
    IMPRESSION,
    POSITION,
    SEARCH,
    UBI_EVENTS,
    USER_ID,
)
from components.example_gen.join import join_requests
from components.example_gen.ubi_requests import name_users
from schema.features import EventType
from serving.user_state.redis_writer import RequestChange, UserChange
from souk_client.user_state_layout import pack_event

# What is kept of a delivery.
_ROW: Final = (EVENT_ID, "timestamp_ms", USER_ID, EVENT_TYPE, "query", "item_id", CLIENT_ID)
_OF_REQUEST, _ALONE = b"souk:request:", b"souk:event:"
_NEVER: Final = 2**62
# Between the id of an event and the number of its request, so that events sort as by their ids alone.
_MARK: Final = "\x00"

# (user, packed member) -> epoch milliseconds.
Entries = dict[tuple[str, bytes], int]


def rows_by_request(events: pl.DataFrame) -> dict[bytes, list[bytes]]:
    """The deliveries of each request, packed; an event that names no request is by itself.

    Of the impressions of a request only the earliest of each user are kept, since nothing else of them counts.

    Args:
      events: schema `columns.UBI_EVENTS`.
    """
    shown = events[EVENT_TYPE] == IMPRESSION
    if shown.any():
        ordered = events.filter(shown).sort("timestamp_ms", EVENT_ID)
        whose = ["request_id", CLIENT_ID, USER_ID]
        first = ordered.unique(whose, keep="first", maintain_order=True)
        asked = ordered.filter(pl.col("query").is_not_null()).unique(whose, keep="first", maintain_order=True)
        events = pl.concat([events.filter(~shown), first, asked])
    found: dict[bytes, list[bytes]] = {}
    dumps = orjson.dumps
    for request, *row in events.select("request_id", *_ROW).iter_rows():
        key = _ALONE + row[0].encode() if request is None else _OF_REQUEST + request.encode()
        found.setdefault(key, []).append(dumps(row))
    return found


def changes(
    known: Mapping[bytes, AbstractSet[bytes]], new: Mapping[bytes, Collection[bytes]], items: AbstractSet[str] | None
) -> list[RequestChange]:
    """What new deliveries change; nothing for those that are known.

    Args:
      known: the rows of each request of `new` so far.
      new: rows by request.
      items: the ids in the catalog; None takes every item to be in it.
    """
    keys: list[bytes] = []
    added: list[list[bytes]] = []
    for key, rows in new.items():
        unknown = [row for row in dict.fromkeys(rows) if row not in known[key]]
        if unknown:
            keys.append(key)
            added.append(unknown)
    if not keys:
        return []
    before = [known[key] for key in keys]
    after = [old | set(more) for old, more in zip(before, added, strict=True)]
    followed = _entries(keys, before, after, items)
    return [
        RequestChange(key, len(old), rows, _difference(followed[f"o{number}"], followed[f"n{number}"]))
        for number, (key, old, rows) in enumerate(zip(keys, before, added, strict=True))
    ]


def _entries(
    keys: Sequence[bytes],
    before: Sequence[AbstractSet[bytes]],
    after: Sequence[AbstractSet[bytes]],
    items: AbstractSet[str] | None,
) -> dict[str, Entries]:
    """What follows of the rows of each request before ("o<number>") and after ("n<number>")."""
    columns: dict[str, list[Any]] = {name: [] for name in UBI_EVENTS}
    found: dict[str, Entries] = {}
    requests: dict[str, str | None] = {}
    for version, all_rows in (("o", before), ("n", after)):
        for number, (key, rows) in enumerate(zip(keys, all_rows, strict=True)):
            name = f"{version}{number}"
            found[name] = {}
            request = key.removeprefix(_OF_REQUEST).decode() if key.startswith(_OF_REQUEST) else None
            requests[name] = request
            for row in rows:
                values = orjson.loads(row)
                values[0] += _MARK + name
                for column, value in zip(_ROW, values, strict=True):
                    columns[column].append(value)
                columns["request_id"].append(None if request is None else name)
    size = len(columns[EVENT_ID])
    columns[POSITION] = columns[FILE] = [None] * size
    events = pl.DataFrame(columns, schema=UBI_EVENTS)
    events = name_users(events) if events[CLIENT_ID].count() else events.select(EVENTS.names())
    there = events["item_id"].drop_nulls().unique().sort()
    if items is not None:
        there = pl.Series("item_id", [item for item in there if item in items], dtype=pl.String)
    joined = join_requests(events, there, _NEVER)
    asked = joined.requests.filter(pl.col(USER_ID).is_not_null())
    for name, user, time, query in asked.select("request_id", USER_ID, "timestamp_ms", "query").iter_rows():
        member = pack_event(EventType.SEARCH, requests[name] or "", query, with_request=True)
        found[name][user, member] = time
    for user, time, event_id, kind, item in joined.interactions.iter_rows():
        event_id, _, name = event_id.rpartition(_MARK)
        member = pack_event(EventType.ALL[kind], event_id, item, with_request=requests[name] is not None)
        found[name][user, member] = time
    return found


def _difference(before: Entries, after: Entries) -> dict[str, UserChange]:
    users: dict[str, UserChange] = {}
    for user, member in before.keys() - after.keys():
        users.setdefault(user, UserChange()).removed.append(member)
    for (user, member), time in after.items():
        if before.get((user, member)) != time:
            users.setdefault(user, UserChange()).added.append((time, member))
    return users


def unknown_items(events: pl.DataFrame, items: AbstractSet[str] | None) -> pl.DataFrame:
    """The events of items that the catalog does not have."""
    if items is None:
        return events.clear()
    there = events["item_id"].drop_nulls().unique()
    unknown = [item for item in there if item not in items]
    return events.filter((pl.col(EVENT_TYPE) != SEARCH) & pl.col("item_id").is_in(unknown))
