from collections import defaultdict, deque

import numpy as np

from marketplace.catalog import NONE
from marketplace.memory import REMEMBERED, Memory


def test_each_user_remembers_the_last_clicks_over_many_days() -> None:
    rng = np.random.default_rng(0)
    memory = Memory.of(20)
    expected: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
    for _ in range(15):
        user, item = rng.integers(0, 18, 40), rng.integers(0, 500, 40)
        memory.remember(user, item)
        for one, clicked in zip(user.tolist(), item.tolist(), strict=True):
            expected[one].append(clicked)
    for one in range(20):
        assert sorted(memory.items[one][memory.items[one] != NONE].tolist()) == sorted(expected[one])


def test_of_too_many_clicks_in_a_day_the_last_are_remembered() -> None:
    memory = Memory.of(1)
    memory.remember(np.zeros(30, int), np.arange(30))
    assert sorted(memory.items[0].tolist()) == list(range(30 - REMEMBERED, 30))
