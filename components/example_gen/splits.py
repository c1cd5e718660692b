"""Cuts the log by time: requests before `train_start` are history, then comes train, then eval."""

from dataclasses import dataclass

from components.example_gen.config import MILLISECONDS_PER_DAY, IngestConfig
from components.example_gen.timestamps import format_timestamp, parse_timestamp
from schema.settings import DataError, InputError


@dataclass(frozen=True)
class TimeSpan:
    """The first and the last moment of a log, epoch milliseconds; of searches, or of all events if it has none."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{format_timestamp(self.first)} to {format_timestamp(self.last)}"


@dataclass(frozen=True)
class Splits:
    """Epoch milliseconds: train is [train_start, eval_start), eval is [eval_start, end)."""

    train_start: int
    eval_start: int
    end: int

    def within(self, since: int, until: int) -> "Splits":
        """What of them lies in [since, until)."""
        return Splits(*(min(max(moment, since), until) for moment in (self.train_start, self.eval_start, self.end)))


def resolve_splits(config: IngestConfig, span: TimeSpan) -> Splits:
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
    return Splits(train_start, eval_start, end)
