"""The plan of a job: its input splits, its number of partitions, and the paths of what it writes."""

import math
import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from components.example_gen.columns import (
    CATALOG_COLUMNS,
    CATEGORY,
    EVENT_COLUMNS,
    REQUIRED_CATALOG_COLUMNS,
    REQUIRED_EVENT_COLUMNS,
    USER_ID,
)
from components.example_gen.config import IngestConfig
from components.example_gen.inputs import Input, Reading, Split, columns_of, find_inputs, split_inputs
from components.example_gen.readers import HEAD_BYTES
from components.example_gen.ubi import UBI_EVENTS_REQUIRED, UBI_QUERIES_REQUIRED
from components.example_gen.ubi_documents import EVENT_FIELDS, QUERY_FIELDS, document_fields
from schema.artifacts import DEAD_LETTERS_FOLDER, split_folder
from schema.settings import InputError, nearest

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
    is read alone. `unused_catalog_columns` are columns that the catalog's files have and no setting names.
    """

    config: IngestConfig
    output: str
    work: str
    input_splits: tuple[InputSplit, ...]
    partitions: int
    item_partitions: int
    unused_catalog_columns: tuple[str, ...] = ()

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

    def file_numbers(self, kind: str) -> tuple[int, ...]:
        """How rows name the files and tables of a kind of input."""
        return tuple(sorted({split.file for split in self.input_splits if split.kind == kind}))

    @property
    def is_ubi(self) -> bool:
        """Whether the log is one of UBI."""
        return self.config.data.events_format == "ubi"

    def scratch(self, *names: str) -> str:
        """A path below the work folder."""
        return posixpath.join(self.work, *names)


def plan_job(config: IngestConfig, output: str, work: str) -> IngestJob:
    """Finds the inputs, checks their columns, and splits them.

    Raises:
      InputError: if an input is missing, empty, of an unknown format, not to be read, or lacks a column.
    """
    own = config.model_copy(update={"data": config.dated_data})
    data = own.data
    if data.events_format == "ubi":
        queries, _ = _inputs(UBI_QUERIES, data.ubi_queries, UBI_QUERIES_REQUIRED, own)
        events, _ = _inputs(UBI_EVENTS, data.events, UBI_EVENTS_REQUIRED, own)
        logs = [(UBI_QUERIES, queries), (UBI_EVENTS, events)]
    else:
        logs = [(EVENTS, _inputs(EVENTS, data.events, REQUIRED_EVENT_COLUMNS, own)[0])]
    catalog, unused = _inputs(CATALOG, data.catalog, REQUIRED_CATALOG_COLUMNS, own)
    users, _ = _inputs(USERS, data.users, (USER_ID, *data.profile_columns), own) if data.users else ([], ())
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
        unused,
    )


def plan_catalog_job(config: IngestConfig, output: str, work: str) -> IngestJob:
    """As `plan_job`, for the catalog alone; see `IngestConfig.for_catalog`."""
    own = config.for_catalog()
    catalog, unused = catalog_inputs(own)
    items = _splits(CATALOG, catalog, 0, own)
    return IngestJob(own, output, work, tuple(items), 0, own.partitions or _partitions(items, least=1), unused)


def reading_of(kind: str, config: IngestConfig) -> Reading:
    """What is read of an input; of UBI, the fields of a document."""
    data = config.data
    if kind == CATALOG:
        further = data.catalog_columns
        names = tuple(dict.fromkeys((*CATALOG_COLUMNS, *further.names)))
        lists = (CATEGORY, *further.text, *further.categorical)
        reading = Reading(CATALOG, names, names=data.columns.catalog, lists=lists, inexact=("price", *further.names))
    elif kind == USERS:
        reading = Reading(USERS, (USER_ID, *data.profile_columns), names=data.columns.users)
    elif kind == EVENTS:
        reading = Reading(EVENTS, EVENT_COLUMNS, names=data.columns.events)
    elif kind == UBI_EVENTS:
        reading = Reading(EVENTS, EVENT_FIELDS, documents=True)
    else:
        reading = Reading(UBI_QUERIES, QUERY_FIELDS, documents=True)
    return replace(reading, payer=config.bigquery.project)


def catalog_inputs(config: IngestConfig) -> tuple[list[Input], tuple[str, ...]]:
    """The catalog's files and tables, and their columns that no setting names.

    Raises:
      InputError: as `plan_job` does.
    """
    return _inputs(CATALOG, config.data.catalog, REQUIRED_CATALOG_COLUMNS, config)


def _splits(kind: str, sources: list[Input], first: int, config: IngestConfig) -> list[InputSplit]:
    index = {source.path: number for number, source in enumerate(sources, start=first)}
    return [InputSplit(kind, split, index[split.path]) for split in split_inputs(sources, reading_of(kind, config))]


def _partitions(splits: list[InputSplit], least: int) -> int:
    total = sum(split.source.decoded_size for split in splits)
    return min(max(math.ceil(total / _BYTES_PER_PARTITION), least), _MAX_PARTITIONS)


def _inputs(
    kind: str, patterns: tuple[str, ...], required: tuple[str, ...], config: IngestConfig
) -> tuple[list[Input], tuple[str, ...]]:
    """The inputs, and their columns that are not read."""
    reading = reading_of(kind, config)
    named = dict.fromkeys((*reading.names, *(config.data.catalog_columns.names if kind == CATALOG else ())))
    columns: Callable[[Input, int], tuple[str, ...]] = document_fields if reading.documents else columns_of
    sources = find_inputs(patterns, reading.what)
    seen: dict[str, None] = {}
    for source in sources:
        if source.names_all_columns:
            found = columns(source, HEAD_BYTES)
            _check_columns(source.path, reading, found, required)
            seen |= dict.fromkeys(found)
    # JSON rows leave out what is null, so a column counts as there if any JSON file of the input names it; and a
    # log may begin with thousands of rows of one kind.
    json_files = [source for source in sources if not source.names_all_columns]
    found = ()
    for head_bytes in (HEAD_BYTES, _DEEP_HEAD_BYTES) if json_files else ():
        found = tuple(dict.fromkeys(name for file in json_files for name in columns(file, head_bytes)))
        if not _missing(reading, found, required) and not _missing(reading, (*seen, *found), named):
            break
    if json_files:
        _check_columns(json_files[0].path, reading, found, required)
    seen |= dict.fromkeys(found)
    # What is optional may be in some of the files alone.
    _check_columns(sources[0].path, reading, tuple(seen), named)
    used = {part for name in reading.columns for part in (reading.source(name), _root(reading.source(name)))}
    return sources, tuple(name for name in seen if name not in used)


def _check_columns(path: str, reading: Reading, found: tuple[str, ...], required: Iterable[str]) -> None:
    missing = _missing(reading, found, required)
    if not missing:
        return
    name = missing[0]
    source = reading.source(name)
    setting = f"ingest.data.columns.{reading.what}"
    if name in reading.names:
        hint = f" `{setting}.{name}` says {source!r}{nearest(source, found)}."
    elif reading.what == EVENTS and not reading.documents and "action_name" in found:
        hint = " They look like those of UBI; if they are, set `ingest.data.events_format: ubi`."
    elif not found:
        hint = " No line of its beginning is a JSON object, by itself and whole."
    elif reading.documents:
        hint = ""
    else:
        hint = (
            f" If it is there under another name{nearest(source, found)}, say so in `{setting}`, as `{name}: <name>`."
        )
    raise InputError(
        f"`{reading.what}`: {path} has no column {', '.join(map(reading.source, missing))}. "
        f"Found: {', '.join(found) or 'none'}. Expected: {', '.join(map(reading.source, required))}.{hint}"
    )


def _missing(reading: Reading, found: tuple[str, ...], wanted: Iterable[str]) -> list[str]:
    return [name for name in wanted if reading.source(name) not in found and not _has_root(reading.source(name), found)]


def _has_root(source: str, found: tuple[str, ...]) -> bool:
    return "." in source and _root(source) in found


def _root(source: str) -> str:
    """The top-level column of a nested name."""
    return source.partition(".")[0]
