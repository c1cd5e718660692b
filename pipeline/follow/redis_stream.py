"""Live events out of a Redis stream, by a consumer group."""

import time
from typing import TYPE_CHECKING, Any, Final

import orjson
import redis

from pipeline.follow.sources import BATCH_EVENTS, POLL_S, Batch

if TYPE_CHECKING:
    from redis import Redis

# Fields of an entry that hold the whole event as JSON; of other entries each field is a column.
_DOCUMENT_FIELDS: Final = (b"event", b"data", b"json", b"value")
# What another follower has taken and not acknowledged for so long is taken over; looked for so often.
_IDLE_MS: Final = 60_000
_CLAIM_EVERY_S: Final = 15.0


class RedisStream:
    """The entries of a stream, each acknowledged once it is taken. What a follower that died had taken comes again.

    Args:
      client: of the Redis server, without a limit of time that is shorter than half a second.
      stream: key of the stream; it is made if it is not there.
      group: the consumer group; followers of one group share the events.
      consumer: name of this follower in the group; the same after a restart, it goes on with what it had.
      batch: most events of a batch.
    """

    def __init__(self, client: "Redis", stream: str, group: str, consumer: str, batch: int = BATCH_EVENTS) -> None:
        self.name = f"Redis stream {stream}"
        self._client: Any = client
        self._stream, self._group, self._consumer, self._most = stream, group, consumer, batch
        self._made = False
        # From the start: what this consumer has taken and not acknowledged.
        self._pending_from: bytes | None = b"0"
        self._claim_at = 0.0

    def poll(self) -> Batch | None:
        """See `Source.poll`."""
        if not self._made:
            self._make_group()
        if self._pending_from is not None:
            entries = self._read(self._pending_from)
            self._pending_from = entries[-1][0] if entries else None
            if entries:
                return self._batch(entries)
        if time.monotonic() >= self._claim_at:
            self._claim_at = time.monotonic() + _CLAIM_EVERY_S
            claimed = self._client.xautoclaim(self._stream, self._group, self._consumer, _IDLE_MS, count=self._most)[1]
            if claimed:
                self._claim_at = 0.0
                return self._batch(claimed)
        return self._batch(self._read(b">"))

    def done(self, batch: Batch) -> None:
        """See `Source.done`."""
        if batch.token:
            self._client.xack(self._stream, self._group, *batch.token)

    def backlog(self) -> int | None:
        """See `Source.backlog`."""
        for group in self._client.xinfo_groups(self._stream):
            if group["name"] == self._group.encode():
                return None if group.get("lag") is None else int(group["lag"]) + int(group["pending"])
        return None

    def close(self) -> None:
        """See `Source.close`."""
        self._client.close()

    def _make_group(self) -> None:
        try:
            self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._made = True

    def _read(self, since: bytes) -> list[Any]:
        try:
            found = self._client.xreadgroup(
                self._group, self._consumer, {self._stream: since}, count=self._most, block=round(POLL_S * 1000)
            )
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            # The stream was deleted.
            self._made = False
            return []
        return found[0][1] if found else []

    def _batch(self, entries: list[Any]) -> Batch:
        if not entries:
            return Batch([])
        oldest = int(entries[0][0].partition(b"-")[0])
        # What the stream was trimmed of is pending still, without its fields.
        return Batch([_line(fields) for _, fields in entries if fields], oldest, [entry for entry, _ in entries])


def _line(fields: dict[bytes, bytes]) -> bytes:
    for name in _DOCUMENT_FIELDS:
        value = fields.get(name)
        if value is not None and value.lstrip()[:1] == b"{":
            return value
    try:
        return orjson.dumps({name.decode(): value.decode() for name, value in fields.items()})
    except UnicodeDecodeError:
        # No event, and the reader says so.
        return b" ".join(part for pair in fields.items() for part in pair)
