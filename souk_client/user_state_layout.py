"""How user states lie in Redis: what its writer, `souk follow`, and its readers agree on.

| key | type | what |
|---|---|---|
| `souk:about` | hash | `layout`, the number of this layout, and `windows`, the behavior windows as JSON |
| `souk:user:<user>` | sorted set | what the user did: `pack_event` by epoch milliseconds |
| `souk:profile:<user>` | hash | profile column -> value |
| `souk:request:<request>`, `souk:event:<event>` | set | deliveries of the events of a request, while more may come |
| `souk:dead_letters` | stream | rejected events with their reasons |
"""

import struct
from typing import Final

from souk_client.behavior_windows import UserEvent
from souk_client.protocol import EventType

LAYOUT: Final = b"1"
ABOUT_KEY: Final = b"souk:about"
DEAD_LETTERS_KEY: Final = b"souk:dead_letters"
EVENT_STREAM: Final = "souk:events"
USER_PREFIX: Final = b"souk:user:"
# A longer id is of no person; the writer rejects its events, and the reader knows nothing of it.
MAX_ID_BYTES: Final = 512

# What follows of the kind: the lengths of id and value. A small letter stands for an event of a known request.
_HEAD: Final = struct.Struct("<cHH")
_CODES: Final = {
    EventType.SEARCH: b"s",
    EventType.CLICK: b"c",
    EventType.ADD_TO_CART: b"a",
    EventType.ORDER: b"o",
}
_KINDS: Final = {code: kind for kind, code in _CODES.items()}


def user_key(user_id: str) -> bytes:
    """The key of what a user did."""
    return USER_PREFIX + user_id.encode(errors="surrogatepass")


def profile_key(user_id: str) -> bytes:
    """The key of a user's profile."""
    return b"souk:profile:" + user_id.encode(errors="surrogatepass")


def pack_event(kind: str, event_id: str, value: str, with_request: bool) -> bytes:
    """A member of a user's sorted set, which tells the event from all others of the user.

    Args:
      kind: an event type, but impression.
      event_id: the event's, or of a search the request's.
      value: the item, or of a search the query.
      with_request: whether the event names its request; if not, it gives way to a delivery of it that does.
    """
    code, name, what = _CODES[kind], event_id.encode(), value.encode()
    return _HEAD.pack(code if with_request else code.upper(), len(name), len(what)) + name + what


def unpack_events(packed: bytes, times: bytes) -> list[UserEvent]:
    """The events of packed members one after the other, whose `times` are texts with commas between them."""
    events: list[UserEvent] = []
    alone: list[UserEvent] = []
    place, size, unpack = 0, _HEAD.size, _HEAD.unpack_from
    for time in times.split(b",") if times else ():
        code, id_bytes, value_bytes = unpack(packed, place)
        place += size
        middle, end = place + id_bytes, place + id_bytes + value_bytes
        kind = _KINDS.get(code)
        found = UserEvent(int(time), packed[place:middle], packed[middle:end], kind or _KINDS[code.lower()])
        (alone if kind is None else events).append(found)
        place = end
    if alone:
        known = {event[1:] for event in events}
        events += [event for event in alone if event[1:] not in known]
    return events
