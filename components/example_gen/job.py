"""The plan of a job: its input splits, its number of partitions, and the paths of what it writes."""

import math
import posixpath
from collections.abc import Callable
from dataclasses import dataclass

from components.example_gen.columns import (
    CATALOG_COLUMNS,
    EVENT_COLUMNS,
    REQUIRED_CATALOG_COLUMNS,
    REQUIRED_EVENT_COLUMNS,
    USER_ID,
)
from components.example_gen.config import IngestConfig
from components.example_gen.inputs import Input, Reading, Split, columns_of, find_inputs, split_inputs
from components.example_gen.readers import HEAD_BYTES
from components.example_gen.ubi import (
    UBI_EVENTS_COLUMNS,
    UBI_EVENTS_REQUIRED,
    UBI_QUERIES_COLUMNS,
    UBI_QUERIES_REQUIRED,
    ubi_columns_of,
)
from schema.artifacts import DEAD_LETTERS_FOLDER, split_folder
from schema.settings import InputError

# Text that one partition holds, about; its columns take as much memory, several times over while processed.
_BYTES_PER_PARTITION = 48 << 20
_MAX_PARTITIONS = 4096
# How far a JSON file is searched for a column that its first rows do not name.
_DEEP_HEAD_BYTES = 32 << 20

EVENTS = "events"
UBI_QUERIES = "ubi_queries"
UBI_EVENTS = "ubi_events"
CATALOG = "catalog"
USERS = "users"


@dataclass(frozen=True)
class InputSplit:
    """What one worker reads: a split of one kind of input; `file` is its place in `IngestJob.files`."""

    kind: str
    source: Split
    file: int

    @property
    def name(self) -> str:
        """Names what is written for it; unique in the job."""
        return f"{self.kind}-{self.source.index:05d}"


@dataclass(frozen=True)
class IngestJob:
    """A planned ingestion.

    The log and the profiles have so many `partitions`, the catalog `item_partitions`; 0 `partitions` where the catalog
    is read alone.
    """

    config: IngestConfig
    output: str
    work: str
    input_splits: tuple[InputSplit, ...]
    partitions: int
    item_partitions: int

    def split_file(self, split: str, prefix: str, partition: int) -> str:
        """The TFRecord file of `split` that holds the examples of a partition."""
        return posixpath.join(self.output, split_folder(split), f"{prefix}-{partition:05d}.tfrecord.gz")

    def dead_letters(self, name: str) -> str:
        """The dead-letter file `name`."""
        return posixpath.join(self.output, DEAD_LETTERS_FOLDER, f"{name}.jsonl")

    def files(self, kind: str) -> tuple[str, ...]:
        """The paths of an input's files and tables; rows name their file by its index here. `events` means any log."""
        wanted = (EVENTS, UBI_QUERIES, UBI_EVENTS) if kind == EVENTS else (kind,)
        paths = {split.file: split.source.path for split in self.input_splits if split.kind in wanted}
        return tuple(paths[number] for number in range(len(paths)))

    def scratch(self, *names: str) -> str:
        """A path below the work folder."""
        return posixpath.join(self.work, *names)


def plan_job(config: IngestConfig, output: str, work: str) -> IngestJob:
    """Finds the inputs, checks their columns, and splits them.

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
    items = _splits(CATALOG, catalog, 0, config)
    by_user = _splits(USERS, users, 0, config)
    before = 0
    for kind, sources in logs:
        by_user += _splits(kind, sources, before, config)
        before += len(sources)
    return IngestJob(
        config,
        output,
        work,
        (*items, *by_user),
        config.partitions or _partitions(by_user, least=2),
        config.partitions or _partitions(items, least=1),
    )


def plan_catalog_job(config: IngestConfig, output: str, work: str) -> IngestJob:
    """As `plan_job`, for the catalog alone; see `IngestConfig.for_catalog`."""
    own = config.for_catalog()
    catalog = _inputs(own.data.catalog, "catalog", REQUIRED_CATALOG_COLUMNS, columns_of)
    items = _splits(CATALOG, catalog, 0, own)
    return IngestJob(own, output, work, tuple(items), 0, own.partitions or _partitions(items, least=1))


def columns_read(kind: str, config: IngestConfig) -> tuple[str, ...]:
    """The columns that are read of an input; of UBI, the fields of a document."""
    return {
        CATALOG: CATALOG_COLUMNS,
        USERS: (USER_ID, *config.data.profile_columns),
        UBI_QUERIES: UBI_QUERIES_COLUMNS,
        UBI_EVENTS: UBI_EVENTS_COLUMNS,
        EVENTS: EVENT_COLUMNS,
    }[kind]


def _splits(kind: str, sources: list[Input], first: int, config: IngestConfig) -> list[InputSplit]:
    index = {source.path: number for number, source in enumerate(sources, start=first)}
    setting = EVENTS if kind == UBI_EVENTS else kind
    documents = kind in (UBI_QUERIES, UBI_EVENTS)
    reading = Reading(setting, columns_read(kind, config), documents, config.bigquery.project)
    return [InputSplit(kind, split, index[split.path]) for split in split_inputs(sources, reading)]


def _partitions(splits: list[InputSplit], least: int) -> int:
    total = sum(split.source.decoded_size for split in splits)
    return min(max(math.ceil(total / _BYTES_PER_PARTITION), least), _MAX_PARTITIONS)


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
