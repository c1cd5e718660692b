"""The error for what a user gave."""


class InputError(ValueError):
    """Something the user gave is wrong. The message says what was got, why, and what to do.

    The command line prints the message and exits with code 2; it never shows a stack trace for it.
    """
