"""The folder that an ingestion writes: new, or in the place of what an earlier one wrote, and never half of it."""

import glob
import os
import posixpath
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from apache_beam.io.filesystems import FileSystems

from components.example_gen.cloud import WRITE_STORAGE, explain
from components.example_gen.files import is_remote, remove_tree
from schema.artifacts import INGESTION_FILE
from schema.settings import InputError

_TEMPORARY: Final = ".tmp-"


@contextmanager
def replaced(out_dir: str) -> Iterator[tuple[str, str]]:
    """The folder to write to, and its final name: new, or in the place of what an earlier ingestion wrote.

    A local folder is written beside its place and then renamed; where the body fails, `out_dir` is as it was. A bucket
    has no folders to rename: there the summary goes first and comes last, and a folder without it is not whole; where
    the body fails, it is emptied.

    Raises:
      InputError: `out_dir` is a file, or holds what no ingestion wrote, or cannot be looked at.
    """
    if is_remote(out_dir):
        target = out_dir.rstrip("/")
        if "/" not in target.partition("://")[2]:
            raise InputError(f"{out_dir} is a whole bucket; name a folder in it, such as {target}/examples")
        _clear(target)
        try:
            yield target, target
        except BaseException:
            # Why it failed matters more than what it leaves.
            with suppress(Exception):
                remove_tree(target)
            raise
        return
    target = os.path.abspath(os.path.expanduser(out_dir))
    _check_replaceable(target)
    _remove_leftovers(target)
    temporary = f"{target}{_TEMPORARY}{os.getpid()}"
    try:
        yield temporary, target
        _replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _clear(target: str) -> None:
    try:
        found = FileSystems.match([f"{target}/**"], limits=[1])[0].metadata_list
        if found and not FileSystems.exists(posixpath.join(target, INGESTION_FILE)):
            raise InputError(f"{target} holds objects that no ingestion wrote; name a new or an empty folder")
        if found:
            FileSystems.delete([posixpath.join(target, INGESTION_FILE)])
            remove_tree(target)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{target} cannot be written to: {explain(error, WRITE_STORAGE)}") from error


def _check_replaceable(target: str) -> None:
    if os.path.isfile(target):
        raise InputError(f"{target} is a file; name a folder to write to")
    if os.path.isdir(target) and os.listdir(target) and not os.path.isfile(os.path.join(target, INGESTION_FILE)):
        raise InputError(f"{target} holds files that no ingestion wrote; name a new or an empty folder")


def _remove_leftovers(target: str) -> None:
    """Removes what runs into `target` left that were killed, told by the number of their process."""
    for path in glob.glob(f"{glob.escape(target)}{_TEMPORARY}*"):
        number = path.removeprefix(f"{target}{_TEMPORARY}").partition("-")[0]
        if number.isdigit() and not os.path.exists(f"/proc/{number}"):
            shutil.rmtree(path)


def _replace(temporary: str, target: str) -> None:
    """Puts `temporary` at `target`; what was there goes only once the new is whole."""
    if os.path.isdir(target):
        old = f"{temporary}-old"
        os.rename(target, old)
        os.rename(temporary, target)
        shutil.rmtree(old)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(temporary, target)
