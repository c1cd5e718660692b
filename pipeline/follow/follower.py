"""Takes batches of events into user states, and waits where Redis is away."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl
import redis

from pipeline.follow.catalog import KnownItems
from pipeline.follow.dead_letters import DeadLetters
from pipeline.follow.events import EventReader, letters_of
from pipeline.follow.fold import changes, rows_by_request, unknown_items
from pipeline.follow.metrics import Metrics
from pipeline.follow.sources import Batch, Source
from serving.user_state.redis_writer import UserStateWriter

# No page and nobody's session has so many; one id for all requests does.
MAX_REQUEST_EVENTS = 2000
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
# What passes while Redis is restarted, fails over, loads its data, or has no memory left.
_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.NoScriptError,
)


@dataclass(frozen=True)
class Taken:
    """What became of a batch.

    Attributes:
      lines: how many came.
      applied: events that were new.
      duplicates: deliveries of events that were known, of impressions too that say nothing new.
      expired: events that are older than all windows, and than any request with later events.
      dead: dead letters by reason.
      ignored: UBI actions that are none of Souk's events.
    """

    lines: int = 0
    applied: int = 0
    duplicates: int = 0
    expired: int = 0
    ignored: int = 0
    dead: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


class Follower:
    """Takes events into user states.

    Args:
      reader: of the events.
      writer: of the states.
      dead_letters: where rejected events go.
      items: the catalog's ids.
      max_ahead_ms: events of a time further ahead of the clock of Redis are rejected, milliseconds.
      clock: epoch milliseconds; None is the clock of Redis.
    """

    def __init__(
        self,
        reader: EventReader,
        writer: UserStateWriter,
        dead_letters: DeadLetters,
        items: KnownItems,
        max_ahead_ms: int,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._reader, self.writer, self._dead_letters = reader, writer, dead_letters
        self._items = items
        self._max_ahead_ms = max_ahead_ms
        self._clock = clock

    def open(self) -> None:
        """Makes the database ready; see `UserStateWriter.open`."""
        self.writer.open()

    def take(self, lines: Sequence[bytes], source: str) -> Taken:
        """Takes a batch of events. Taken again, whole or in part, it changes nothing more.

        Args:
          lines: JSON, one event each.
          source: what to call the place where they come from, in dead letters.

        Raises:
          redis.RedisError: if Redis does not take them; then the batch is to be taken again.
        """
        found = self._reader.read(lines)
        known_items = self._items.ids()
        letters = [found.rejects, letters_of(unknown_items(found.events, known_items), "unknown_item", source)]
        now = self.writer.now_ms() if self._clock is None else self._clock()
        ahead = found.events["timestamp_ms"] > now + self._max_ahead_ms
        old = found.events["timestamp_ms"] < now - self.writer.counts_ms
        letters.append(letters_of(found.events.filter(ahead), "ahead_of_clock", source))
        events = found.events.filter(~(ahead | old))
        new = rows_by_request(events)
        applied = 0
        long: set[bytes] = set()
        left = new
        while left:
            keys = list(left)
            known = dict(zip(keys, self.writer.rows_of(keys), strict=True))
            long |= {key for key in keys if len(known[key]) >= MAX_REQUEST_EVENTS and set(new[key]) - known[key]}
            wanted = changes(known, {key: rows for key, rows in left.items() if key not in long}, known_items)
            done = self.writer.apply(wanted, now)
            applied += sum(len(change.rows) for change, one in zip(wanted, done, strict=True) if one)
            # Another follower was at the same request meanwhile.
            left = {change.key: new[change.key] for change, one in zip(wanted, done, strict=True) if not one}
        if long:
            requests = [key.partition(b"souk:request:")[2].decode() for key in long]
            letters.append(letters_of(events.filter(pl.col("request_id").is_in(requests)), "request_too_long", source))
        dead = pl.concat(letters)
        self._dead_letters.write(dead)
        reasons = Counter(dict(dead["reason"].value_counts().iter_rows()))
        return Taken(len(lines), applied, len(events) - applied, int(old.sum()), found.ignored, reasons)


class Following:
    """Takes the batches of a source one after the other; what was taken is acknowledged only then.

    Args:
      source: of the events.
      follower: takes them.
      metrics: are told of each batch.
      say: is told that Redis is away, and back.

    Attributes:
      total: the sum of all batches.
      away: whether Redis did not answer when last asked; what has come since then is not taken.
    """

    def __init__(self, source: Source, follower: Follower, metrics: Metrics, say: Callable[[str], None]) -> None:
        self._source, self._follower, self._metrics, self._say = source, follower, metrics, say
        self._open = False
        self._batch: Batch | None = None
        self.total = Taken()
        self.away = False

    def run(self, stop: threading.Event) -> Taken:
        """Goes on until the source ends, or `stop` is set; then what is at hand is finished, if Redis is there.

        Returns:
          The sum of all batches.

        Raises:
          InputError: if the states or the source cannot be followed.
          redis.RedisError: if Redis refuses what is asked of it, for which waiting is no help.
        """
        wait = _FIRST_WAIT_S
        while not stop.is_set():
            try:
                if not self._step():
                    break
            except redis.AuthenticationError:
                # One of those that follow, and nothing to wait for.
                raise
            except _AWAY as error:
                self._metrics.away()
                if not self.away:
                    self._say(f"waiting for Redis: {error}")
                self.away, self._open = True, False
                stop.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)
                continue
            if self.away:
                self._say("Redis is back")
                self.away, wait = False, _FIRST_WAIT_S
        return self.total

    def _step(self) -> bool:
        """Takes a batch, the last one again if it was not done; false at the end of the source."""
        if not self._open:
            self._follower.open()
            self._open = True
        self._batch = self._batch or self._source.poll()
        if self._batch is None:
            return False
        if self._batch.lines:
            began = time.monotonic()
            taken = self._follower.take(self._batch.lines, self._source.name)
            self._source.done(self._batch)
            self._metrics.took(taken, self._batch.oldest_ms, time.monotonic() - began, self._source.backlog())
            self.total += taken
        else:
            self._source.done(self._batch)
            self._metrics.idle(self._source.backlog())
        self._batch = None
        return True
