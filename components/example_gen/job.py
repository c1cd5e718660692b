"""What one job knows from the start: its inputs, how they are cut, and where everything goes."""

import math
import posixpath
from collections.abc import Callable
from dataclasses import dataclass

from components.example_gen.columns import (
    CATALOG_COLUMNS,
    EVENT_COLUMNS,
    REQUIRED_CATALOG_COLUMNS,
    REQUIRED_EVENT_COLUMNS,
)
from components.example_gen.config import IngestConfig
from components.example_gen.files import FileRange, InputFile, cut_ranges, find_files
from components.example_gen.readers import HEAD_BYTES, columns_of
from components.example_gen.ubi import UBI_EVENTS_REQUIRED, UBI_QUERIES_REQUIRED, ubi_columns_of
from components.example_gen.users import USER_ID
from schema.settings import InputError

# Text that one key holds, about; its columns take roughly as much memory, several times over while worked.
_BYTES_PER_KEY = 48 << 20
_MOST_KEYS = 4096
# How far a JSON file is searched for a column that its first rows do not name.
_DEEP_HEAD_BYTES = 32 << 20

EVENTS = "events"
UBI_QUERIES = "ubi_queries"
UBI_EVENTS = "ubi_events"
CATALOG = "catalog"
USERS = "users"


@dataclass(frozen=True)
class ReadTask:
    """One unit of reading: a range of a file of one kind of input; `file` is the file's index in `Job.files`."""

    kind: str
    source: FileRange
    file: int

    @property
    def name(self) -> str:
        """Names what this task writes; unique in the job."""
        return f"{self.kind}-{self.source.index:05d}"


@dataclass(frozen=True)
class Job:
    """A planned ingestion.

    The log and the profiles are cut into `keys` parts, the catalogue into `item_keys`.
    """

    config: IngestConfig
    output: str
    work: str
    tasks: tuple[ReadTask, ...]
    keys: int
    item_keys: int

    def split_file(self, split: str, prefix: str, key: int) -> str:
        """The TFRecord file of `split` that holds the examples of `key`."""
        return posixpath.join(self.output, f"Split-{split}", f"{prefix}-{key:05d}.tfrecord.gz")

    def dead_letters(self, name: str) -> str:
        """The dead-letter file of the piece of work `name`."""
        return posixpath.join(self.output, "dead_letters", f"{name}.jsonl")

    def files(self, kind: str) -> tuple[str, ...]:
        """The paths of an input's files; rows name their file by its index here. `events` means any log."""
        wanted = (EVENTS, UBI_QUERIES, UBI_EVENTS) if kind == EVENTS else (kind,)
        paths = {task.file: task.source.file.path for task in self.tasks if task.kind in wanted}
        return tuple(paths[number] for number in range(len(paths)))

    def scratch(self, *names: str) -> str:
        """A path below the work folder."""
        return posixpath.join(self.work, *names)


def plan_job(config: IngestConfig, output: str, work: str) -> Job:
    """Finds and looks at the inputs, and cuts the work.

    Raises:
      InputError: if an input is missing, empty, of an unknown format or lacks a column.
    """
    data = config.dated_data
    if data.events_format == "ubi":
        queries = _inputs(data.ubi_queries, "ubi_queries", UBI_QUERIES_REQUIRED, ubi_columns_of)
        events = _inputs(data.events, "events", UBI_EVENTS_REQUIRED, ubi_columns_of)
        logs = [(UBI_QUERIES, queries), (UBI_EVENTS, events)]
    else:
        logs = [(EVENTS, _inputs(data.events, "events", REQUIRED_EVENT_COLUMNS, columns_of))]
    catalog = _inputs(data.catalog, "catalog", REQUIRED_CATALOG_COLUMNS, columns_of)
    users = _inputs(data.users, "users", (USER_ID, *data.profile_columns), columns_of) if data.users else []
    tasks = [task for kind, files in ((CATALOG, catalog), (USERS, users)) for task in _tasks(kind, files, 0)]
    log_files: list[InputFile] = []
    for kind, files in logs:
        tasks += _tasks(kind, files, len(log_files))
        log_files += files
    return Job(
        config,
        output,
        work,
        tuple(tasks),
        config.keys or _keys(log_files + users, least=2),
        config.keys or _keys(catalog, least=1),
    )


def columns_read(task: ReadTask, config: IngestConfig) -> tuple[str, ...]:
    """The columns that `task` reads."""
    if task.kind == CATALOG:
        return CATALOG_COLUMNS
    if task.kind == USERS:
        return (USER_ID, *config.data.profile_columns)
    return EVENT_COLUMNS


def _tasks(kind: str, files: list[InputFile], first: int) -> list[ReadTask]:
    index = {file.path: number for number, file in enumerate(files, start=first)}
    return [ReadTask(kind, source, index[source.file.path]) for source in cut_ranges(files)]


def _keys(files: list[InputFile], least: int) -> int:
    total = sum(file.decoded_size for file in files)
    return min(max(math.ceil(total / _BYTES_PER_KEY), least), _MOST_KEYS)


def _inputs(
    patterns: tuple[str, ...],
    what: str,
    required: tuple[str, ...],
    columns: Callable[[InputFile, int], tuple[str, ...]],
) -> list[InputFile]:
    files = find_files(patterns, what)
    for file in files:
        if file.format != "jsonl":
            _check_columns(file.path, what, columns(file, HEAD_BYTES), required)
    # JSON rows leave out what is null, so a column counts as there if any JSON file of the input names it; and a
    # log may begin with thousands of rows of one kind.
    json_files = [file for file in files if file.format == "jsonl"]
    found: tuple[str, ...] = ()
    for head_bytes in (HEAD_BYTES, _DEEP_HEAD_BYTES):
        found = tuple(dict.fromkeys(name for file in json_files for name in columns(file, head_bytes)))
        if set(required) <= set(found):
            return files
    if json_files:
        _check_columns(json_files[0].path, what, found, required)
    return files


def _check_columns(path: str, what: str, found: tuple[str, ...], required: tuple[str, ...]) -> None:
    missing = [name for name in required if name not in found]
    if missing:
        raise InputError(
            f"`{what}`: {path} has no column {', '.join(missing)}. Found: {', '.join(found) or 'none'}. "
            f"Expected: {', '.join(required)}."
        )
