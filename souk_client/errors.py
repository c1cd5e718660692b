"""The errors for what a user gave, and for user states that are not at hand."""


class InputError(ValueError):
    """Something the user gave is wrong. The message says what was got, why, and what to do.

    The command line prints the message and exits with code 2; it never shows a stack trace for it.
    """


class UserStateError(RuntimeError):
    """User states cannot be read now. The message says whose store it is, and why."""
