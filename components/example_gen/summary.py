"""The summary of an ingestion: counters, the log's time span, the first of the rows that could not be used."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

import orjson

from components.example_gen.attributes import CUT, ITEMS, NOT_A_NUMBER, OBJECTS
from components.example_gen.config import IngestConfig
from components.example_gen.labels import unlabeled
from components.example_gen.times import TimeSpan, TimeSplits, format_timestamp
from components.example_gen.validate import (
    BAD_ROW_REASONS,
    EXAMPLES_SHOWN,
    EXPLANATIONS,
    UNMATCHED_REASONS,
)
from schema import features
from schema.settings import DataError, InputError

# Of one record batch so many action names are kept: a log that puts ids into them must not fill the memory.
NAMES_KEPT: Final = 100
_NAMES_SHOWN: Final = 20
# Searches that come so long after all others are of a wrong clock, if they are few.
GAP_DAYS: Final = 30
# What was lost of catalog columns, by the end of the counter's name.
_LOST: Final = {
    CUT: "Texts cut to `ingest.max_text_characters`",
    OBJECTS: "Catalog rows with an object where values are wanted (name one of its fields, as in `attributes.color`)",
    NOT_A_NUMBER: "Catalog rows whose value is no number, and absent",
}


@dataclass(frozen=True)
class Tally:
    """The counts of one step for one split or partition; tallies add up in any order.

    `searches` and `events` are the time spans of the usable rows, None where there are none; `shown` holds the
    first few rejected rows per reason, `errors` what went wrong with an input as a whole, `actions` how many rows had
    each action name of UBI, `ordinals` how many of its ordinals there are and are 0. `search_days` and `event_days`
    have by day since 1970 how many usable rows there are, and the last moment.
    """

    counters: dict[str, int] = field(default_factory=dict)
    searches: TimeSpan | None = None
    events: TimeSpan | None = None
    shown: dict[str, list[str]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    actions: dict[str, int] = field(default_factory=dict)
    ordinals: dict[str, int] = field(default_factory=dict)
    search_days: dict[str, tuple[int, int]] = field(default_factory=dict)
    event_days: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            _sum(self.counters, other.counters),
            _union(self.searches, other.searches),
            _union(self.events, other.events),
            {
                reason: sorted(self.shown.get(reason, []) + other.shown.get(reason, []))[:EXAMPLES_SHOWN]
                for reason in sorted(self.shown.keys() | other.shown.keys())
            },
            tuple(sorted({*self.errors, *other.errors})),
            _sum(self.actions, other.actions),
            _sum(self.ordinals, other.ordinals),
            _joined_days(self.search_days, other.search_days),
            _joined_days(self.event_days, other.event_days),
        )

    def to_json(self) -> bytes:
        """JSON that `from_json` reads."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> "Tally":
        """The tally that `to_json` wrote."""
        values = orjson.loads(data)
        values |= {name: values[name] and TimeSpan(**values[name]) for name in ("searches", "events")}
        days = ("search_days", "event_days")
        values |= {name: {day: tuple(counted) for day, counted in values[name].items()} for name in days}
        return cls(**values | {"errors": tuple(values["errors"])})


def most_frequent(counts: Mapping[str, int], most: int = NAMES_KEPT) -> dict[str, int]:
    """The names with the largest counts, at most `most` of them, the largest first and equal ones by name."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most])


@dataclass(frozen=True)
class ActionRows:
    """How many rows of a UBI dump had an action, and as which event type they were read; None if they were ignored."""

    count: int
    read_as: str | None


@dataclass(frozen=True)
class IngestSummary:
    """The result of `run_ingest`.

    `counters` are named `<input>.read`, `<input>.dropped.<reason>`, `examples.<split>` and so on; times are epoch
    milliseconds; `seconds` is how long it took. `ubi_actions` has the action names of a UBI dump, the most frequent
    first; `ubi_first_ordinal` is where its ordinals begin. `files_that_share_ids` are some pairs of files whose events
    have the same ids, `unmatched_users` some `profiles` that are of no user of the `log`, and the other way around.
    `unused_catalog_columns` are those that no setting names, `empty_catalog_features` those of named columns of
    which no item has a value.
    """

    output: str
    counters: dict[str, int]
    train_start_ms: int
    eval_start_ms: int
    end_ms: int
    seconds: float
    ubi_actions: dict[str, ActionRows] = field(default_factory=dict)
    ubi_first_ordinal: int | None = None
    files_that_share_ids: tuple[str, ...] = ()
    unmatched_users: dict[str, list[str]] = field(default_factory=dict)
    unused_catalog_columns: tuple[str, ...] = ()
    empty_catalog_features: tuple[str, ...] = ()

    def to_json(self) -> str:
        """For programs; with the `notes`."""
        return orjson.dumps({**asdict(self), "notes": self.notes()}, option=orjson.OPT_INDENT_2).decode()

    def notes(self) -> list[str]:
        """For a person: users over the cap, how UBI's actions were read, and what the catalog has beside."""
        read = [f"{_printable(name)} {rows.count:,} as {rows.read_as}" for name, rows in self._actions(ignored=False)]
        ignored = [f"{_printable(name)} {rows.count:,}" for name, rows in self._actions(ignored=True)]
        lines = [f"UBI actions read: {_listed(read)}; `ingest.data.ubi_actions` changes how."] if read else []
        if ignored:
            lines.append(
                f"UBI actions ignored: {_listed(ignored)}. Where one of them is a search, an impression, a click, an "
                "add_to_cart or an order, say so with the setting `ingest.data.ubi_actions`."
            )
        users, searches, interactions = (
            self.counters.get(f"events.{what}_over_max_user_events", 0)
            for what in ("users", "requests", "interactions")
        )
        if users:
            lines.append(
                f"Users with more events than `ingest.max_user_events`: {users:,}. Of these users the oldest "
                f"{searches:,} searches and {interactions:,} clicks, carts and orders were dropped. If one user_id "
                "stands for many people, leave it empty: searches without a user are all kept."
            )
        lines += self._log_notes() + self._user_notes() + _catalog_notes(self)
        without_labels = unlabeled(self.counters)
        return [*lines, without_labels] if without_labels else lines

    def _log_notes(self) -> list[str]:
        lines = []
        if self.ubi_first_ordinal == 0:
            lines.append(
                "UBI ordinals begin at 0 in this log, so positions are one more; `ingest.data.ubi_first_ordinal` "
                "changes it."
            )
        late = self.counters.get("events.after_the_end", 0)
        if late:
            lines.append(
                f"Events dated more than {GAP_DAYS} days after all other searches: {late:,}. Taken for dates of a "
                f"wrong clock: the log ends at {format_timestamp(self.end_ms)}, and they give no example. If they are "
                "right, set `ingest.date` to the day at whose start the log ends."
            )
        reused = self.counters.get("events.reused_event_ids", 0)
        if reused:
            lines.append(f"{reused:,} events have the event_id of another event. {_reused(self.files_that_share_ids)}")
        return lines

    def _user_notes(self) -> list[str]:
        idle = self.counters.get("users.profiles_without_events", 0)
        used = self.counters.get("users.profiles_used", 0)
        if idle <= used:
            return []
        ids = {name: ", ".join(map(repr, map(_printable, ids))) for name, ids in self.unmatched_users.items()}
        share = (
            f"{idle:,} of {idle + used:,} profiles are"
            if used
            else f"No user of the log has a profile: all {idle:,} are"
        )
        log = f", while the log has {ids['log']}" if "log" in ids else ""
        return [
            f"{share} of no user of the log. Profiles are of {ids.get('profiles', '')}{log}. If these should be the "
            "same users, check the column `user_id` of both and `ingest.data.columns.users`."
        ]

    def _actions(self, ignored: bool) -> list[tuple[str, ActionRows]]:
        return [(name, rows) for name, rows in self.ubi_actions.items() if (rows.read_as is None) == ignored]


@dataclass(frozen=True)
class CatalogSummary:
    """The result of `ingest_catalog_into`; see `IngestSummary`."""

    output: str
    counters: dict[str, int]
    seconds: float
    unused_catalog_columns: tuple[str, ...] = ()
    empty_catalog_features: tuple[str, ...] = ()

    def to_json(self) -> str:
        """For programs; with the `notes`."""
        return orjson.dumps({**asdict(self), "notes": self.notes()}, option=orjson.OPT_INDENT_2).decode()

    def notes(self) -> list[str]:
        """For a person: what the catalog has beside what was read."""
        return _catalog_notes(self)


def column_use(unused: tuple[str, ...], tally: Tally, config: IngestConfig) -> dict[str, tuple[str, ...]]:
    """What a summary says of the catalog's columns: the `unused` ones, and those named in vain."""
    named = config.data.catalog_columns.features
    empty = tuple(name for name in named if not tally.counters.get(f"catalog.{name}.{ITEMS}"))
    return {"unused_catalog_columns": unused, "empty_catalog_features": empty}


def _catalog_notes(summary: "IngestSummary | CatalogSummary") -> list[str]:
    lines = []
    if summary.unused_catalog_columns:
        lines.append(
            f"Catalog columns that are not used: {_listed([_printable(n) for n in summary.unused_catalog_columns])}. "
            "Name those that should count for search in `ingest.data.catalog_columns`, as text, categorical or numeric."
        )
    if summary.empty_catalog_features:
        lines.append(
            f"No item has a value of {', '.join(summary.empty_catalog_features)}. Check the catalog, and "
            "`ingest.data.catalog_columns`."
        )
    for what, meaning in _LOST.items():
        counted = {
            name.removeprefix("catalog.").removesuffix(f".{what}"): count
            for name, count in summary.counters.items()
            if name.startswith("catalog.") and name.endswith(f".{what}")
        }
        if counted:
            lines.append(f"{meaning}: {', '.join(f'{name} {count:,}' for name, count in counted.items())}.")
    return lines


def check(tally: Tally, config: IngestConfig) -> None:
    """Fails if an input could not be read to its end, or too much of it could not be used.

    Raises:
      InputError: an input could not be read.
      DataError: too much could not be used, with the counts per reason and three of the rows.
    """
    if tally.errors:
        raise InputError("\n".join(tally.errors))
    read = tally.counters.get("events.read", 0)
    reused = tally.counters.get("events.reused_event_ids", 0)
    if reused > config.max_bad_fraction * read:
        raise DataError(
            f"{reused:,} of {read:,} events ({reused / read:.1%}) have the event_id of another event, with other "
            f"content; max_bad_fraction allows {config.max_bad_fraction:.1%}. "
            f"{_reused(tally.shown.get('events.reused_event_ids', ()))}"
        )
    for what in ("events", "catalog", "users"):
        read = tally.counters.get(f"{what}.read", 0)
        _check(tally, what, read, BAD_ROW_REASONS, config.max_bad_fraction, "max_bad_fraction")
        _check(tally, what, read, UNMATCHED_REASONS, config.max_unmatched_fraction, "max_unmatched_fraction")


def _reused(files: Iterable[str]) -> str:
    found = "; ".join(dict.fromkeys(files))
    where = f" Ids meet in: {found}." if found else ""
    return (
        f"Do ids restart in every file or day, or have all items of a page one id?{where} Deliveries of one event are "
        "told by it, so make it unique, for example with the name of the file, the day or the item in front."
    )


def check_splits(tally: Tally, splits: TimeSplits) -> None:
    """Raises InputError where a split would hold no example."""
    for split in features.SPLITS:
        if not tally.counters.get(f"examples.{split}"):
            textless = tally.counters.get("events.searches_without_text", 0)
            pages = f"; {textless:,} searches have no text, as those of browse pages" if textless else ""
            raise InputError(
                f"the split `{split}` would be empty: no usable row is left for it. Train goes from "
                f"{format_timestamp(splits.train_start)} to {format_timestamp(splits.eval_start)}, eval from there to "
                f"{format_timestamp(splits.end)}; check train_start, eval_start and the catalog{pages}"
            )


def _check(tally: Tally, what: str, read: int, reasons: dict[str, str], limit: float, setting: str) -> None:
    dropped = {
        reason: tally.counters[f"{what}.dropped.{reason}"]
        for reason in reasons
        if tally.counters.get(f"{what}.dropped.{reason}")
    }
    total = sum(dropped.values())
    if not total or total <= limit * read:
        return
    lines = [
        f"{total:,} of {read:,} rows of `{what}` ({total / read:.1%}) cannot be used; {setting} allows {limit:.1%}."
    ]
    shown: list[str] = []
    for reason, count in sorted(dropped.items(), key=lambda pair: -pair[1]):
        lines.append(f"  {count:,} {reason}: {EXPLANATIONS[reason]}")
        shown += [f"  {reason}: {_short(text)}" for text in tally.shown.get(f"{what}.{reason}", [])]
    lines += ["For example:", *shown[:EXAMPLES_SHOWN]]
    lines.append(f"Correct the input, or raise {setting} if this much loss is expected.")
    raise DataError("\n".join(lines))


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted(one.keys() | other.keys())}


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _printable(name: str) -> str:
    return _short(name if name.isprintable() else repr(name), 60)


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _joined_days(
    one: Mapping[str, tuple[int, int]], other: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    joined = dict(one)
    for day, (rows, last) in other.items():
        known, latest = joined.get(day, (0, last))
        joined[day] = (known + rows, max(latest, last))
    return dict(sorted(joined.items()))


def _union(one: TimeSpan | None, other: TimeSpan | None) -> TimeSpan | None:
    if one is None or other is None:
        return one or other
    return TimeSpan(min(one.first, other.first), max(one.last, other.last))
