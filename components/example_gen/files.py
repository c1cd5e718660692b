"""Files on disks and in buckets: input files are found and split, a file is written whole or not at all.

Paths are what Beam's FileSystems understands: local ones and, with Beam's extras, gs://, s3:// and hdfs://.
"""

import glob
import math
import os
import posixpath
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import BinaryIO, Final, Literal, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from components.example_gen.cloud import READ_STORAGE, explain
from schema.file_errors import file_error
from schema.file_head import holds_nothing, is_gzip
from schema.settings import InputError

try:
    from isal import igzip as gzip
except ImportError:
    import gzip  # type: ignore[no-redef]

Format = Literal["jsonl", "csv", "parquet"]

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
_FIRST_BYTES: Final = 512
# Files whose first bytes are read at once; in a bucket each takes a request.
_SNIFFERS: Final = 16
SPLIT_BYTES = 64 << 20
# Of a gzipped file.
_MOST_PARTS: Final = 4


@dataclass(frozen=True)
class InputFile:
    """One input file: its path, format, whether it is gzipped, its size in bytes on disk, and when it was last
    changed (seconds since 1970, 0.0 where the file system does not say).
    """

    path: str
    format: Format
    gzipped: bool
    size: int
    changed: float = 0.0

    @property
    def version(self) -> str:
        """A text that changes when the file does, as far as its file system says."""
        return str(self.changed)

    @property
    def documents(self) -> bool:
        """Whether its rows can be read as JSON documents."""
        return self.format == "jsonl"

    @property
    def names_all_columns(self) -> bool:
        """Whether its head is sure to name all columns; rows of JSON leave out what is null."""
        return self.format != "jsonl"


@dataclass(frozen=True)
class FileSplit:
    """The rows of `file` that begin in the bytes [start, end), for one worker. Only JSONL is split.

    Gzipped, it cannot be read from its middle: each of its `parts` splits inflates all of it, which is a small share of
    the work, and has every `parts`-th batch of lines, from batch `part` on.
    """

    file: InputFile
    start: int
    end: int
    index: int
    part: int = 0
    parts: int = 1

    @property
    def path(self) -> str:
        """Of the file."""
        return self.file.path

    @property
    def decoded_size(self) -> int:
        """A guess of its size in bytes as JSON text, from how well logs usually compress."""
        times = 10 if self.file.gzipped or self.file.format == "parquet" else 1
        return (self.end - self.start) * times // self.parts


def find_files(patterns: tuple[str, ...], what: str) -> list[InputFile]:
    """The files that `patterns` name, sorted by path, each once.

    A path that exists as it is written is that file, whatever brackets it has; a folder is all files in it. What is
    found in a folder or by a glob is left out if it is empty, or if its name or a folder of it begins with `_` or `.`.

    Args:
      patterns: paths or globs.
      what: the setting that the patterns come from, for the error message.

    Raises:
      InputError: if a pattern matches nothing or only empty files, or a format is unknown.
    """
    found: dict[str, InputFile] = {}
    with ThreadPoolExecutor(_SNIFFERS) as pool:
        for pattern in patterns:
            try:
                matches, hidden = _match(pattern)
            except Exception as error:
                raise InputError(f"`{what}`: cannot look for {pattern!r}: {explain(error, READ_STORAGE)}") from error
            if not matches:
                where = "" if is_remote(pattern) else f" (looked in {os.getcwd()})"
                more = f". {hidden} and such, whose names begin with `_` or `.`, are left out" if hidden else ""
                raise InputError(f"`{what}`: no file matches {pattern!r}{where}; check the path and the glob{more}")
            described = [_describe(match, what) for match in matches]
            files = [file for file in pool.map(lambda file: _sniffed(file, what), described) if file.size]
            if not files:
                raise InputError(f"`{what}`: {matches[0].path} is empty; remove it or give the whole file")
            found |= {file.path: file for file in files}
    return [found[path] for path in sorted(found)]


def _match(pattern: str) -> tuple[list[FileMetadata], str]:
    """What `pattern` names, and the first file that is left out by its name."""
    path = os.path.expanduser(pattern)
    remote = is_remote(path)
    if not remote and os.path.isfile(path):
        return [FileMetadata(path, os.path.getsize(path), os.path.getmtime(path))], ""
    path = path.rstrip("/") or path
    if not remote and glob.has_magic(path):
        # Beam finds nothing by a glob that begins with a name.
        path = os.path.join(os.curdir, path)
    escaped = glob.has_magic(path) and remote and FileSystems.exists(path)
    wanted = glob.escape(path) if escaped else path if remote else _literal(path)
    hidden = ""
    for one in (wanted, f"{wanted}/**"):
        matches = FileSystems.match([one])[0].metadata_list
        # A console marks a folder of a bucket with an empty object whose name ends in a slash.
        matches = [match for match in matches if not os.path.isdir(match.path) and not match.path.endswith("/")]
        shown = [match for match in matches if not _is_hidden(match.path, one)]
        if shown:
            return shown, ""
        hidden = hidden or next((match.path for match in matches), "")
    return [], hidden


def _literal(path: str) -> str:
    """`path` as a glob in which what exists as it is written means itself."""
    if not glob.has_magic(path):
        return path
    if os.path.exists(path):
        return glob.escape(path)
    head, tail = os.path.split(path)
    return os.path.join(_literal(head), tail) if head not in ("", path) else path


def _is_hidden(path: str, pattern: str) -> bool:
    """Whether a part of `path`, but none of `pattern`, begins with `_` or `.`, as what Hadoop leaves beside data."""
    named = [part for part in pattern.split("/") if part.startswith(("_", "."))]
    return any(
        part.startswith(("_", ".")) and not any(fnmatchcase(part, one) for one in named) for part in path.split("/")
    )


def _sniffed(file: InputFile, what: str) -> InputFile:
    """`file` as its first bytes say: gzipped or not, and of size 0 if nothing was gzipped."""
    if file.format == "parquet" or not file.size:
        return file
    try:
        with open_raw(file.path, _FIRST_BYTES) as stream:
            head = stream.read(_FIRST_BYTES)
    except Exception as error:
        told = InputError(f"`{what}`: {file.path} cannot be read: {explain(error, READ_STORAGE)}")
        raise file_error(error, file.path) or told from error
    gzipped = is_gzip(head, file.path)
    # An empty part of a data set, gzipped.
    nothing = gzipped and file.size <= len(head) and holds_nothing(head)
    return replace(file, gzipped=gzipped, size=0 if nothing else file.size)


def split_files(files: list[InputFile], split_bytes: int = SPLIT_BYTES, first: int = 0) -> list[FileSplit]:
    """The splits of `files`: plain JSONL in ranges of about `split_bytes`, gzipped JSONL of more in up to `_MOST_PARTS`
    parts, any other file whole.

    Their indices count from `first`.
    """
    splits: list[FileSplit] = []
    for file in files:
        count = math.ceil(file.size / split_bytes) if file.format == "jsonl" else 1
        step = file.size if file.gzipped or count == 1 else split_bytes
        parts = min(count, _MOST_PARTS) if file.gzipped else 1
        for start in range(0, file.size, step):
            for part in range(parts):
                end = min(start + step, file.size)
                splits.append(FileSplit(file, start, end, first + len(splits), part, parts))
    return splits


def open_stream(file: InputFile) -> BinaryIO:
    """The decompressed bytes of `file`, seekable where it is not gzipped."""
    return cast(BinaryIO, gzip.GzipFile(fileobj=open_raw(file.path)) if file.gzipped else open_raw(file.path))


def is_remote(path: str) -> bool:
    """Whether `path` names its file system, as `gs://` does."""
    return "://" in path


def open_raw(path: str, ahead: int | None = None) -> BinaryIO:
    """The bytes of `path` as they are.

    Args:
      path: of a file.
      ahead: how many bytes a read of an object store fetches at least, for one who reads only parts; by default MiBs.
    """
    if os.path.exists(path):
        return open(path, "rb")
    if ahead is not None and path.startswith("gs://"):
        from apache_beam.io.gcp.gcsio import GcsIO

        return cast(BinaryIO, GcsIO().open(path, "r", read_buffer_size=ahead))
    return cast(BinaryIO, FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED))


@contextmanager
def create(path: str) -> Iterator[BinaryIO]:
    """Writes `path` whole or not at all, so that a repeated or killed bundle leaves no half file."""
    temporary = f"{path}.tmp-{uuid.uuid4().hex}"
    make_directory(os.path.dirname(path))
    remote = is_remote(path)
    stream = (
        FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) if remote else _new(temporary)
    )
    try:
        yield cast(BinaryIO, stream)
        stream.close()
    except BaseException:
        stream.close()
        FileSystems.delete([temporary])
        raise
    if remote:
        FileSystems.rename([temporary], [path])
    else:
        os.replace(temporary, path)


def _new(path: str) -> BinaryIO:
    return open(path, "wb")


def make_directory(path: str) -> None:
    """Makes `path` and its parents; it may be there already."""
    if not is_remote(path):
        os.makedirs(path or os.curdir, exist_ok=True)
        return
    if not FileSystems.get_filesystem(path).has_dirs():
        return
    if not FileSystems.exists(path):
        try:
            FileSystems.mkdirs(path)
        except OSError:
            # Another worker was faster.
            if not FileSystems.exists(path):
                raise


def remove_tree(path: str) -> None:
    """Removes `path` with all that is in it, if it is there."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif is_remote(path):
        # An object store knows no folders; what begins with the path and a slash is in it.
        with suppress(BeamIOError):
            FileSystems.delete([f"{path}/"])


def _describe(match: FileMetadata, what: str) -> InputFile:
    path = match.path
    suffix, gzipped = _suffix(path)
    # Hadoop's writers name the folder alone: log.json/part-00000.
    format_ = _SUFFIXES.get(suffix or _suffix(posixpath.dirname(path))[0])
    if format_ is None or (gzipped and format_ == "parquet"):
        known = ", ".join(_SUFFIXES)
        raise InputError(f"`{what}`: {path} has no known format; its name must end in one of {known} (text also .gz)")
    return InputFile(path, format_, gzipped, match.size_in_bytes, match.last_updated_in_seconds or 0.0)


def _suffix(path: str) -> tuple[str, bool]:
    """What the name ends in, without the end that says that it is gzipped, and whether there is one."""
    stem, suffix = os.path.splitext(path.lower())
    return (os.path.splitext(stem)[1], True) if suffix == ".gz" else (suffix, False)
