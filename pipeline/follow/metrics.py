"""How a follower does, as metrics of Prometheus."""

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from schema.settings import InputError

if TYPE_CHECKING:
    from pipeline.follow.follower import Taken


class Metrics:
    """Counts what was taken; `serve` answers Prometheus."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"souk_follow_{name}", what, labels, registry=self._registry)

        def gauge(name: str, what: str) -> Gauge:
            return Gauge(f"souk_follow_{name}", what, registry=self._registry)

        self._events = counter("events", "Events that came, by what became of them.", "outcome")
        self._dead = counter("dead_letters", "Rejected events, by reason.", "reason")
        self._waits = counter("store_failures", "Times that Redis was away.")
        self._lag = gauge("lag_seconds", "From when the oldest event of the last batch came until it was taken.")
        self._backlog = gauge("backlog_events", "Events that wait in the source.")
        self._batches = Histogram("souk_follow_batch_seconds", "Taking a batch.", registry=self._registry)

    def serve(self, host: str, port: int) -> None:
        """Answers Prometheus at /metrics from now on.

        Raises:
          InputError: if the port cannot be opened.
        """
        try:
            start_http_server(port, host, self._registry)
        except OSError as error:
            raise InputError(
                f"The metrics cannot be shown on {host}:{port}: {error}. Give another --metrics-port."
            ) from error

    def took(self, taken: "Taken", oldest_ms: int, seconds: float, backlog: int | None) -> None:
        """A batch is in its states."""
        for outcome in ("applied", "duplicates", "expired", "ignored"):
            self._events.labels(outcome).inc(getattr(taken, outcome))
        for reason, count in taken.dead.items():
            self._dead.labels(reason).inc(count)
        self._lag.set(max(time.time() - oldest_ms / 1000, 0.0))
        self._batches.observe(seconds)
        self._set_backlog(backlog)

    def idle(self, backlog: int | None) -> None:
        """Nothing came for a while."""
        self._lag.set(0.0)
        self._set_backlog(backlog)

    def away(self) -> None:
        """Redis did not answer."""
        self._waits.inc()

    def _set_backlog(self, backlog: int | None) -> None:
        if backlog is not None:
            self._backlog.set(backlog)
