"""The users of a live store of user states, and the clicks that the page sends for them."""

import re
import time
import uuid
from typing import Any, Final

import orjson

from schema import features
from schema.features import EventType
from schema.settings import InputError
from souk_client.errors import UserStateError
from souk_client.examples import Behavior
from souk_client.redis_user_state import RedisUserState, connect
from souk_client.user_state_layout import EVENT_STREAM, MAX_ID_BYTES, USER_PREFIX

# How much of the database one look for users goes through, keys.
_LOOKED_AT: Final = 20_000
_AT_ONCE: Final = 1000
_TIMEOUT_S: Final = 2.0
# The page may be open for long, and the stream is somebody else's.
_MOST_EVENTS: Final = 1_000_000


class LiveUsers:
    """Users by id in the Redis of `souk follow`; with the same methods as `users.Users`.

    Args:
      url: of Redis.
      stream: key of the stream that `souk follow redis` reads.

    Raises:
      InputError: if the URL is none of Redis.
    """

    known = True
    live = True

    def __init__(self, url: str, stream: str = EVENT_STREAM) -> None:
        self._states = RedisUserState(url, timeout_s=_TIMEOUT_S)
        self._redis: Any = connect(url, _TIMEOUT_S)
        self._url, self._stream = url, stream

    def count(self) -> int | None:
        """None: to count the users would take longer than anybody looks at the number."""
        return None

    def find(self, text: str, limit: int) -> list[dict[str, object]]:
        """The user of the id `text`, then some whose id holds it, of those that are soon found; as `Users.find`.

        Raises:
          UserStateError: if Redis does not answer.
        """
        text = text.strip()
        names = [text] if text and self._states.behavior(text) is not None else []
        pattern = USER_PREFIX + b"*" + re.sub(rb"([\\*?\[\]^])", rb"\\\1", text.encode(errors="replace")) + b"*"
        place = 0
        for _ in range(_LOOKED_AT // _AT_ONCE):
            place, keys = self._scan(place, pattern)
            names += [key.removeprefix(USER_PREFIX).decode(errors="replace") for key in keys]
            if not place or len(names) > limit:
                break
        return [self._line(name) for name in list(dict.fromkeys(names))[:limit]]

    def behavior(self, user: str) -> Behavior | None:
        """What is known of a user now, or None.

        Raises:
          UserStateError: if Redis does not answer.
        """
        return self._states.behavior(user)

    def frequent_queries(self, limit: int) -> list[str]:
        """None: they would have to be counted."""
        return []

    def click(self, user: str, item_id: str) -> str:
        """Sends a click of the user on the item to the stream of events, and gives the event's id.

        Raises:
          InputError: if there is no user or item, or Redis does not take it.
        """
        for what, value in (("user", user), ("item", item_id)):
            if not value or len(value.encode(errors="replace")) > MAX_ID_BYTES:
                raise InputError(f"A click needs the id of a {what}, of at most {MAX_ID_BYTES} bytes.")
        import redis

        event = {
            "event_id": f"playground-{uuid.uuid4()}",
            "timestamp": time.time_ns() // 1_000_000,
            "request_id": None,
            "user_id": user,
            "event_type": EventType.CLICK,
            "query": None,
            "item_id": item_id,
            "position": None,
        }
        try:
            self._redis.xadd(self._stream, {"event": orjson.dumps(event)}, maxlen=_MOST_EVENTS, approximate=True)
        except redis.RedisError as error:
            raise InputError(f"The click could not be sent to the stream {self._stream}: {error}") from error
        return str(event["event_id"])

    def _scan(self, place: int, pattern: bytes) -> tuple[int, list[bytes]]:
        import redis

        try:
            found, keys = self._redis.scan(place, match=pattern, count=_AT_ONCE)
        except redis.RedisError as error:
            raise UserStateError(f"The users cannot be looked through: {error}") from error
        return int(found), keys

    def _line(self, user: str) -> dict[str, object]:
        behavior = self._states.behavior(user) or Behavior()
        items = sum(len(getattr(behavior, name)) for name in features.BEHAVIOR_ITEM_FEATURES)
        return {"user": user, "items": items, "queries": len(behavior.history_queries)}
