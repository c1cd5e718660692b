"""What is known of users now: the face of its stores, and what came of asking one."""

from typing import Final, Protocol

from souk_client.examples import Behavior


class UserState(Protocol):
    """A store of what users did and are."""

    def behavior(self, user_id: str, at_ms: int | None = None) -> Behavior | None:
        """What a user did before a moment, and the profile; None for a user of whom nothing is known.

        Args:
          user_id: whose.
          at_ms: the moment of the request, epoch milliseconds; None is now.

        Raises:
          UserStateError: if the store cannot be asked.
        """


class UserStateUse:
    """What a store of user states gave to an answer: the values of `Answer.user_state`."""

    # The user's behavior or profile was sent along.
    FOUND: Final = "found"
    # Nothing is known of this user.
    UNKNOWN: Final = "unknown"
    # The store could not be asked; the answer is as for a user of whom nothing is known.
    UNAVAILABLE: Final = "unavailable"
