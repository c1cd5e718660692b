"""Counters and histograms in Prometheus' text format, under the names that TensorFlow Serving gives them.

Its counters do not end in `_total`, which `prometheus_client` would write; hence these two small classes.
"""

import bisect
import threading
from collections.abc import Iterator

_Labels = tuple[str, ...]

# Microseconds: TensorFlow Serving's Buckets::Exponential(10, 1.8, 33), up to about 20 minutes.
LATENCY_BUCKETS = tuple(10 * 1.8**power for power in range(33))
# The same for waiting in a batch queue: Exponential(100, 1.2, 52), up to about one second.
QUEUE_BUCKETS = tuple(100 * 1.2**power for power in range(52))


class Counter:
    """A number for each combination of label values; it only grows."""

    def __init__(self, name: str, labels: _Labels = ()) -> None:
        self.name = name
        self._labels = labels
        self._lock = threading.Lock()
        self._values: dict[_Labels, int] = {}

    def add(self, *values: str, by: int = 1) -> None:
        """Counts `by` more for these label values."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + by

    def lines(self) -> Iterator[str]:
        """The counter in Prometheus' text format."""
        yield f"# TYPE {self.name} counter"
        with self._lock:
            found = sorted(self._values.items())
        for values, number in found:
            yield f"{self.name}{_braces(self._labels, values)} {number}"


class Histogram:
    """How often an observed value fell below each bound, for each combination of label values."""

    def __init__(self, name: str, labels: _Labels = (), bounds: tuple[float, ...] = LATENCY_BUCKETS) -> None:
        self.name = name
        self._labels = labels
        self._bounds = bounds
        self._lock = threading.Lock()
        self._counts: dict[_Labels, list[int]] = {}
        self._sums: dict[_Labels, float] = {}

    def observe(self, value: float, *values: str) -> None:
        """Adds one observation."""
        place = bisect.bisect_left(self._bounds, value)
        with self._lock:
            counts = self._counts.setdefault(values, [0] * (len(self._bounds) + 1))
            counts[place] += 1
            self._sums[values] = self._sums.get(values, 0.0) + value

    def lines(self) -> Iterator[str]:
        """The histogram in Prometheus' text format."""
        yield f"# TYPE {self.name} histogram"
        with self._lock:
            found = sorted((values, list(counts), self._sums[values]) for values, counts in self._counts.items())
        limits = [f"{bound:g}" for bound in self._bounds] + ["+Inf"]
        for values, counts, total in found:
            cumulative = 0
            for limit, count in zip(limits, counts, strict=True):
                cumulative += count
                yield f"{self.name}_bucket{_braces((*self._labels, 'le'), (*values, limit))} {cumulative}"
            braces = _braces(self._labels, values)
            yield f"{self.name}_sum{braces} {total:g}"
            yield f"{self.name}_count{braces} {cumulative}"


class Metrics:
    """What one server counts.

    Attributes:
      request_count: requests by model and status.
      request_latency: microseconds of a request by model, API and entry point (GRPC or REST).
      runtime_latency: microseconds within TensorFlow by model, API and runtime.
      graph_runs: how often a signature was run.
      graph_run_time_usecs: microseconds of all these runs.
      load_attempt_count: loads of version folders by path and outcome.
      load_latency: microseconds of all loads of a path.
      model_warmup_latency: microseconds of replaying warm-up requests by path and status.
      queuing_latency: microseconds that a request waited for its batch.
      wrapped_run_count: batches that were run.
    """

    def __init__(self) -> None:
        serving, core = ":tensorflow:serving:", ":tensorflow:core:"
        loader = ":tensorflow:cc:saved_model:"
        self.request_count = Counter(f"{serving}request_count", ("model_name", "status"))
        self.request_latency = Histogram(f"{serving}request_latency", ("model_name", "API", "entrypoint"))
        self.runtime_latency = Histogram(f"{serving}runtime_latency", ("model_name", "API", "runtime"))
        self.graph_runs = Counter(f"{core}graph_runs")
        self.graph_run_time_usecs = Counter(f"{core}graph_run_time_usecs")
        self.load_attempt_count = Counter(f"{loader}load_attempt_count", ("model_path", "status"))
        self.load_latency = Counter(f"{loader}load_latency", ("model_path",))
        self.model_warmup_latency = Histogram(f"{serving}model_warmup_latency", ("model_path", "status"))
        self.queuing_latency = Histogram(
            f"{serving}batching_session:queuing_latency", ("thread_pool_name",), QUEUE_BUCKETS
        )
        self.wrapped_run_count = Counter(f"{serving}batching_session:wrapped_run_count")

    def page(self) -> str:
        """Everything in Prometheus' text format."""
        return "".join(f"{line}\n" for metric in vars(self).values() for line in metric.lines())


def _braces(labels: _Labels, values: _Labels) -> str:
    pairs = (f'{label}="{_escaped(value)}"' for label, value in zip(labels, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
