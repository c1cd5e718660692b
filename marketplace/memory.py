"""What each searcher remembers having clicked on earlier days."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from marketplace.catalog import NONE

REMEMBERED = 8


@dataclass
class Memory:
    """The last clicked items of each user, in no order; grows with the users, not with the log.

    Attributes:
      items: remembered items, NONE where fewer [users, REMEMBERED].
      clicks: clicks so far [users].
    """

    items: np.ndarray
    clicks: np.ndarray

    @classmethod
    def of(cls, users: int) -> Self:
        """The memory of users who have clicked nothing yet."""
        return cls(np.full((users, REMEMBERED), NONE, np.int32), np.zeros(users, np.int64))

    def remember(self, user: np.ndarray, item: np.ndarray) -> None:
        """Take in clicks in the order of time; each pushes out its user's oldest one [clicks]."""
        order = np.argsort(user, kind="stable")
        user, item = user[order], item[order]
        first = np.searchsorted(user, user, side="left")
        nth = self.clicks[user] + np.arange(len(user)) - first
        self.items[user, nth % REMEMBERED] = item
        np.add.at(self.clicks, user, 1)
