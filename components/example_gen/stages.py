"""The stages of the job, each for one input split or partition: `steps`, with their outputs named.

`ingest.build` connects them with Beam, `run_here` runs them in this process; what a stage is given and gives is the
same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, Final

from components.example_gen import job as kinds
from components.example_gen import steps
from components.example_gen.config import IngestConfig
from components.example_gen.files import create, is_remote
from components.example_gen.job import IngestJob, InputSplit
from components.example_gen.partition import BatchRef
from components.example_gen.summary import Tally, check
from components.example_gen.timeline import Timeline, timeline
from schema.settings import InputError

# The outputs beside the rows of each kind of input.
TALLY: Final = "tally"
IDS: Final = "ids"
ITEMS: Final = "items"
AGAIN: Final = "again"
REQUESTS: Final = "requests"
INTERACTIONS: Final = "interactions"

# An output's name, and one element of it.
Output = tuple[str, Any]
Group = tuple[int, Iterable[BatchRef]]
Stage = Callable[..., Iterator[Output]]


def _stage(name: Callable[[Any], str]) -> Callable[[Stage], Stage]:
    """A problem with the input becomes part of the tally, so that every runner brings it back as it is; `name` names
    the mark that tells of progress.
    """

    def decorate(stage: Stage) -> Stage:
        @wraps(stage)
        def marked(job: IngestJob, element: Any, *rest: Any) -> Iterator[Output]:
            try:
                yield from stage(job, element, *rest)
            except InputError as error:
                yield TALLY, Tally(errors=(str(error),))
            # Only local folders have progress; in a bucket each mark would cost four requests.
            if not is_remote(job.work):
                with create(job.scratch("done", name(element))):
                    pass

        return marked

    return decorate


@_stage(lambda split: f"read-{split.name}")
def read(job: IngestJob, split: InputSplit) -> Iterator[Output]:
    """Gives rows by partition under the kind of their input, ids of events, and tallies."""
    kind = split.kind if split.kind in (kinds.CATALOG, kinds.USERS) else kinds.EVENTS
    for refs, ids, tally in steps.read_split(split, job):
        yield from ((kind, ref) for ref in refs)
        yield from ((IDS, ref) for ref in ids)
        yield TALLY, tally


@_stage(lambda group: f"catalog-{group[0]:05d}")
def write_catalog(job: IngestJob, group: Group) -> Iterator[Output]:
    """Gives the path of the item ids, and a tally."""
    path, tally = steps.write_catalog(*group, job)
    yield ITEMS, path
    yield TALLY, tally


@_stage(lambda group: f"ids-{group[0]:05d}")
def check_ids(job: IngestJob, group: Group) -> Iterator[Output]:
    """Gives the path of what was delivered again, if anything was, and a tally."""
    path, tally = steps.check_event_ids(*group, job)
    if path:
        yield AGAIN, path
    yield TALLY, tally


@_stage(lambda group: f"join-{group[0]:05d}")
def join(
    job: IngestJob, group: Group, item_paths: Iterable[str], again_paths: Iterable[str], plan: Timeline | None
) -> Iterator[Output]:
    """Gives requests and interactions by partition, and a tally."""
    if plan is None:
        return
    requests, interactions, tally = steps.join_partition(*group, item_paths, again_paths, plan, job)
    yield from ((REQUESTS, ref) for ref in requests)
    yield from ((INTERACTIONS, ref) for ref in interactions)
    yield TALLY, tally


@_stage(lambda group: f"write-{group[0]:05d}")
def write_search(
    job: IngestJob, group: tuple[int, Mapping[str, Iterable[BatchRef]]], plan: Timeline | None
) -> Iterator[Output]:
    """Gives a tally."""
    if plan is None:
        return
    partition, refs = group
    yield TALLY, steps.write_search(partition, refs[REQUESTS], refs[INTERACTIONS], refs[kinds.USERS], plan, job)


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies."""
    return sum(tallies, Tally())


def timeline_or_none(tally: Tally, config: IngestConfig) -> Timeline | None:
    """The times, or None where the run is bound to fail: then the later stages do nothing."""
    try:
        check(tally, config)
        return timeline(tally, config)
    except InputError:
        return None


def run_here(job: IngestJob, threads: int) -> Tally:
    """Runs the job in this process and returns its tally. It holds references to rows alone, as Beam does."""
    with ThreadPoolExecutor(threads) as pool:

        def each(stage: Stage, elements: Iterable[Any], *rest: Any) -> dict[str, list[Any]]:
            outputs: dict[str, list[Any]] = defaultdict(list)
            for given in pool.map(lambda element: list(stage(job, element, *rest)), elements):
                for name, element in given:
                    outputs[name].append(element)
            tallies.extend(outputs[TALLY])
            return outputs

        tallies: list[Tally] = []
        rows = each(read, job.input_splits)
        plan = timeline_or_none(total(tallies), job.config) if job.partitions else None
        items = each(write_catalog, _by_partition(rows[kinds.CATALOG]))[ITEMS]
        if job.partitions:
            again = each(check_ids, _by_partition(rows[IDS]))[AGAIN]
            joined = each(join, _by_partition(rows[kinds.EVENTS]), items, again, plan)
            given = {REQUESTS: joined[REQUESTS], INTERACTIONS: joined[INTERACTIONS], kinds.USERS: rows[kinds.USERS]}
            grouped = {name: dict(_by_partition(refs)) for name, refs in given.items()}
            partitions = sorted(set().union(*grouped.values()))
            each(
                write_search,
                [(number, {name: refs.get(number, []) for name, refs in grouped.items()}) for number in partitions],
                plan,
            )
    return total(tallies)


def _by_partition(rows: Iterable[steps.Partitioned]) -> list[tuple[int, list[BatchRef]]]:
    grouped: dict[int, list[BatchRef]] = defaultdict(list)
    for partition, ref in rows:
        grouped[partition].append(ref)
    return sorted(grouped.items())
