"""When requests come: independently of each other, as those of many users do."""

import random
from collections.abc import Iterator


def poisson(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Times in seconds from the start, before `seconds`, of a Poisson process with `rate` events a second."""
    rng = random.Random(seed)
    at = rng.expovariate(rate)
    while at < seconds:
        yield at
        at += rng.expovariate(rate)
