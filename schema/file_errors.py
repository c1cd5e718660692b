"""What the file system refused, told in one sentence: the path, the reason and what to do.

Errors come as Python's `OSError`, as classes of pyarrow, polars, TensorFlow and ML Metadata, and as the text of a
traceback where a worker of Beam raised them.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from souk_client.errors import InputError


class StorageError(InputError):
    """The disk failed, whatever was given: it is full, or broken. The same command may work later."""


_PERMISSION: Final = "give this user the permission, or give another path"
_CHECK: Final = "check the path"
_ROOM: Final = "free some space, or give a path on another disk"
_GIVEN: Final = {
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "give a path that can be written",
    errno.ENOENT: _CHECK,
    errno.ENOTDIR: "one of the folders in the path is a file; check the path",
    errno.EISDIR: "give the path of a file",
    errno.EEXIST: "give another path",
    errno.ENAMETOOLONG: _CHECK,
    errno.ELOOP: _CHECK,
}
_FAILED: Final = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`), or give a path on another disk",
    errno.EIO: "check the disk",
    errno.ESTALE: "check the network drive",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "raise the limit on open files",
}
_ADVICE: Final = _GIVEN | _FAILED
# Libraries raise these of Python's classes with a message alone.
_BY_CLASS: Final[dict[type[BaseException], int]] = {
    PermissionError: errno.EACCES,
    FileNotFoundError: errno.ENOENT,
    NotADirectoryError: errno.ENOTDIR,
    IsADirectoryError: errno.EISDIR,
    FileExistsError: errno.EEXIST,
}
_BY_REASON: Final = {os.strerror(code): code for code in _ADVICE}

# Python's and pyarrow's way to tell a number, polars' (Rust's), and that of an error within another one's text.
_NUMBER: Final = re.compile(r"\[[Ee]rrno (\d+)\]|\(os error (\d+)\)|\b\w+Error\((\d+), ['\"]")
# TensorFlow tells the reason alone, after the path.
_TENSORFLOW: Final = re.compile(rf"(\S+); ({'|'.join(map(re.escape, _BY_REASON))})")
# SQLite, in which ML Metadata keeps what it knows.
_SQLITE: Final = {
    "database or disk is full": errno.ENOSPC,
    "disk I/O error": errno.EIO,
    "attempt to write a readonly database": errno.EACCES,
    "unable to open database file": errno.EACCES,
}
_PATHS: Final = (
    re.compile(r"\[[Ee]rrno \d+\] [^\n']*: '([^'\n]+)'"),
    re.compile(r"\b(?:file|directory|folder) '([^'\n]+)'"),
    re.compile(r"\(os error \d+\): (\S+)"),
)
# In a traceback, the error that it ends with.
_RAISED: Final = re.compile(r"^[\w.]+(?:Error|Exception)\b", re.MULTILINE)


def file_error(error: BaseException, path: str | os.PathLike[str] = "") -> InputError | None:
    """What the file system refused, if `error` stems from that; None for every other error.

    Args:
      error: as it was caught.
      path: what was read or written, for an error that does not name it.

    Returns:
      A `StorageError` for a disk that is full or broken, an `InputError` for a path that is wrong or not permitted.
    """
    for cause in causes(error):
        found = _number_and_path(cause)
        if found is not None:
            code, named = found
            if not named or _is_beside(named, os.fspath(path)):
                named = os.fspath(path) or "the file system"
            where = f"{named}: {os.strerror(code)}"
            return (InputError if code in _GIVEN else StorageError)(f"{where}; {_ADVICE[code]}")
        if type(cause) is OSError and cause.errno is None and str(cause):
            # A library's, in its own words.
            return StorageError(str(cause).splitlines()[0])
    return None


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises what the file system refuses in the block as `file_error` tells it, by default of `path`.

    Raises:
      StorageError, InputError: see `file_error`.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        found = file_error(error, path)
        if found is None:
            raise
        raise found from error


def _is_beside(found: str, path: str) -> bool:
    """Whether `found` is what is written in the place of `path` until it is whole, of which a user knows nothing."""
    folder, name = os.path.split(os.path.abspath(path))
    return bool(path) and os.path.dirname(found) == folder and name in os.path.basename(found)


def causes(error: BaseException, *, with_context: bool = False) -> Iterator[BaseException]:
    """The error and what it was explicitly raised from: one that merely came up on the way may have nothing to do.

    Args:
      error: as it was caught.
      with_context: whether what was handled when it was raised is followed where it names no cause.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (current.__context__ if with_context else None)


def _number_and_path(error: BaseException) -> tuple[int, str] | None:
    text = _last_raised(str(error))
    code, path = None, ""
    # Other classes have numbers of their own, such as those of TLS.
    if isinstance(error, OSError) and type(error).__module__ == "builtins":
        code = error.errno
        path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    if type(error).__module__.startswith("tensorflow.") and (told := _TENSORFLOW.search(text)):
        code, path = _BY_REASON[told[2]], told[1]
    if code is None and (number := _NUMBER.search(text)):
        code = int(number[1] or number[2] or number[3])
    if code is None and type(error) in _BY_CLASS:
        code = _BY_CLASS[type(error)]
        path = text if os.sep in text and not any(map(str.isspace, text)) else ""
    if code is None:
        code = next((number for words, number in _SQLITE.items() if words in text), None)
    if code not in _ADVICE:
        return None
    found = (pattern.search(text) for pattern in _PATHS)
    return code, path or next((match[1] for match in found if match), "")


def _last_raised(text: str) -> str:
    raised = list(_RAISED.finditer(text)) if "Traceback (most recent call last)" in text else []
    return text[raised[-1].start() :] if raised else text
