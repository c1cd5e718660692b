"""The steps of the job as plain functions; `ingest` connects them with Beam.

Each processes one input split or one partition alone, and returns a `Tally` of its counts.
"""

import posixpath
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Final

import polars as pl
import pyarrow.parquet as arrow_parquet
from apache_beam.io.filesystems import FileSystems

from components.example_gen import job as kinds
from components.example_gen import validate
from components.example_gen.catalog import item_columns, one_row_per_item, validate_items
from components.example_gen.columns import (
    EVENT_IDS,
    EVENT_TYPE,
    EVENTS,
    FILE,
    SEARCH,
    UBI_EVENTS,
    USER_ID,
    RecordBatch,
    catalog_schema,
    users_schema,
)
from components.example_gen.encode import Column, TFRecordWriter, tfrecords
from components.example_gen.event_ids import check_ids, drop_delivered_again, event_ids, no_ids
from components.example_gen.features import SearchLog
from components.example_gen.files import create, open_raw
from components.example_gen.inputs import read_rows
from components.example_gen.job import IngestJob, InputSplit, reading_of
from components.example_gen.join import join_requests
from components.example_gen.labels import with_click
from components.example_gen.partition import BatchRef, read_newest, read_partition, write_partitions
from components.example_gen.summary import Tally, most_frequent
from components.example_gen.timeline import Timeline, days_of
from components.example_gen.times import TimeSpan
from components.example_gen.ubi import event_type_of, read_events, read_queries
from components.example_gen.ubi_requests import count_ordinals, count_positions, name_users
from schema import features
from schema.features import EventType

# Rows of a partition: its number, and where they are.
Partitioned = tuple[int, BatchRef]

# What the log knows of each user at its end, under the names of the search features. `souk query --user` sends it
# along, so that a person can search as a user of the log would.
USER_STATE_FILE: Final = "user_state.parquet"


def read_split(split: InputSplit, job: IngestJob) -> Iterator[tuple[list[Partitioned], list[Partitioned], Tally]]:
    """Reads and validates an input split, batch by batch, and partitions the usable rows.

    Events are partitioned by request, so that a request's events meet even where a row lacks its user; items by item,
    profiles by user. Beside these rows it gives the ids of events, partitioned by id; UBI's ids say all that events
    do, so none of it can be of two.
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
        refs = write_partitions(good, _partitioned_by(good, split.kind), partitions, path)
        ids: list[Partitioned] = []
        if split.kind == kinds.EVENTS:
            seen = event_ids(good)
            ids = write_partitions(seen, seen["id"], partitions, job.scratch("ids", f"{name}.arrow"))
        yield refs, ids, tally


def check_event_ids(partition: int, refs: Iterable[BatchRef], job: IngestJob) -> tuple[str | None, Tally]:
    """Checks the event ids of a partition; returns the path of the file that lists events delivered again without
    their request, None if there are none.
    """
    found = check_ids(read_partition(refs, EVENT_IDS))
    files = job.files(kinds.EVENTS)
    pairs = [" and ".join(dict.fromkeys((files[one], files[other]))) for one, other in found.pairs]
    shown = {"events.reused_event_ids": pairs} if pairs else {}
    tally = Tally({"events.reused_event_ids": found.reused}, shown=shown)
    if found.again.is_empty():
        return None, tally
    path = job.scratch("again", f"{partition:05d}.parquet")
    with create(path) as stream:
        found.again.write_parquet(stream)
    return path, tally


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
    partition: int,
    refs: Iterable[BatchRef],
    item_paths: Iterable[str],
    again_paths: Iterable[str],
    plan: Timeline,
    job: IngestJob,
) -> tuple[list[Partitioned], list[Partitioned], Tally]:
    """Joins the events of a partition by request; returns requests and interactions, partitioned by user."""
    read = read_partition(refs, UBI_EVENTS if job.is_ubi else EVENTS)
    if job.is_ubi:
        events = count_positions(name_users(read), plan.first_ordinal, job.file_numbers(kinds.UBI_EVENTS))
    else:
        events = drop_delivered_again(read, _delivered_again(tuple(sorted(again_paths))))
    joined = join_requests(events, _known_items(tuple(sorted(item_paths))), plan.splits.eval_start)
    counters = joined.counters | {"events.duplicates": joined.counters["events.duplicates"] + len(read) - len(events)}
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
        _tally_rejects(letters, "events") + Tally(counters),
    )


def write_search(
    partition: int,
    requests: Iterable[BatchRef],
    interactions: Iterable[BatchRef],
    profiles: Iterable[BatchRef],
    plan: Timeline,
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
    for split, batches in groupby(log.batches(plan.splits), key=itemgetter(0)):
        path = job.split_file(split, "search", partition)
        counters[f"examples.{split}"] = _write_examples((columns for _, columns in batches), path)
    counters |= with_click(asked, plan.splits)
    states = log.states(plan.states_at)
    counters["users.states"] = len(states)
    # Without rows, too: a log may have no user, and its file of states still has columns.
    with create(job.scratch("user_state", f"{partition:05d}.parquet")) as stream:
        states.write_parquet(stream)
    return _tally_rejects(letters, "users") + _matches(users, asked, done) + Tally(counters)


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


def _matches(profiles: pl.DataFrame, asked: pl.DataFrame, done: pl.DataFrame) -> Tally:
    """How many profiles are of no user of the log; with some of these, and some users without a profile."""
    if profiles.is_empty():
        return Tally()
    users = pl.concat([asked[USER_ID], done[USER_ID]]).drop_nulls().unique().to_frame()
    idle = profiles.join(users, on=USER_ID, how="anti")[USER_ID]
    unknown = users.join(profiles, on=USER_ID, how="anti")[USER_ID]
    shown = {
        f"users.{name}": ids.bottom_k(validate.EXAMPLES_SHOWN).sort().to_list()
        for name, ids in (("profiles", idle), ("log", unknown))
        if len(ids)
    }
    return Tally(
        {"users.profiles_without_events": len(idle), "users.profiles_used": len(profiles) - len(idle)}, shown=shown
    )


def _batches(split: InputSplit, job: IngestJob) -> Iterator[tuple[RecordBatch, Tally]]:
    data = job.config.data
    if split.kind == kinds.UBI_EVENTS:
        for batch, actions in read_events(split.source, data.ubi_actions, data.ubi_user):
            ignored = sum(n for action, n in actions.items() if event_type_of(action, data.ubi_actions) is None)
            types = (EventType.SEARCH, EventType.IMPRESSION)
            lost = batch.frame.select(pl.col("request_id").is_null() & pl.col(EVENT_TYPE).is_in(types)).to_series()
            batch = replace(batch, frame=batch.frame.filter(~lost.fill_null(value=False)))
            counters = {"events.ignored_actions": ignored, "events.without_query_id": int(lost.sum())}
            yield batch, Tally(counters, actions=most_frequent(actions), ordinals=count_ordinals(batch.frame))
        return
    if split.kind == kinds.UBI_QUERIES:
        batches = read_queries(split.source, data.ubi_user)
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
    tally = Tally(
        counters,
        _span(searches),
        _span(in_time),
        search_days=days_of(searches["timestamp_ms"]),
        event_days=days_of(in_time["timestamp_ms"]),
    )
    return in_time, bad, tally


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
def _delivered_again(paths: tuple[str, ...]) -> pl.DataFrame:
    """What `drop_delivered_again` drops; a worker reads it once."""
    parts = [no_ids()]
    for path in paths:
        with open_raw(path) as stream:
            parts.append(pl.read_parquet(stream))
    return pl.concat(parts)


@lru_cache(maxsize=1)
def _known_items(paths: tuple[str, ...]) -> pl.Series:
    """The catalog's item ids; a worker reads them once."""
    parts = []
    for path in paths:
        with open_raw(path) as stream:
            parts.append(pl.read_parquet(stream)["item_id"])
    return pl.concat(parts).sort() if parts else pl.Series("item_id", [], dtype=pl.String)


def _write_examples(batches: Iterable[dict[str, Column]], path: str) -> int:
    rows = 0
    with ExitStack() as stack:
        writer: TFRecordWriter | None = None
        for columns in batches:
            writer = writer or stack.enter_context(TFRecordWriter(stack.enter_context(create(path))))
            rows += len(next(iter(columns.values())))
            for records in tfrecords(columns):
                writer.write(records)
    return rows
