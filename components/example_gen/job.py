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
from components.example_gen.inputs import Input, Piece, Reading, columns_of, cut_inputs, find_inputs
from components.example_gen.readers import HEAD_BYTES
from components.example_gen.ubi import (
    UBI_EVENTS_COLUMNS,
    UBI_EVENTS_REQUIRED,
    UBI_QUERIES_COLUMNS,
    UBI_QUERIES_REQUIRED,
    ubi_columns_of,
)
from components.example_gen.users import USER_ID
from schema.artifacts import DEAD_LETTERS_FOLDER, split_folder
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
    """One unit of reading: a piece of one kind of input; `file` is the index of its file or table in `Job.files`."""

    kind: str
    source: Piece
    file: int

    @property
    def name(self) -> str:
        """Names what this task writes; unique in the job."""
        return f"{self.kind}-{self.source.index:05d}"


@dataclass(frozen=True)
class Job:
    """A planned ingestion.

    The log and the profiles are cut into `keys` parts, the catalog into `item_keys`; 0 `keys` where the catalog is
    read alone.
    """

    config: IngestConfig
    output: str
    work: str
    tasks: tuple[ReadTask, ...]
    keys: int
    item_keys: int

    def split_file(self, split: str, prefix: str, name: str) -> str:
        """The TFRecord file of `split` that holds the examples of the key or portion `name`."""
        return posixpath.join(self.output, split_folder(split), f"{prefix}-{name}.tfrecord.gz")

    def dead_letters(self, name: str) -> str:
        """The dead-letter file of the piece of work `name`."""
        return posixpath.join(self.output, DEAD_LETTERS_FOLDER, f"{name}.jsonl")

    def files(self, kind: str) -> tuple[str, ...]:
        """The paths of an input's files and tables; rows name their file by its index here. `events` means any log."""
        wanted = (EVENTS, UBI_QUERIES, UBI_EVENTS) if kind == EVENTS else (kind,)
        paths = {task.file: task.source.path for task in self.tasks if task.kind in wanted}
        return tuple(paths[number] for number in range(len(paths)))

    def scratch(self, *names: str) -> str:
        """A path below the work folder."""
        return posixpath.join(self.work, *names)


def plan_job(config: IngestConfig, output: str, work: str) -> Job:
    """Finds and looks at the inputs, and cuts the work.

    Raises:
      InputError: if an input is missing, empty, of an unknown format, not to be read, or lacks a column.
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
    items = _tasks(CATALOG, catalog, 0, config)
    by_user = _tasks(USERS, users, 0, config)
    before = 0
    for kind, sources in logs:
        by_user += _tasks(kind, sources, before, config)
        before += len(sources)
    return Job(
        config,
        output,
        work,
        (*items, *by_user),
        config.keys or _keys(by_user, least=2),
        config.keys or _keys(items, least=1),
    )


def plan_catalog_job(config: IngestConfig, output: str, work: str) -> Job:
    """As `plan_job`, for the catalog alone; see `IngestConfig.for_catalog`."""
    own = config.for_catalog()
    catalog = _inputs(own.data.catalog, "catalog", REQUIRED_CATALOG_COLUMNS, columns_of)
    items = _tasks(CATALOG, catalog, 0, own)
    return Job(own, output, work, tuple(items), 0, own.keys or _keys(items, least=1))


def columns_read(kind: str, config: IngestConfig) -> tuple[str, ...]:
    """The columns that are read of an input; of UBI, the fields of a document."""
    return {
        CATALOG: CATALOG_COLUMNS,
        USERS: (USER_ID, *config.data.profile_columns),
        UBI_QUERIES: UBI_QUERIES_COLUMNS,
        UBI_EVENTS: UBI_EVENTS_COLUMNS,
        EVENTS: EVENT_COLUMNS,
    }[kind]


def _tasks(kind: str, sources: list[Input], first: int, config: IngestConfig) -> list[ReadTask]:
    index = {source.path: number for number, source in enumerate(sources, start=first)}
    setting = EVENTS if kind == UBI_EVENTS else kind
    documents = kind in (UBI_QUERIES, UBI_EVENTS)
    reading = Reading(setting, columns_read(kind, config), documents, config.bigquery.project)
    return [ReadTask(kind, piece, index[piece.path]) for piece in cut_inputs(sources, reading)]


def _keys(tasks: list[ReadTask], least: int) -> int:
    total = sum(task.source.decoded_size for task in tasks)
    return min(max(math.ceil(total / _BYTES_PER_KEY), least), _MOST_KEYS)


def _inputs(
    patterns: tuple[str, ...],
    what: str,
    required: tuple[str, ...],
    columns: Callable[[Input, int], tuple[str, ...]],
) -> list[Input]:
    sources = find_inputs(patterns, what)
    for source in sources:
        if source.names_all_columns:
            _check_columns(source.path, what, columns(source, HEAD_BYTES), required)
    # JSON rows leave out what is null, so a column counts as there if any JSON file of the input names it; and a
    # log may begin with thousands of rows of one kind.
    json_files = [source for source in sources if not source.names_all_columns]
    found: tuple[str, ...] = ()
    for head_bytes in (HEAD_BYTES, _DEEP_HEAD_BYTES):
        found = tuple(dict.fromkeys(name for file in json_files for name in columns(file, head_bytes)))
        if set(required) <= set(found):
            return sources
    if json_files:
        _check_columns(json_files[0].path, what, found, required)
    return sources


def _check_columns(path: str, what: str, found: tuple[str, ...], required: tuple[str, ...]) -> None:
    missing = [name for name in required if name not in found]
    if missing:
        raise InputError(
            f"`{what}`: {path} has no column {', '.join(missing)}. Found: {', '.join(found) or 'none'}. "
            f"Expected: {', '.join(required)}."
        )
