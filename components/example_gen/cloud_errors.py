"""What a refusal by a cloud service means, and what to do about it, in one line."""

from typing import Final

from schema.secrets import mask

READ_STORAGE: Final = "roles/storage.objectViewer on the bucket"
SIGN_IN: Final = (
    "sign in with `gcloud auth application-default login`, name a key file in GOOGLE_APPLICATION_CREDENTIALS, or run "
    "as a service account"
)


def explain(error: BaseException, roles: str) -> str:
    """What went wrong, in words.

    Args:
      error: as a client of Google's raised it, or as Beam wrapped it.
      roles: what the account needs, named where it was refused.
    """
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    cause = _cause(error)
    said = " ".join(mask(str(getattr(cause, "message", None) or cause)).split())[:400]
    if isinstance(cause, exceptions.NotFound):
        return f"there is no such thing ({said})"
    if isinstance(cause, exceptions.Unauthorized | exceptions.Unauthenticated | GoogleAuthError):
        return f"not signed in to Google Cloud ({said}); {SIGN_IN}"
    if isinstance(cause, exceptions.Forbidden):
        return f"the account may not ({said}); it needs {roles}"
    return said or type(cause).__name__


def is_final(error: BaseException) -> bool:
    """Whether trying again cannot help: the request itself was refused."""
    from google.api_core import exceptions

    retriable = exceptions.TooManyRequests | exceptions.Aborted | exceptions.Cancelled
    return isinstance(error, exceptions.ClientError) and not isinstance(error, retriable)


def _cause(error: BaseException) -> BaseException:
    details = getattr(error, "exception_details", None)
    inner = next(iter(details.values()), None) if isinstance(details, dict) else None
    return _cause(inner) if isinstance(inner, BaseException) else error
