"""The input files: found by pattern, named by format, opened as streams, cut into ranges.

Paths are what Beam's FileSystems understands: local ones and, with Beam's extras, gs://, s3:// and hdfs://.
"""

import gzip
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Literal, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from components.example_gen.cloud_errors import READ_STORAGE, explain
from schema.settings import InputError

Format = Literal["jsonl", "csv", "parquet"]

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
RANGE_BYTES = 64 << 20


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
class FileRange:
    """The rows of `file` that begin in the bytes [start, end). Only plain JSONL is cut; `index` names it."""

    file: InputFile
    start: int
    end: int
    index: int

    @property
    def path(self) -> str:
        """Of the file."""
        return self.file.path

    @property
    def decoded_size(self) -> int:
        """A guess of its size in bytes as JSON text, from how well logs usually compress."""
        return (self.end - self.start) * (10 if self.file.gzipped else 4 if self.file.format == "parquet" else 1)


def find_files(patterns: tuple[str, ...], what: str) -> list[InputFile]:
    """The files that `patterns` name, sorted by path, each once.

    Args:
      patterns: paths or globs.
      what: the setting that the patterns come from, for the error message.

    Raises:
      InputError: if a pattern matches nothing, a file is empty, or its format is unknown.
    """
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        try:
            matches = FileSystems.match([os.path.expanduser(pattern)])[0].metadata_list
        except Exception as error:
            raise InputError(f"`{what}`: cannot look for {pattern!r}: {explain(error, READ_STORAGE)}") from error
        # A console marks a folder of a bucket with an empty object whose name ends in a slash.
        matches = [match for match in matches if not os.path.isdir(match.path) and not match.path.endswith("/")]
        if not matches:
            where = "" if is_remote(pattern) else f" (looked in {os.getcwd()})"
            raise InputError(f"`{what}`: no file matches {pattern!r}{where}; check the path and the glob")
        for match in matches:
            found[match.path] = _describe(match, what)
    files = [found[path] for path in sorted(found)]
    for file in files:
        if file.size == 0:
            raise InputError(f"`{what}`: {file.path} is empty; remove it or give the whole file")
    return files


def cut_ranges(files: list[InputFile], range_bytes: int = RANGE_BYTES, first: int = 0) -> list[FileRange]:
    """Units of parallel reading: plain JSONL in ranges of about `range_bytes`, any other file whole.

    Their indices count from `first`.
    """
    ranges: list[FileRange] = []
    for file in files:
        step = range_bytes if file.format == "jsonl" and not file.gzipped else file.size
        for start in range(0, file.size, step):
            ranges.append(FileRange(file, start, min(start + step, file.size), first + len(ranges)))
    return ranges


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
    stream = FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED)
    try:
        yield cast(BinaryIO, stream)
        stream.close()
    except BaseException:
        stream.close()
        FileSystems.delete([temporary])
        raise
    if os.path.exists(temporary):
        os.replace(temporary, path)
    else:
        FileSystems.rename([temporary], [path])


def make_directory(path: str) -> None:
    """Makes `path` and its parents; it may be there already."""
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
    stem, suffix = os.path.splitext(path.lower())
    gzipped = suffix == ".gz"
    if gzipped:
        suffix = os.path.splitext(stem)[1]
    format_ = _SUFFIXES.get(suffix)
    if format_ is None or (gzipped and format_ == "parquet"):
        known = ", ".join(_SUFFIXES)
        raise InputError(f"`{what}`: {path} has no known format; its name must end in one of {known} (text also .gz)")
    return InputFile(path, format_, gzipped, match.size_in_bytes, match.last_updated_in_seconds or 0.0)
