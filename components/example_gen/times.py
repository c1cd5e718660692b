"""Timestamps, and the split of a log by time: first history, then train, then eval."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from components.example_gen.config import MILLISECONDS_PER_DAY, IngestConfig
from schema.settings import DataError, InputError

# 2000-01-01 and 2100-01-01. Epoch seconds given as milliseconds fall into January 1970 and are caught here.
EARLIEST_MS = 946_684_800_000
LATEST_MS = 4_102_444_800_000
# Bytes up to the minute, as in `2026-03-01T00:00`.
_MINUTE = 16
# Without seconds, with spaces, with an offset of hours alone or the name of UTC.
_DATE_TIME = (
    r"^\s*(?<date>\d{4}-\d\d-\d\d)(?:[Tt]|\s+)(?<minute>\d\d:\d\d)(?<second>:\d\d)?(?:[.,](?<fraction>\d+))?"
    r"\s*(?:[Zz]|UTC|GMT|(?<hours>[+-]\d\d):?(?<minutes>\d\d)?)?\s*(?:UTC|\[[^\]]*\])?\s*$"
)


def parse_timestamps(texts: pl.Series) -> pl.Series:
    """Epoch milliseconds of `texts` [rows]; null where a text is no timestamp.

    A date-time without an offset is taken as UTC; parts of a millisecond are cut off.
    """
    plain = _parse_plain(texts)
    if plain is not None:
        return plain
    found = texts.cast(pl.Int64, strict=False)
    for parse in (_parse, _parse_naive, _parse_number, _parse_other):
        left = found.is_null() & texts.is_not_null()
        if not left.any():
            break
        found = found.scatter(left.arg_true(), parse(texts.filter(left)))
    return found


def out_of_range(timestamp_ms: pl.Expr) -> tuple[tuple[pl.Expr, str], ...]:
    """What is wrong with timestamps that are none of this century, by their size, for `validate.first_problem`."""
    there = (~timestamp_ms.is_between(EARLIEST_MS, LATEST_MS), "timestamp_out_of_range")
    units = {"seconds": (1, 1000), "microseconds": (1000, 1), "nanoseconds": (1_000_000, 1)}
    return (
        *(
            (timestamp_ms.is_between(EARLIEST_MS * more // less, LATEST_MS * more // less), f"timestamp_in_{unit}")
            for unit, (more, less) in units.items()
        ),
        there,
    )


def parse_timestamp(text: str) -> int:
    """Epoch milliseconds of one RFC 3339 date-time.

    Raises:
      InputError: if `text` is none.
    """
    value = parse_timestamps(pl.Series([text], dtype=pl.String))[0]
    if value is None:
        raise InputError(f"{text!r} is not a timestamp; write it as RFC 3339, for example 2026-03-01T00:00:00Z")
    return int(value)


def format_timestamp(timestamp_ms: int) -> str:
    """RFC 3339 text of epoch milliseconds, in UTC."""
    return str(pl.Series([timestamp_ms]).cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%SZ")[0])


def _parse_plain(texts: pl.Series) -> pl.Series | None:
    """Epoch milliseconds where all texts are such as `2026-03-01T00:00:00.000Z`, read many times faster; else None."""
    array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    starts = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    # Arrow also reads dates and hours alone, which are no timestamps here.
    if (
        np.diff(starts).min(initial=_MINUTE) < _MINUTE
        or not (np.frombuffer(array.buffers()[2] or b"", np.uint8)[starts[:-1] + _MINUTE - 3] == ord(":")).all()
    ):
        return None
    for zone in ("UTC", None):
        with suppress(pa.ArrowInvalid):
            return pl.Series(texts.name, pl.from_arrow(array.cast(pa.timestamp("ms", zone)).cast(pa.int64())))
    return None


def _parse(texts: pl.Series) -> pl.Series:
    return texts.str.to_datetime("%+", strict=False, time_unit="ms", time_zone="UTC").dt.epoch("ms")


def _parse_naive(texts: pl.Series) -> pl.Series:
    return _parse(texts + "Z")


def _parse_number(texts: pl.Series) -> pl.Series:
    """Epoch milliseconds with a fraction, or as a float is printed."""
    numbers = texts.str.strip_chars().cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite(), None).floor().cast(pl.Int64, strict=False)


def _parse_other(texts: pl.Series) -> pl.Series:
    """Date-times as Java, Postgres and BigQuery print them, written as RFC 3339 has them."""
    parts = texts.str.extract_groups(_DATE_TIME).struct.unnest()
    hours = pl.col("hours").fill_null("+00")
    return _parse(
        parts.select(
            pl.concat_str(
                "date",
                pl.lit("T"),
                "minute",
                pl.col("second").fill_null(":00"),
                pl.concat_str(pl.lit("."), "fraction").fill_null(""),
                hours,
                pl.lit(":"),
                pl.col("minutes").fill_null("00"),
            )
        ).to_series()
    )


@dataclass(frozen=True)
class TimeSpan:
    """The first and the last moment of a log, epoch milliseconds; of searches, or of all events if it has none."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{format_timestamp(self.first)} to {format_timestamp(self.last)}"


@dataclass(frozen=True)
class TimeSplits:
    """Epoch milliseconds: train is [train_start, eval_start), eval is [eval_start, end)."""

    train_start: int
    eval_start: int
    end: int


def resolve_splits(config: IngestConfig, span: TimeSpan) -> TimeSplits:
    """The splits of a log that covers `span`.

    Raises:
      InputError: if the log has no time before or after `eval_start`.
      DataError: if that is so for the day that the run is for.
    """
    end = span.last + 1 if config.end_ms is None else config.end_ms
    if config.eval_start is None:
        eval_start = end - round(config.eval_days * MILLISECONDS_PER_DAY)
    else:
        eval_start = parse_timestamp(config.eval_start)
    train_start = span.first if config.train_start is None else parse_timestamp(config.train_start)
    if not span.first < eval_start <= span.last:
        how = f"eval_start {config.eval_start}" if config.eval_start else f"eval_days {config.eval_days:g}"
        # A run for a day whose log is not there yet has the right settings.
        kind = DataError if config.date is not None and config.eval_start is None else InputError
        raise kind(
            f"{how} leaves nothing to train on or nothing to evaluate: the searches of the log go from {span}; "
            "choose a moment between these"
        )
    if train_start >= eval_start:
        raise InputError(
            f"train_start {config.train_start} does not lie before the evaluation, which starts at "
            f"{format_timestamp(eval_start)}"
        )
    return TimeSplits(train_start, eval_start, end)
