"""User states in Redis, as `souk follow` writes them; needs `redis`: `pip install 'souk-client[redis]'`."""

import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from souk_client import user_state_layout as layout
from souk_client.behavior_windows import BehaviorWindows, lists_at
from souk_client.errors import InputError, UserStateError
from souk_client.examples import Behavior

if TYPE_CHECKING:
    import redis

DEFAULT_TIMEOUT_S: Final = 0.1
# A store that was away is not asked again for so long, so that few queries wait for it in vain.
RETRY_S: Final = 1.0

# One round trip: the layout, the moment, the events and the profile. The sorted set comes as two texts, since
# a client in Python needs longer to read a list of a thousand values than all the rest.
_READ: Final = """
local about = redis.call('HMGET', KEYS[1], 'layout', 'windows')
local at = ARGV[1]
if at == '' then
  local now = redis.call('TIME')
  at = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
end
local found = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
local members, times = {}, {}
for i = 1, #found, 2 do
  members[#members + 1] = found[i]
  times[#times + 1] = found[i + 1]
end
return {about[1], about[2], at, table.concat(members), table.concat(times, ','), redis.call('HGETALL', KEYS[3])}
"""


class RedisUserState:
    """A store of user states; one may be shared by many threads.

    Args:
      url: of the server and its database: redis://host:6379/0, rediss:// for TLS, unix:///path.
      timeout_s: seconds to wait for it; a query is answered without behavior after that.

    Attributes:
      failures: how many reads the store did not answer.
    """

    def __init__(self, url: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._redis = connect(url, timeout_s)
        self.url = url
        self.failures = 0
        self._read: Any = self._redis.register_script(_READ)
        self._lock = threading.Lock()
        self._windows: tuple[bytes, BehaviorWindows] | None = None
        self._retry_at = 0.0

    def behavior(self, user_id: str, at_ms: int | None = None) -> Behavior | None:
        """See `UserState.behavior`; now is the clock of the Redis server, which is the same for all who ask it.

        Raises:
          UserStateError: if Redis does not answer in time, or the states in it are of another layout.
        """
        if not user_id or len(user_id.encode(errors="surrogatepass")) > layout.MAX_ID_BYTES:
            return None
        keys = [layout.ABOUT_KEY, layout.user_key(user_id), layout.profile_key(user_id)]
        number, windows, at, members, times, profile = self._call(keys, "" if at_ms is None else str(at_ms))
        if number is None and not members and not profile:
            return None
        self._check_layout(number)
        events = layout.unpack_events(members, times)
        if not profile and all(event.timestamp_ms >= int(at) for event in events):
            return None
        texts = [value.decode() for value in profile]
        return Behavior(
            **lists_at(events, self._windows_of(windows), int(at)),
            profile=dict(zip(texts[::2], texts[1::2], strict=True)),
        )

    def close(self) -> None:
        """Ends the connections."""
        self._redis.close()

    def _call(self, keys: list[bytes], at: str) -> Any:
        import redis

        if time.monotonic() < self._retry_at:
            raise self._unavailable("it did not answer a moment ago")
        try:
            return self._read(keys=keys, args=[at])
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
            self._retry_at = time.monotonic() + RETRY_S
            raise self._unavailable(str(error)) from error

    def _unavailable(self, why: str) -> UserStateError:
        with self._lock:
            self.failures += 1
        return UserStateError(f"The user states in {without_secrets(self.url)} cannot be read: {why}")

    def _check_layout(self, number: bytes | None) -> None:
        try:
            check_layout(number, self.url)
        except InputError as error:
            with self._lock:
                self.failures += 1
            raise UserStateError(str(error)) from error

    def _windows_of(self, text: bytes) -> BehaviorWindows:
        if self._windows is None or self._windows[0] != text:
            self._windows = text, BehaviorWindows(**json.loads(text))
        return self._windows[1]


def connect(url: str, timeout_s: float | None) -> "redis.Redis":
    """A client of the Redis server at `url`, which connects when it is first used.

    Raises:
      InputError: if the URL is none of Redis, or the package `redis` is not installed.
    """
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ModuleNotFoundError as error:
        raise InputError(
            "User states in Redis need `redis`, which is not installed: run pip install 'souk-client[redis]', or "
            "'souk-retrieval[redis]' where Souk itself is."
        ) from error
    try:
        # A connection that Redis closed while it was idle is opened anew; a wait is not waited again.
        once = Retry(NoBackoff(), 1, (redis.ConnectionError,))
        return redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=once)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{without_secrets(url)} is no address of a Redis server: {error}. Give one such as redis://localhost:6379/0."
        ) from error


def check_layout(number: bytes | None, url: str) -> None:
    """Stops where the states are of another layout.

    Raises:
      InputError: if they are.
    """
    if number != layout.LAYOUT:
        found = "no layout" if number is None else f"layout {number.decode(errors='replace')}"
        raise InputError(
            f"The user states in {without_secrets(url)} have {found}, this version of Souk reads and writes layout "
            f"{layout.LAYOUT.decode()}. Fill an empty database by `souk follow --from-run`, and use that."
        )


def without_secrets(url: str) -> str:
    """A URL without user, password and options."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if rest else url
