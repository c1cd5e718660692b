"""The steps of the job as plain functions; `ingest` connects them with Beam.

Each processes one input split or one partition alone, and returns a `Tally` of its counts.
"""

import posixpath
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as arrow_parquet
from apache_beam.io.filesystems import FileSystems

from components.example_gen import job as kinds
from components.example_gen import validate
from components.example_gen.catalog import item_columns, one_row_per_item, validate_items
from components.example_gen.columns import (
    EVENT_TYPE,
    EVENTS,
    FILE,
    SEARCH,
    USER_ID,
    RecordBatch,
    catalog_schema,
    users_schema,
)
from components.example_gen.encode import TFRecordWriter, encode_examples
from components.example_gen.features import SearchLog
from components.example_gen.files import create, open_raw
from components.example_gen.inputs import read_rows
from components.example_gen.job import IngestJob, InputSplit, reading_of
from components.example_gen.join import join_requests
from components.example_gen.partition import BatchRef, read_newest, read_partition, write_partitions
from components.example_gen.summary import Tally, most_frequent
from components.example_gen.times import TimeSpan, TimeSplits
from components.example_gen.ubi import event_type_of, read_events, read_queries
from schema import features
from schema.features import EventType

# Rows of a partition: its number, and where they are.
Partitioned = tuple[int, BatchRef]

# What the log knows of each user at its end, under the names of the search features. `souk query --user` sends it
# along, so that a person can search as a user of the log would.
USER_STATE_FILE: Final = "user_state.parquet"


def read_split(split: InputSplit, job: IngestJob) -> Iterator[tuple[list[Partitioned], Tally]]:
    """Reads and validates an input split, batch by batch, and partitions the usable rows.

    Events are partitioned by request, so that a request's events meet even where a row lacks its user; items by item,
    profiles by user.
    """
    for number, (batch, counted) in enumerate(_batches(split, job)):
        name = f"{split.name}-{number:05d}"
        good, bad, tally = _validated(batch, split, job)
        path = split.source.path
        letters = pl.concat([validate.unreadable(batch.rejects, path), validate.rejected(bad, path)])
        what = _input_name(split.kind)
        validate.write_dead_letters(letters, job.dead_letters(name))
        tally += _tally_rejects(letters, what)
        tally += counted + Tally({f"{what}.read": len(batch.frame) + len(batch.rejects)})
        partitions = job.item_partitions if split.kind == kinds.CATALOG else job.partitions
        path = job.scratch(what, f"{name}.arrow")
        yield write_partitions(good, _partitioned_by(good, split.kind), partitions, path), tally


def write_catalog(partition: int, refs: Iterable[BatchRef], job: IngestJob) -> tuple[str, Tally]:
    """Writes the catalog examples of a partition; returns the path of the file that lists its item ids."""
    items, repeated = one_row_per_item(read_partition(refs, catalog_schema(job.config.data.catalog_columns)))
    letters = validate.rejected(repeated, _file_names(job, kinds.CATALOG))
    validate.write_dead_letters(letters, job.dead_letters(f"catalog-partition-{partition:05d}"))
    _write_examples(
        [item_columns(items)] if len(items) else [], job.split_file(features.CATALOG_SPLIT, "catalog", partition)
    )
    path = job.scratch("items", f"{partition:05d}.parquet")
    with create(path) as stream:
        items.select("item_id").write_parquet(stream)
    return path, _tally_rejects(letters, "catalog") + Tally({"examples.catalog": len(items)})


def join_partition(
    partition: int, refs: Iterable[BatchRef], item_paths: Iterable[str], splits: TimeSplits, job: IngestJob
) -> tuple[list[Partitioned], list[Partitioned], Tally]:
    """Joins the events of a partition by request; returns requests and interactions, partitioned by user."""
    joined = join_requests(read_partition(refs, EVENTS), _known_items(tuple(sorted(item_paths))), splits.eval_start)
    names = dict(enumerate(EventType.ALL))
    rows = joined.rejects.with_columns(pl.col(EVENT_TYPE).cast(pl.Int64).replace_strict(names, return_dtype=pl.String))
    letters = validate.rejected(rows, _file_names(job, kinds.EVENTS))
    validate.write_dead_letters(letters, job.dead_letters(f"events-partition-{partition:05d}"))
    requests, interactions = joined.requests, joined.interactions
    # Requests without a user are spread by their id; they have no history anyway.
    users = requests.select(pl.coalesce(USER_ID, "request_id")).to_series()
    name = f"{partition:05d}.arrow"
    return (
        write_partitions(requests, users, job.partitions, job.scratch("requests", name)),
        write_partitions(interactions, interactions[USER_ID], job.partitions, job.scratch("interactions", name)),
        _tally_rejects(letters, "events") + Tally(joined.counters),
    )


def write_search(
    partition: int,
    requests: Iterable[BatchRef],
    interactions: Iterable[BatchRef],
    profiles: Iterable[BatchRef],
    splits: TimeSplits,
    job: IngestJob,
) -> Tally:
    """Writes the search examples and the user states of a partition."""
    profile_columns = job.config.data.profile_columns
    users, repeated = validate.one_row_per_user(read_partition(profiles, users_schema(profile_columns)))
    letters = validate.rejected(repeated, _file_names(job, kinds.USERS))
    validate.write_dead_letters(letters, job.dead_letters(f"users-partition-{partition:05d}"))
    asked, done, counters = read_newest(requests, interactions, job.config.max_user_events)
    log = SearchLog(asked, done, users.drop(FILE), profile_columns, job.config.windows)
    counters |= {f"examples.{features.TRAIN_SPLIT}": 0, f"examples.{features.EVAL_SPLIT}": 0}
    for split, batches in groupby(log.batches(splits), key=itemgetter(0)):
        path = job.split_file(split, "search", partition)
        counters[f"examples.{split}"] = _write_examples((columns for _, columns in batches), path)
    states = log.states(splits.end)
    counters["users.states"] = len(states)
    if len(states):
        with create(job.scratch("user_state", f"{partition:05d}.parquet")) as stream:
            states.write_parquet(stream)
    return _tally_rejects(letters, "users") + Tally(counters)


def merge_user_states(job: IngestJob) -> None:
    """Merges the user states of all partitions into `USER_STATE_FILE`, one partition at a time."""
    parts = FileSystems.match([job.scratch("user_state", "*.parquet")])[0].metadata_list
    writer: arrow_parquet.ParquetWriter | None = None
    with create(posixpath.join(job.output, USER_STATE_FILE)) as stream:
        for path in sorted(part.path for part in parts):
            with open_raw(path) as part:
                table = arrow_parquet.read_table(part)
            writer = writer or arrow_parquet.ParquetWriter(stream, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()


def _batches(split: InputSplit, job: IngestJob) -> Iterator[tuple[RecordBatch, Tally]]:
    if split.kind == kinds.UBI_EVENTS:
        own = job.config.data.ubi_actions
        for batch, actions in read_events(split.source, own, job.config.data.ubi_first_ordinal):
            ignored = sum(n for action, n in actions.items() if event_type_of(action, own) is None)
            yield batch, Tally({"events.ignored_actions": ignored}, actions=most_frequent(actions))
        return
    if split.kind == kinds.UBI_QUERIES:
        batches = read_queries(split.source)
    else:
        batches = read_rows(split.source, reading_of(split.kind, job.config))
    for batch in batches:
        yield batch, Tally()


def _validated(batch: RecordBatch, split: InputSplit, job: IngestJob) -> tuple[pl.DataFrame, pl.DataFrame, Tally]:
    if split.kind == kinds.CATALOG:
        columns, longest = job.config.data.catalog_columns, job.config.max_text_characters
        items, bad, counters = validate_items(batch.frame, split.file, columns, longest)
        return items, bad, Tally({f"{kinds.CATALOG}.{name}": count for name, count in counters.items()})
    if split.kind == kinds.USERS:
        return *validate.validate_users(batch.frame, job.config.data.profile_columns, split.file), Tally()
    good, bad, cut = validate.validate_events(
        batch.frame, split.file, job.config.max_query_characters, needs_query=split.kind == kinds.EVENTS
    )
    end = job.config.end_ms
    in_time = good if end is None else good.filter(pl.col("timestamp_ms") < end)
    searches = in_time.filter((pl.col(EVENT_TYPE) == SEARCH) & (pl.col("query") != ""))
    counters = {"events.queries_cut": cut, "events.not_before_date": len(good) - len(in_time)}
    return in_time, bad, Tally(counters, _span(searches), _span(in_time))


def _span(events: pl.DataFrame) -> TimeSpan | None:
    if events.is_empty():
        return None
    first, last = events.select(first=pl.col("timestamp_ms").min(), last=pl.col("timestamp_ms").max()).row(0)
    return TimeSpan(first, last)


def _partitioned_by(rows: pl.DataFrame, kind: str) -> pl.Series:
    if kind == kinds.CATALOG:
        return rows["item_id"]
    if kind == kinds.USERS:
        return rows[USER_ID]
    return rows.select(pl.coalesce("request_id", "event_id")).to_series()


def _input_name(kind: str) -> str:
    return kinds.EVENTS if kind in (kinds.UBI_QUERIES, kinds.UBI_EVENTS) else kind


def _file_names(job: IngestJob, kind: str) -> pl.Expr:
    names = dict(enumerate(job.files(kind)))
    return pl.col(FILE).cast(pl.Int64).replace_strict(names, return_dtype=pl.String)


def _tally_rejects(letters: pl.DataFrame, what: str) -> Tally:
    shown = {f"{what}.{reason}": rows for reason, rows in validate.examples(letters).items()}
    return Tally(validate.counts(letters, what), shown=shown)


@lru_cache(maxsize=1)
def _known_items(paths: tuple[str, ...]) -> pl.Series:
    """The catalog's item ids; a worker reads them once."""
    parts = []
    for path in paths:
        with open_raw(path) as stream:
            parts.append(pl.read_parquet(stream)["item_id"])
    return pl.concat(parts).sort() if parts else pl.Series("item_id", [], dtype=pl.String)


def _write_examples(batches: Iterable[dict[str, pa.Array]], path: str) -> int:
    rows = 0
    with ExitStack() as stack:
        writer: TFRecordWriter | None = None
        for columns in batches:
            writer = writer or stack.enter_context(TFRecordWriter(stack.enter_context(create(path))))
            rows += len(next(iter(columns.values())))
            for records in encode_examples(columns):
                writer.write(records)
    return rows
