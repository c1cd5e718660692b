"""Which of a user's events are in which behavior list at a moment: one table for offline and online.

Ingestion takes the lists of all requests of a log out of it at once, with NumPy; `lists_at` those of one user now.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from souk_client import protocol
from souk_client.protocol import EventType

_ANYTHING = (EventType.CLICK, EventType.ADD_TO_CART, EventType.ORDER)


@dataclass(frozen=True)
class BehaviorList:
    """One list of a user's behavior: distinct values of events of `kinds` in [moment - since, moment - until), newest
    first, at most `cap`; of events at one moment, the one with the greater id is newer, then the greater value.

    Attributes:
      name: of the feature.
      kinds: event types.
      since_ms, until_ms: milliseconds before the moment at which the window begins and ends.
      cap: most values.
    """

    name: str
    kinds: tuple[str, ...]
    since_ms: int
    until_ms: int
    cap: int


@dataclass(frozen=True)
class BehaviorWindows:
    """Lengths and caps of the behavior windows, as `ingest.windows` sets them.

    Attributes:
      real_time_ms, short_term_ms, long_term_ms: lengths of the windows, one before the other, milliseconds.
      real_time_cap, short_term_cap, long_term_cap, history_queries_cap: most values of a list.
      scan: at most this many of a window's newest events are looked at.
    """

    real_time_ms: int
    short_term_ms: int
    long_term_ms: int
    real_time_cap: int
    short_term_cap: int
    long_term_cap: int
    history_queries_cap: int
    scan: int

    @property
    def longest_ms(self) -> int:
        """How long an event counts, milliseconds."""
        return self.real_time_ms + self.short_term_ms + self.long_term_ms

    def lists(self) -> tuple[BehaviorList, ...]:
        """All lists of a user's behavior."""
        real, longest, cap = self.real_time_ms, self.longest_ms, self.long_term_cap
        short = real + self.short_term_ms
        return (
            BehaviorList(protocol.HISTORY_QUERIES, (EventType.SEARCH,), longest, 0, self.history_queries_cap),
            BehaviorList(protocol.REAL_TIME_ITEMS, _ANYTHING, real, 0, self.real_time_cap),
            BehaviorList(protocol.SHORT_TERM_ITEMS, _ANYTHING, short, real, self.short_term_cap),
            BehaviorList(protocol.LONG_TERM_CLICKS, (EventType.CLICK,), longest, short, cap),
            BehaviorList(protocol.LONG_TERM_ORDERS, (EventType.ORDER,), longest, short, cap),
            BehaviorList(protocol.LONG_TERM_CARTS, (EventType.ADD_TO_CART,), longest, short, cap),
        )

    def as_dict(self) -> dict[str, int]:
        """Every attribute by name."""
        return asdict(self)


class UserEvent(NamedTuple):
    """What a user did: the moment (epoch milliseconds), the id of the event or, of a search, of the request, the item
    or query, and the event type. Sorted, the newest comes last.
    """

    timestamp_ms: int
    event_id: bytes
    value: bytes
    kind: str


def lists_at(events: Iterable[UserEvent], windows: BehaviorWindows, at_ms: int) -> dict[str, tuple[str, ...]]:
    """The behavior lists by name of a user who has done `events`, in any order, at the moment `at_ms`."""
    lists = windows.lists()
    by_kinds: dict[tuple[str, ...], list[UserEvent]] = {one.kinds: [] for one in lists}
    for event in sorted(events):
        for kinds, known in by_kinds.items():
            if event.kind in kinds:
                known.append(event)
    times = {kinds: [event.timestamp_ms for event in known] for kinds, known in by_kinds.items()}
    return {one.name: _newest_first(by_kinds[one.kinds], times[one.kinds], one, at_ms, windows.scan) for one in lists}


def _newest_first(
    events: Sequence[UserEvent], times: Sequence[int], one: BehaviorList, at_ms: int, scan: int
) -> tuple[str, ...]:
    end = bisect_left(times, at_ms - one.until_ms)
    start = max(bisect_left(times, at_ms - one.since_ms), end - scan)
    distinct: dict[bytes, None] = {}
    for place in range(end - 1, start - 1, -1):
        distinct[events[place].value] = None
        if len(distinct) == one.cap:
            break
    return tuple(value.decode() for value in distinct)
