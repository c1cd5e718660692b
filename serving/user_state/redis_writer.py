"""Writes user states to Redis; `souk_client.user_state_layout` has what lies where."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from schema.settings import InputError
from souk_client import user_state_layout as layout
from souk_client.behavior_windows import BehaviorWindows
from souk_client.redis_user_state import check_layout

if TYPE_CHECKING:
    import redis

# How long beyond the longest window an event is kept: a request may be of a moment ago.
_SLACK_MS: Final = 3_600_000
_AT_ONCE: Final = 1000

# The rows of a request and what follows of them for its users, all or nothing. Rows are only ever added, so their
# number tells whether another writer has been here since they were read; then nothing is done.
_APPLY: Final = """
if redis.call('SCARD', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
local place = 6
local function all(command, key, step)
  local last = place + tonumber(ARGV[place]) * step
  for first = place + 1, last, 1000 do
    redis.call(command, key, unpack(ARGV, first, math.min(first + 999, last)))
  end
  place = last + 1
end
all('SADD', KEYS[1], 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for user = 2, #KEYS do
  local key = KEYS[user]
  all('ZREM', key, 1)
  all('ZADD', key, 2)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. ARGV[3])
  if redis.call('ZCARD', key) > tonumber(ARGV[4]) then
    local first = redis.call('ZREVRANGE', key, ARGV[4], ARGV[4], 'WITHSCORES')
    redis.call('ZREMRANGEBYSCORE', key, '-inf', first[2])
  end
  redis.call('PEXPIRE', key, ARGV[5])
end
return 1
"""


@dataclass
class UserChange:
    """What leaves and what comes to a user's events: packed members, the new ones with their epoch milliseconds."""

    removed: list[bytes] = field(default_factory=list)
    added: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(frozen=True)
class RequestChange:
    """New deliveries of events of a request, and what they change.

    Attributes:
      key: of the request.
      known: how many rows the request had when these changes were found.
      rows: the new ones.
      users: by user id.
    """

    key: bytes
    known: int
    rows: Sequence[bytes]
    users: Mapping[str, UserChange]


class UserStateWriter:
    """Writes user states; several may write to one database at once.

    Args:
      client: of the Redis server.
      url: names it in messages.
      windows: the behavior windows.
      max_user_events: of a user's searches, clicks, carts and orders at most this many are kept, the newest; those of
        one moment are kept or dropped together, as in ingestion.
      join_ms: how long after its last event a request waits for more, milliseconds.
    """

    def __init__(
        self, client: "redis.Redis", url: str, windows: BehaviorWindows, max_user_events: int, join_ms: int
    ) -> None:
        self.client: Any = client
        self.windows = windows
        self._url = url
        self._most = max_user_events
        self._join_ms = join_ms
        self._apply = ""

    @property
    def kept_ms(self) -> int:
        """How long events are kept, milliseconds."""
        return self.windows.longest_ms + _SLACK_MS

    @property
    def counts_ms(self) -> int:
        """How old an event may be and still say something of its request's later ones, milliseconds."""
        return self.kept_ms + self._join_ms

    def open(self) -> None:
        """Makes the database ready, and tells its readers the windows.

        Raises:
          InputError: if the states in it are of another layout.
          redis.RedisError: if it does not answer.
        """
        self.client.hsetnx(layout.ABOUT_KEY, "layout", layout.LAYOUT)
        check_layout(self.client.hget(layout.ABOUT_KEY, "layout"), self._url)
        self.client.hset(layout.ABOUT_KEY, "windows", json.dumps(self.windows.as_dict()))
        self._apply = self.client.script_load(_APPLY)

    def now_ms(self) -> int:
        """The server's clock, epoch milliseconds."""
        seconds, microseconds = self.client.time()
        return int(seconds * 1000 + microseconds // 1000)

    def rows_of(self, keys: Sequence[bytes]) -> list[set[bytes]]:
        """The rows of requests."""
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.smembers(key)
            return list(pipe.execute())

    def apply(self, changes: Sequence[RequestChange], now_ms: int) -> list[bool]:
        """Makes the changes, each whole or not at all; false for those of requests that another writer has changed."""
        done: list[int] = []
        for first in range(0, len(changes), _AT_ONCE):
            with self.client.pipeline(transaction=False) as pipe:
                for change in changes[first : first + _AT_ONCE]:
                    keys = [change.key, *map(layout.user_key, change.users)]
                    pipe.evalsha(self._apply, len(keys), *keys, *self._arguments(change, now_ms))
                done += pipe.execute()
        return [one == 1 for one in done]

    def _arguments(self, change: RequestChange, now_ms: int) -> list[bytes | int]:
        arguments: list[bytes | int] = [change.known, self._join_ms, now_ms - self.kept_ms, self._most, self.kept_ms]
        arguments += [len(change.rows), *change.rows]
        for user in change.users.values():
            arguments += [len(user.removed), *user.removed, len(user.added)]
            for time, member in user.added:
                arguments += (time, member)
        return arguments

    def fill(self, states: Iterable[tuple[str, Sequence[tuple[int, bytes]], Mapping[str, str]]]) -> int:
        """Writes whole users into a database that has none: id, packed members by epoch milliseconds, and profile. A
        user without events may be there, and gets the profile.

        Returns:
          How many users.

        Raises:
          InputError: if a user is there already.
        """
        users, pipe, is_new = 0, self.client.pipeline(transaction=False), False
        for user, events, profile in states:
            if events:
                is_new = is_new or self._check_empty()
                key = layout.user_key(user)
                pipe.zadd(key, {member: time for time, member in events})
                pipe.pexpire(key, self.kept_ms)
            key = layout.profile_key(user)
            pipe.delete(key)
            if profile:
                pipe.hset(key, mapping=dict(profile))
            users += 1
            if users % _AT_ONCE == 0:
                pipe.execute()
        pipe.execute()
        return users

    def _check_empty(self) -> bool:
        if next(self.client.scan_iter(layout.USER_PREFIX + b"*", count=_AT_ONCE), None) is not None:
            raise InputError(
                f"The database {self._url} has user states already; these of an ingestion would mix with them. Give an "
                "empty database, follow without --from-run, or take the profiles alone by --profiles-only."
            )
        return True
