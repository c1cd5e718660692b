"""Live events in Souk's columns or UBI, read and validated as ingestion does."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson
import polars as pl

from components.example_gen import validate
from components.example_gen.columns import (
    CLIENT_ID,
    EVENT_COLUMNS,
    EVENT_ID,
    EVENT_TYPE,
    EVENTS,
    UBI_EVENTS,
    USER_ID,
    RecordBatch,
)
from components.example_gen.inputs import Lines, Reading, read_rows
from components.example_gen.ubi import event_type_of, read_events, read_queries
from components.example_gen.ubi_documents import EVENT_FIELDS
from schema.features import EventType
from souk_client.user_state_layout import MAX_ID_BYTES

EventsFormat = Literal["souk", "ubi"]

# Why events that ingestion would take do not go into user states.
REASONS: Final = {
    "id_too_long": f"an id has more than {MAX_ID_BYTES} bytes; user states have no room for it",
    "ahead_of_clock": "timestamp lies ahead of the clock of Redis by more than --max-ahead",
    "request_too_long": "its request has more events already than are joined",
}
EXPLANATIONS: Final = validate.EXPLANATIONS | REASONS
_BOUNDED_IDS: Final = ("request_id", USER_ID, "item_id")
# Of a longer event id the head and a digest; only UBI's, which are made of all that an event says, are so long.
_EVENT_ID_BYTES: Final = 255
_HEAD_CHARACTERS: Final = 40
_OF_UBI: Final = frozenset((*EVENT_FIELDS, "_source", "index", "create")) - {"timestamp", USER_ID, "rank", "object_id"}


@dataclass(frozen=True)
class Format:
    """How events are written, as `ingest.data` has it; `kind` is None to find out by the first events."""

    kind: EventsFormat | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    ubi_actions: Mapping[str, str] = field(default_factory=dict)
    ubi_user: str = USER_ID
    max_query_characters: int = 512


@dataclass(frozen=True)
class ReadEvents:
    """Usable events, the schema `columns.UBI_EVENTS`; dead letters, `validate.REJECTS`; how many no action was for."""

    events: pl.DataFrame
    rejects: pl.DataFrame
    ignored: int = 0


class EventReader:
    """Reads JSON lines of events.

    Args:
      form: how they are written.
      source: names where they come from, in dead letters.
    """

    def __init__(self, form: Format, source: str) -> None:
        self._form = form
        self._kind = form.kind
        self._source = source
        self._reading = Reading("events", EVENT_COLUMNS, names=form.names)

    def read(self, lines: Iterable[bytes]) -> ReadEvents:
        """The events in whole lines of JSON."""
        # A line end within an event, as a document printed over many lines has, is white space.
        data = b"\n".join(line.replace(b"\n", b" ") for line in lines) + b"\n"
        self._kind = self._kind or _kind_of(data, self._form.names.get(EVENT_TYPE, EVENT_TYPE))
        source = Lines(data, self._source)
        found = self._read_ubi(source) if self._kind == "ubi" else self._read_souk(source)
        return self._bounded(found)

    def _read_souk(self, source: Lines) -> ReadEvents:
        (batch,) = read_rows(source, self._reading)
        good, rejects = self._validated(batch, needs_query=True)
        return ReadEvents(good.with_columns(pl.lit(None, pl.String).alias(CLIENT_ID)), rejects)

    def _read_ubi(self, source: Lines) -> ReadEvents:
        good, rejects, ignored = [], [], 0
        for batch in read_queries(source, self._form.ubi_user):
            events, letters = self._validated(RecordBatch(batch.frame), needs_query=False)
            good.append(events)
            rejects.append(letters)
        for batch, actions in read_events(source, self._form.ubi_actions, self._form.ubi_user):
            ignored += sum(n for action, n in actions.items() if event_type_of(action, self._form.ubi_actions) is None)
            of_search = pl.col(EVENT_TYPE).is_in((EventType.SEARCH, EventType.IMPRESSION)).fill_null(value=False)
            lost = pl.col("request_id").is_null() & of_search
            events, letters = self._validated(RecordBatch(batch.frame.filter(~lost), batch.rejects), needs_query=False)
            good.append(events)
            rejects.append(letters)
        return ReadEvents(pl.concat(good), pl.concat(rejects), ignored)

    def _validated(self, batch: RecordBatch, needs_query: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
        good, bad, _ = validate.validate_events(batch.frame, 0, self._form.max_query_characters, needs_query)
        letters = [validate.unreadable(batch.rejects, self._source), validate.rejected(bad, self._source)]
        return good, pl.concat(letters)

    def _bounded(self, found: ReadEvents) -> ReadEvents:
        events = found.events.select(UBI_EVENTS.names())
        sizes = events.select(pl.col(EVENT_ID, *_BOUNDED_IDS).str.len_bytes().max().fill_null(0)).row(0, named=True)
        if sizes[EVENT_ID] > _EVENT_ID_BYTES:
            events = events.with_columns(pl.Series(EVENT_ID, list(map(_short, events[EVENT_ID]))))
        if max(sizes[name] for name in _BOUNDED_IDS) <= MAX_ID_BYTES:
            return ReadEvents(events, found.rejects, found.ignored)
        long = pl.any_horizontal([pl.col(name).str.len_bytes() > MAX_ID_BYTES for name in _BOUNDED_IDS])
        long = long.fill_null(value=False)
        letters = letters_of(events.filter(long), "id_too_long", self._source)
        return ReadEvents(events.filter(~long), pl.concat([found.rejects, letters]), found.ignored)


def letters_of(events: pl.DataFrame, reason: str, source: str) -> pl.DataFrame:
    """Dead letters of typed events."""
    names = dict(enumerate(EventType.ALL))
    types = pl.col(EVENT_TYPE).cast(pl.Int64).replace_strict(names, return_dtype=pl.String)
    rows = events.select(EVENTS.names()).with_columns(types, pl.lit(reason).alias("reason"))
    return validate.rejected(rows.rename({"timestamp_ms": "timestamp"}), source)


def _short(event_id: str) -> str:
    if len(event_id.encode()) <= _EVENT_ID_BYTES:
        return event_id
    return event_id[:_HEAD_CHARACTERS] + hashlib.blake2b(event_id.encode(), digest_size=16).hexdigest()


def _kind_of(data: bytes, type_column: str) -> EventsFormat | None:
    """What the first event that tells is written in; None if none does, and then the next are asked."""
    for line in data.splitlines():
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict):
            if type_column.split(".")[0] in row:
                return "souk"
            if _OF_UBI & row.keys():
                return "ubi"
    return None
