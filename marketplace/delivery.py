"""How the log arrives: at least once, late and out of order."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from marketplace.config import LogSettings
from marketplace.searchers import DAY_MS

MINUTE_MS = 60_000


@dataclass
class Delivery:
    """Events on their way; holds only what is not yet delivered.

    The log ends with its last day: what would arrive later is not in it.
    """

    settings: LogSettings
    _waiting: list[pl.DataFrame] = field(default_factory=list)

    def deliver(self, events: pl.DataFrame, day: int, rng: np.random.Generator) -> pl.DataFrame:
        """Take in the events of a day (`event` and `time` set) and hand out what arrives on it, as it arrives."""
        self._waiting.append(self._sent(events, rng))
        waiting = pl.concat(self._waiting)
        due = pl.col("arrival") < (day + 1) * DAY_MS
        self._waiting = [waiting.filter(~due)]
        return waiting.filter(due).sort("arrival", maintain_order=True).drop("arrival")

    def _sent(self, events: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        settings = self.settings
        count = len(events)
        fate = rng.random(count)
        minutes = (rng.uniform(2, 45, count) * MINUTE_MS).astype(np.int64)
        days = (rng.uniform(1, 3, count) * DAY_MS).astype(np.int64)
        late = fate < settings.late_share
        slow = ~late & (fate < settings.late_share + settings.out_of_order_share)
        delay = np.where(late, days, np.where(slow, minutes, 0))
        sent = events.with_columns(arrival=pl.col("time") + pl.Series(delay))
        again = np.flatnonzero(rng.random(count) < settings.duplicate_share)
        # Half of the duplicates are retries within minutes, half come with a replay of the next day.
        retry = np.where(rng.random(len(again)) < 0.5, rng.integers(0, 10 * MINUTE_MS, len(again)), DAY_MS)
        copies = sent[again].with_columns(arrival=pl.col("arrival") + pl.Series(retry, dtype=pl.Int64))
        return pl.concat([sent, copies])
