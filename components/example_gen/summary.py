"""What an ingestion did: counters, the log's time span, the examples of what it could not use."""

from dataclasses import asdict, dataclass, field

import orjson

from components.example_gen.config import IngestConfig
from components.example_gen.rejects import (
    BAD_ROW_REASONS,
    EXAMPLES_SHOWN,
    EXPLANATIONS,
    UNMATCHED_REASONS,
)
from components.example_gen.splits import TimeSpan
from schema.settings import DataError, InputError


@dataclass(frozen=True)
class Tally:
    """What one piece of work counted; tallies add up in any order.

    `searches` and `events` are the time spans of the usable rows, None where there are none; `shown` holds the
    first few rejected rows per reason, `errors` what went wrong with an input as a whole.
    """

    counters: dict[str, int] = field(default_factory=dict)
    searches: TimeSpan | None = None
    events: TimeSpan | None = None
    shown: dict[str, list[str]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            {
                name: self.counters.get(name, 0) + other.counters.get(name, 0)
                for name in sorted(self.counters.keys() | other.counters.keys())
            },
            _union(self.searches, other.searches),
            _union(self.events, other.events),
            {
                reason: sorted(self.shown.get(reason, []) + other.shown.get(reason, []))[:EXAMPLES_SHOWN]
                for reason in sorted(self.shown.keys() | other.shown.keys())
            },
            tuple(sorted({*self.errors, *other.errors})),
        )

    def to_json(self) -> bytes:
        """JSON that `from_json` reads."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> "Tally":
        """The tally that `to_json` wrote."""
        values = orjson.loads(data)
        spans = {name: values[name] and TimeSpan(**values[name]) for name in ("searches", "events")}
        return cls(values["counters"], **spans, shown=values["shown"], errors=tuple(values["errors"]))


@dataclass(frozen=True)
class IngestSummary:
    """What `run_ingest` gives back.

    `counters` are named `<input>.read`, `<input>.dropped.<reason>`, `examples.<split>` and so on; times are epoch
    milliseconds; `seconds` is how long it took.
    """

    output: str
    counters: dict[str, int]
    train_start_ms: int
    eval_start_ms: int
    end_ms: int
    seconds: float

    def to_json(self) -> str:
        """For programs."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2).decode()


@dataclass(frozen=True)
class CatalogueSummary:
    """What `ingest_catalogue_into` gives back; see `IngestSummary`."""

    output: str
    counters: dict[str, int]
    seconds: float

    def to_json(self) -> str:
        """For programs."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2).decode()


def check(tally: Tally, config: IngestConfig) -> None:
    """Fails if an input could not be read to its end, or too much of it could not be used.

    Raises:
      InputError: an input could not be read.
      DataError: too much could not be used, with the counts per reason and three of the rows.
    """
    if tally.errors:
        raise InputError("\n".join(tally.errors))
    for what in ("events", "catalog", "users"):
        read = tally.counters.get(f"{what}.read", 0)
        _check(tally, what, read, BAD_ROW_REASONS, config.max_bad_fraction, "max_bad_fraction")
        _check(tally, what, read, UNMATCHED_REASONS, config.max_unmatched_fraction, "max_unmatched_fraction")


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


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:297] + "..."


def _union(one: TimeSpan | None, other: TimeSpan | None) -> TimeSpan | None:
    if one is None or other is None:
        return one or other
    return TimeSpan(min(one.first, other.first), max(one.last, other.last))
