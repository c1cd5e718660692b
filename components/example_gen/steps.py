"""The steps of the job as plain functions; `ingest` strings them together with Beam.

Each works one piece alone: of an input, or one key. Each gives a `Tally` of what it did.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

import polars as pl
import pyarrow as pa

from components.example_gen import job as kinds
from components.example_gen import rejects
from components.example_gen.catalog import item_columns, one_row_per_item, validate_items
from components.example_gen.columns import CATALOG, EVENT_TYPE, EVENTS, FILE, SEARCH
from components.example_gen.encode import encode_examples
from components.example_gen.examples import SearchLog
from components.example_gen.files import create, open_raw
from components.example_gen.inputs import read_blocks
from components.example_gen.job import Job, ReadTask, columns_read
from components.example_gen.partition import Slice, read_slices, write_partitions
from components.example_gen.portions import Portion, cut_key, owners, user_log
from components.example_gen.readers import Block
from components.example_gen.requests import join_requests
from components.example_gen.splits import Splits, TimeSpan
from components.example_gen.summary import Tally, most_frequent
from components.example_gen.tfrecord import TFRecordWriter
from components.example_gen.ubi import event_type_of, read_events, read_queries
from components.example_gen.users import USER_ID, one_row_per_user, users_schema, validate_users
from components.example_gen.validate import validate_events
from schema import features
from schema.features import EventType

Keyed = tuple[int, Slice]


def read(task: ReadTask, job: Job) -> Iterator[tuple[list[Keyed], Tally]]:
    """Reads and validates a piece of an input, block by block, and cuts the usable rows by key.

    Events are keyed by request, so that a request's events meet even where a row lacks its user; items by item,
    profiles by user.
    """
    for number, (block, counted) in enumerate(_blocks(task, job)):
        name = f"{task.name}-{number:05d}"
        good, bad, tally = _validated(block, task, job)
        path = task.source.path
        letters = pl.concat([rejects.unreadable(block.rejects, path), rejects.rejected(bad, path)])
        what = _input_name(task.kind)
        rejects.write_dead_letters(letters, job.dead_letters(name))
        tally += _tally_rejects(letters, what)
        tally += counted + Tally({f"{what}.read": len(block.frame) + len(block.rejects)})
        keys = job.item_keys if task.kind == kinds.CATALOG else job.keys
        yield write_partitions(good, _key_text(good, task.kind), keys, job.scratch(what, f"{name}.arrow")), tally


def write_catalog(key: int, slices: Iterable[Slice], job: Job) -> tuple[str, Tally]:
    """Writes the catalog examples of a key; gives the path of the file that lists its item ids."""
    items, repeated = one_row_per_item(read_slices(slices, CATALOG))
    letters = rejects.rejected(repeated, _file_names(job, kinds.CATALOG))
    rejects.write_dead_letters(letters, job.dead_letters(f"catalog-key-{key:05d}"))
    _write_examples(
        [item_columns(items)] if len(items) else [], job.split_file(features.CATALOG_SPLIT, "catalog", f"{key:05d}")
    )
    path = job.scratch("items", f"{key:05d}.parquet")
    with create(path) as stream:
        items.select("item_id").write_parquet(stream)
    return path, _tally_rejects(letters, "catalog") + Tally({"examples.catalog": len(items)})


def join(
    key: int, slices: Iterable[Slice], item_paths: Iterable[str], splits: Splits, job: Job
) -> tuple[list[Keyed], list[Keyed], Tally]:
    """Joins the events of a key by request; gives its requests and its interactions, keyed by user."""
    joined = join_requests(read_slices(slices, EVENTS), _known_items(tuple(sorted(item_paths))), splits.eval_start)
    names = dict(enumerate(EventType.ALL))
    rows = joined.rejects.with_columns(pl.col(EVENT_TYPE).cast(pl.Int64).replace_strict(names, return_dtype=pl.String))
    letters = rejects.rejected(rows, _file_names(job, kinds.EVENTS))
    rejects.write_dead_letters(letters, job.dead_letters(f"events-key-{key:05d}"))
    requests, interactions = joined.requests, joined.interactions
    return (
        write_partitions(requests, owners(requests), job.keys, job.scratch("requests", f"{key:05d}.arrow")),
        write_partitions(
            interactions, interactions[USER_ID], job.keys, job.scratch("interactions", f"{key:05d}.arrow")
        ),
        _tally_rejects(letters, "events") + Tally(joined.counters),
    )


def cut(
    key: int,
    requests: Iterable[Slice],
    interactions: Iterable[Slice],
    profiles: Iterable[Slice],
    splits: Splits,
    job: Job,
) -> tuple[list[Portion], Tally]:
    """What of a key is worked at once; most keys are whole."""
    portions, counters = cut_key(key, requests, interactions, profiles, splits, job)
    return portions, Tally(counters)


def write_search(portion: Portion, job: Job) -> Tally:
    """Writes the search examples and the user states of a portion."""
    columns = job.config.data.profile_columns
    users, repeated = one_row_per_user(read_slices(portion.profiles, users_schema(columns)))
    tally = Tally()
    if not portion.number:
        letters = rejects.rejected(repeated, _file_names(job, kinds.USERS))
        rejects.write_dead_letters(letters, job.dead_letters(f"users-key-{portion.key:05d}"))
        tally += _tally_rejects(letters, "users")
    known, robots = user_log(portion, users.drop(FILE), job)
    log = SearchLog(known, columns, job.config.windows)
    counters = robots | {f"examples.{features.TRAIN_SPLIT}": 0, f"examples.{features.EVAL_SPLIT}": 0}
    for split, blocks in groupby(log.blocks(portion.splits), key=itemgetter(0)):
        path = job.split_file(split, "search", portion.name)
        counters[f"examples.{split}"] = _write_examples((columns for _, columns in blocks), path)
    if portion.states:
        states = log.states(portion.splits.end)
        counters["users.states"] = len(states)
        if len(states):
            with create(job.scratch("user_state", f"{portion.name}.parquet")) as stream:
                states.write_parquet(stream)
    return tally + Tally(counters)


def _blocks(task: ReadTask, job: Job) -> Iterator[tuple[Block, Tally]]:
    if task.kind == kinds.UBI_EVENTS:
        own = job.config.data.ubi_actions
        for block, actions in read_events(task.source, own, job.config.data.ubi_first_ordinal):
            ignored = sum(n for action, n in actions.items() if event_type_of(action, own) is None)
            yield block, Tally({"events.ignored_actions": ignored}, actions=most_frequent(actions))
        return
    if task.kind == kinds.UBI_QUERIES:
        blocks = read_queries(task.source)
    else:
        blocks = read_blocks(task.source, columns_read(task.kind, job.config))
    for block in blocks:
        yield block, Tally()


def _validated(block: Block, task: ReadTask, job: Job) -> tuple[pl.DataFrame, pl.DataFrame, Tally]:
    if task.kind == kinds.CATALOG:
        return *validate_items(block.frame, task.file), Tally()
    if task.kind == kinds.USERS:
        return *validate_users(block.frame, job.config.data.profile_columns, task.file), Tally()
    good, bad, cut = validate_events(
        block.frame, task.file, job.config.max_query_characters, needs_query=task.kind == kinds.EVENTS
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


def _key_text(rows: pl.DataFrame, kind: str) -> pl.Series:
    if kind == kinds.CATALOG:
        return rows["item_id"]
    if kind == kinds.USERS:
        return rows[USER_ID]
    return rows.select(pl.coalesce("request_id", "event_id")).to_series()


def _input_name(kind: str) -> str:
    return kinds.EVENTS if kind in (kinds.UBI_QUERIES, kinds.UBI_EVENTS) else kind


def _file_names(job: Job, kind: str) -> pl.Expr:
    names = dict(enumerate(job.files(kind)))
    return pl.col(FILE).cast(pl.Int64).replace_strict(names, return_dtype=pl.String)


def _tally_rejects(letters: pl.DataFrame, what: str) -> Tally:
    shown = {f"{what}.{reason}": rows for reason, rows in rejects.examples(letters).items()}
    return Tally(rejects.counts(letters, what), shown=shown)


@lru_cache(maxsize=1)
def _known_items(paths: tuple[str, ...]) -> pl.Series:
    """The catalog's item ids; a worker reads them once."""
    parts = []
    for path in paths:
        with open_raw(path) as stream:
            parts.append(pl.read_parquet(stream)["item_id"])
    return pl.concat(parts).sort() if parts else pl.Series("item_id", [], dtype=pl.String)


def _write_examples(blocks: Iterable[dict[str, pa.Array]], path: str) -> int:
    rows = 0
    with ExitStack() as stack:
        writer: TFRecordWriter | None = None
        for columns in blocks:
            writer = writer or stack.enter_context(TFRecordWriter(stack.enter_context(create(path))))
            rows += len(next(iter(columns.values())))
            for records in encode_examples(columns):
                writer.write(records)
    return rows
