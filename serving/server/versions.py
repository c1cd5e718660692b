"""Which versions of a model a folder holds, and which of them are to be served."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from schema.settings import InputError

SAVED_MODEL_FILE = "saved_model.pb"

_MAX_VERSION = 2**63 - 1


@dataclass(frozen=True)
class Latest:
    """Serve the `count` newest versions."""

    count: int = 1


@dataclass(frozen=True)
class All:
    """Serve every version."""


@dataclass(frozen=True)
class Specific:
    """Serve the versions of these numbers and no other."""

    numbers: frozenset[int]


# TensorFlow Serving's ServableVersionPolicy.
Policy = Latest | All | Specific
NEWEST = Latest(1)


@dataclass(frozen=True)
class VersionFolder:
    """One version as it lies on disk.

    Attributes:
      number: its version; a larger one is newer.
      path: its folder.
      stamp: size and time of its saved_model.pb; it changes when the file is written anew. None while the
        file is not there: who copies a model writes that file last.
    """

    number: int
    path: Path
    stamp: tuple[int, int] | None

    @property
    def complete(self) -> bool:
        """Whether the folder holds a model that can be loaded."""
        return self.stamp is not None


def base_folder(model_dir: str | None, source: str = "--model-dir") -> Path:
    """The absolute path of the folder to watch.

    Args:
      model_dir: the folder as it was given.
      source: where it was given, for the messages.

    Raises:
      InputError: if it is not given, is not there, or is a version itself.
    """
    if model_dir is None:
        raise InputError("No model folder is given. Name the folder that `souk run` pushes to with --model-dir DIR.")
    base = Path(model_dir).expanduser().resolve()
    if not base.is_dir():
        raise InputError(
            f"There is no model folder {base}. Give {source} the folder that holds one numbered folder "
            "per version, as `souk run` pushes them."
        )
    if (base / SAVED_MODEL_FILE).exists():
        raise InputError(
            f"{base} is a version itself (it holds {SAVED_MODEL_FILE}). Give {source} the folder above it, "
            f"{base.parent}, in which versions are folders named by a number."
        )
    return base


def scan(base: Path) -> list[VersionFolder]:
    """The version folders in `base`, oldest first; whatever is not a folder named by a number is passed over.

    Two folders of one number ("7" and "007") count as the one whose name sorts last.

    Raises:
      OSError: if `base` cannot be read.
    """
    found: dict[int, VersionFolder] = {}
    for path in sorted(base.iterdir()):
        number = _version_number(path.name)
        if number is not None and path.is_dir():
            found[number] = VersionFolder(number, path, _stamp(path / SAVED_MODEL_FILE))
    return [found[number] for number in sorted(found)]


def choose(folders: Iterable[VersionFolder], policy: Policy) -> list[VersionFolder]:
    """The complete versions that `policy` wants to be served, newest first."""
    complete = sorted((folder for folder in folders if folder.complete), key=lambda folder: folder.number, reverse=True)
    match policy:
        case Latest(count):
            return complete[:count]
        case Specific(numbers):
            return [folder for folder in complete if folder.number in numbers]
        case All():
            return complete


def _version_number(name: str) -> int | None:
    if not (name.isascii() and name.isdigit()):
        return None
    number = int(name)
    return number if number <= _MAX_VERSION else None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
