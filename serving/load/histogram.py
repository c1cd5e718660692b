"""Latencies counted in logarithmic buckets: percentiles of any number of requests in little memory.

The buckets are those of DDSketch (Masson, Rim and Lee, VLDB 2019): every percentile is off by a known share at most.
"""

import math
from collections import Counter
from collections.abc import Iterable

RELATIVE_ERROR = 0.005

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
# Shorter times count as this one.
_LEAST_S = 9e-7


class LatencyHistogram:
    """Counts durations in seconds. A percentile is off by `RELATIVE_ERROR` of itself or by 1 µs, whichever is more."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._buckets: Counter[int] = Counter()
        self._sum = 0.0
        self.count = 0
        self.max = 0.0
        for value in values:
            self.add(value)

    def add(self, seconds: float) -> None:
        """Counts one duration; a negative one, from clocks that disagree, as 0."""
        seconds = max(0.0, seconds)
        self._buckets[math.ceil(math.log(max(seconds, _LEAST_S)) / _LOG_GAMMA)] += 1
        self._sum += seconds
        self.count += 1
        self.max = max(self.max, seconds)

    def merge(self, other: "LatencyHistogram") -> None:
        """Counts all that `other` has counted."""
        self._buckets.update(other._buckets)
        self._sum += other._sum
        self.count += other.count
        self.max = max(self.max, other.max)

    @property
    def mean(self) -> float:
        """The mean in seconds, exact; NaN of nothing."""
        return self._sum / self.count if self.count else math.nan

    def percentile(self, percent: float) -> float:
        """The least counted duration in seconds that `percent` of all do not exceed; NaN of nothing.

        Raises:
          ValueError: if `percent` is not within 0 and 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is within 0 and 100, got {percent}")
        if not self.count:
            return math.nan
        left = max(1, math.ceil(self.count * percent / 100 - 1e-9))
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                # The point of the bucket (gamma^(i-1), gamma^i] that is as far from either end, as a share.
                return min(2 * _GAMMA**bucket / (_GAMMA + 1), self.max)
        return self.max
