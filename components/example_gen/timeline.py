"""What the whole log tells of its times: where it ends, and so its splits and the moment of the user states."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from components.example_gen.config import MILLISECONDS_PER_DAY, IngestConfig
from components.example_gen.summary import GAP_DAYS, Tally
from components.example_gen.times import TimeSplits, resolve_splits
from schema.settings import DataError

# Rows that come so long after all others, and are at most this share of them or a single one, are of a wrong clock.
_WRONG_SHARE = 0.01
# From this share of ordinals of 0 on, a log counts them from there.
_ZERO_SHARE = 0.01

# By day since 1970, as text: how many rows, and the last moment, epoch milliseconds.
Days = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Timeline:
    """What the steps after reading need to know of the whole log.

    Attributes:
      splits: of the requests.
      states_at: the moment of the user states, epoch milliseconds: after the last event of the log.
      first_ordinal: of UBI; 1 for any other log.
      after_the_end: rows that are dated long after all others.
    """

    splits: TimeSplits
    states_at: int
    first_ordinal: int = 1
    after_the_end: int = 0


def timeline(tally: Tally, config: IngestConfig) -> Timeline:
    """What the counts of all rows tell.

    Raises:
      InputError: if the log does not fit the configured times.
      DataError: if no row of it is usable.
    """
    span = tally.searches or tally.events
    if span is None:
        raise DataError("the event log has no usable row; is `events_format` right?")
    if config.end_ms is not None:
        splits = resolve_splits(config, span)
        return Timeline(splits, splits.end, _first_ordinal(tally, config))
    last = log_end(tally.search_days if tally.searches else tally.event_days)
    splits = resolve_splits(config, replace(span, last=last))
    # A click may come after the last search by days; one that comes by months is no news of the user.
    limit = last + GAP_DAYS * MILLISECONDS_PER_DAY
    last_event = max((moment for _, moment in tally.event_days.values() if moment <= limit), default=last)
    late = sum(rows for rows, moment in tally.event_days.values() if moment > limit)
    return Timeline(splits, max(splits.end, last_event + 1), _first_ordinal(tally, config), late)


def log_end(days: Days) -> int:
    """The last moment of a log without the rows of wrong clocks.

    These are at most 1 % of all, or a single one, and come more than 30 days after all others.
    """
    found = sorted((int(day), *values) for day, values in days.items())
    most = max(1, _WRONG_SHARE * sum(rows for _, rows, _ in found))
    end, late = len(found), 0
    for place in range(len(found) - 1, 0, -1):
        late += found[place][1]
        if late > most:
            break
        if found[place][0] - found[place - 1][0] > GAP_DAYS:
            end = place
    return found[end - 1][2]


def days_of(times: pl.Series) -> dict[str, tuple[int, int]]:
    """How many of `times` (epoch milliseconds) each day has, and the last of them."""
    counted = (
        pl.DataFrame({"time": times})
        .group_by((pl.col("time") // MILLISECONDS_PER_DAY).alias("day"))
        .agg(pl.len().alias("rows"), pl.col("time").max().alias("last"))
        .sort("day")
    )
    return {str(day): (rows, last) for day, rows, last in counted.iter_rows()}


def _first_ordinal(tally: Tally, config: IngestConfig) -> int:
    if config.data.events_format != "ubi":
        return 1
    if config.data.ubi_first_ordinal is not None:
        return config.data.ubi_first_ordinal
    zero = tally.ordinals.get("zero", 0)
    return 0 if zero and zero >= _ZERO_SHARE * tally.ordinals["all"] else 1
