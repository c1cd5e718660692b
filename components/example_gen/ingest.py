"""The ingestion job: logs, catalog and profiles in, an Examples artifact with three splits out.

    read_split --events-->    join_partition --requests, interactions-->  write_search --> train, eval, user states
           \\---items----> write_catalog --item ids--^                      ^
           \\---profiles----------------------------------------------------/

Beam moves references to Arrow batches (see `partition`); what runs between is columnar (see `steps`).
"""

import posixpath
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from components.example_gen import job as kinds
from components.example_gen import steps
from components.example_gen.config import IngestConfig
from components.example_gen.files import create, is_remote, make_directory, open_raw, remove_tree
from components.example_gen.job import IngestJob, InputSplit, plan_catalog_job, plan_job
from components.example_gen.output_folder import replaced
from components.example_gen.partition import BatchRef
from components.example_gen.progress import Progress, watch
from components.example_gen.steps import merge_user_states
from components.example_gen.summary import (
    ActionRows,
    CatalogSummary,
    IngestSummary,
    Tally,
    check,
    check_splits,
    column_use,
    most_frequent,
)
from components.example_gen.timeline import Timeline, timeline
from components.example_gen.ubi import event_type_of
from schema import features
from schema.artifacts import INGESTION_FILE
from schema.settings import DataError, InputError, refuse_credentials

TALLY = "tally"
# Without a runner Beam looks for the Prism runner and would fetch its program from the network.
DEFAULT_RUNNER = "FnApiRunner"


def run_ingest(
    config: IngestConfig,
    out_dir: str,
    beam_args: Sequence[str] = (),
    progress: Progress | None = None,
) -> IngestSummary:
    """Ingests into the folder `out_dir`, which appears whole or not at all; see `output_folder.replaced` for buckets.

    Args:
      config: what to ingest and how.
      out_dir: a folder, local or of a bucket; one that an earlier ingestion wrote is replaced.
      beam_args: Beam pipeline options, for example `--direct_running_mode=multi_processing`.
      progress: is called from time to time; not for a folder of a bucket.

    Raises:
      InputError: if an input cannot be used; a local `out_dir` is then as it was.
    """
    refuse_credentials({"out": out_dir, "beam_args": list(beam_args)}, "the command")
    with replaced(out_dir) as (folder, target):
        reported = None if is_remote(folder) else progress
        return ingest_into(config, folder, lambda: local_pipeline(beam_args), reported, shown_as=target)


def ingest_into(
    config: IngestConfig,
    output: str,
    make_pipeline: Callable[[], beam.Pipeline],
    progress: Progress | None = None,
    shown_as: str = "",
) -> IngestSummary:
    """Ingests into `output`, any folder that Beam's FileSystems can write, shared by all workers.

    Args:
      config: what to ingest and how.
      output: the folder; what was in it stays.
      make_pipeline: returns the Beam pipeline to run, not yet entered.
      progress: as for `run_ingest`; only for a local `output`.
      shown_as: the name of the output in the summary, if not `output`.

    Raises:
      InputError: if an input cannot be used.
    """
    started = time.monotonic()
    job = plan_job(config, output, _work(output))
    try:
        tally = _run(job, make_pipeline, progress)
        plan = timeline(tally, config)
        splits = plan.splits
        check_splits(tally, splits)
        merge_user_states(job)
    finally:
        remove_tree(job.work)
    summary = IngestSummary(
        shown_as or output,
        _counted(tally + Tally({"events.after_the_end": plan.after_the_end})),
        splits.train_start,
        splits.eval_start,
        splits.end,
        round(time.monotonic() - started, 3),
        {
            action: ActionRows(count, event_type_of(action, config.data.ubi_actions))
            for action, count in most_frequent(tally.actions).items()
        },
        **column_use(job.unused_catalog_columns, tally, job.config),
        ubi_first_ordinal=plan.first_ordinal if job.is_ubi and tally.ordinals else None,
        unmatched_users={
            name: tally.shown[f"users.{name}"] for name in ("profiles", "log") if f"users.{name}" in tally.shown
        },
        files_that_share_ids=tuple(tally.shown.get("events.reused_event_ids", ())),
    )
    with create(posixpath.join(output, INGESTION_FILE)) as stream:
        stream.write(summary.to_json().encode())
    return summary


def ingest_catalog_into(
    config: IngestConfig, output: str, make_pipeline: Callable[[], beam.Pipeline]
) -> CatalogSummary:
    """Reads the catalog alone, and writes the split `catalog` alone; otherwise as `ingest_into`."""
    started = time.monotonic()
    job = plan_catalog_job(config, output, _work(output))
    try:
        tally = _run(job, make_pipeline)
        if not tally.counters.get(f"examples.{features.CATALOG_SPLIT}"):
            raise DataError(f"{', '.join(job.files(kinds.CATALOG))}: the catalog has no usable item")
    finally:
        remove_tree(job.work)
    seconds = round(time.monotonic() - started, 3)
    summary = CatalogSummary(
        output, _counted(tally), seconds, **column_use(job.unused_catalog_columns, tally, job.config)
    )
    with create(posixpath.join(output, INGESTION_FILE)) as stream:
        stream.write(summary.to_json().encode())
    return summary


def _work(output: str) -> str:
    """A folder for one job alone: what workers keep of its files, they keep by path."""
    return posixpath.join(output, f"_work-{uuid.uuid4().hex[:8]}")


def _run(job: IngestJob, make_pipeline: Callable[[], beam.Pipeline], progress: Progress | None = None) -> Tally:
    """Runs the job; returns its counts, checked."""
    make_directory(job.work)
    with watch(job, progress), make_pipeline() as pipeline:
        build(pipeline, job)
    with open_raw(job.scratch("tally.json")) as stream:
        tally = Tally.from_json(stream.read())
    check(tally, job.config)
    return tally


def _counted(tally: Tally) -> dict[str, int]:
    return {name: count for name, count in tally.counters.items() if count}


def local_pipeline(beam_args: Sequence[str]) -> beam.Pipeline:
    """A Beam pipeline with options; on the local in-process runner where none is named."""
    options = PipelineOptions(list(beam_args))
    if options.get_all_options()["runner"] is None:
        options = PipelineOptions([*beam_args, f"--runner={DEFAULT_RUNNER}"])
    return beam.Pipeline(options=options)


def build(pipeline: beam.Pipeline, job: IngestJob) -> None:
    """Adds the job to `pipeline`."""
    splits = pipeline | "Inputs" >> beam.Create(list(job.input_splits)) | "SpreadInputs" >> beam.Reshuffle()
    read = splits | "Read" >> beam.ParDo(_Read(job)).with_outputs()
    catalog = (
        read[kinds.CATALOG]
        | "GroupItems" >> beam.GroupByKey()
        | "WriteCatalog" >> beam.ParDo(_WriteCatalog(job)).with_outputs()
    )
    tallies = [read[TALLY], catalog[TALLY]]
    if job.partitions:
        tallies += _build_search(read, catalog["items"], job)
    (
        tallies
        | "AllTallies" >> beam.Flatten()
        | "SumOfAll" >> beam.CombineGlobally(_SumTallies())
        | "WriteTally" >> beam.Map(_write_tally, job.scratch("tally.json"))
    )


def _build_search(read: Any, item_paths: beam.PCollection, job: IngestJob) -> list[beam.PCollection]:
    """Adds the steps for the log and the profiles; returns their tallies."""
    plan = (
        read[TALLY]
        | "SumOfRead" >> beam.CombineGlobally(_SumTallies())
        | "PlanTimes" >> beam.Map(_timeline_or_none, job.config)
    )
    checked = read["ids"] | "GroupIds" >> beam.GroupByKey() | "CheckIds" >> beam.ParDo(_CheckIds(job)).with_outputs()
    joined = (
        read[kinds.EVENTS]
        | "GroupRequests" >> beam.GroupByKey()
        | "Join"
        >> beam.ParDo(
            _Join(job),
            beam.pvalue.AsList(item_paths),
            beam.pvalue.AsList(checked["again"]),
            beam.pvalue.AsSingleton(plan),
        ).with_outputs()
    )
    searched = (
        {"requests": joined["requests"], "interactions": joined["interactions"], "users": read[kinds.USERS]}
        | "GroupUsers" >> beam.CoGroupByKey()
        | "WriteSearch" >> beam.ParDo(_WriteSearch(job), beam.pvalue.AsSingleton(plan)).with_outputs()
    )
    return [checked[TALLY], joined[TALLY], searched[TALLY]]


class _Step(beam.DoFn):
    """Runs a step for one input split or partition; a problem with the input becomes part of the tally, so that every
    runner brings it back as it is.
    """

    def __init__(self, job: IngestJob):
        self.job = job

    def tallied(self, outputs: Iterator[Any], mark: str) -> Iterator[Any]:
        try:
            yield from outputs
        except InputError as error:
            yield beam.pvalue.TaggedOutput(TALLY, Tally(errors=(str(error),)))
        # Only local folders have progress; in a bucket each mark would cost four requests.
        if not is_remote(self.job.work):
            with create(self.job.scratch("done", mark)):
                pass


class _Read(_Step):
    def process(self, split: InputSplit) -> Iterator[Any]:
        return self.tallied(self._read(split), f"read-{split.name}")

    def _read(self, split: InputSplit) -> Iterator[Any]:
        kind = split.kind if split.kind in (kinds.CATALOG, kinds.USERS) else kinds.EVENTS
        for refs, ids, tally in steps.read_split(split, self.job):
            yield from _tagged(kind, refs)
            yield from _tagged("ids", ids)
            yield beam.pvalue.TaggedOutput(TALLY, tally)


class _WriteCatalog(_Step):
    def process(self, group: tuple[int, Iterable[BatchRef]]) -> Iterator[Any]:
        return self.tallied(self._write(*group), f"catalog-{group[0]:05d}")

    def _write(self, partition: int, refs: Iterable[BatchRef]) -> Iterator[Any]:
        path, tally = steps.write_catalog(partition, refs, self.job)
        yield beam.pvalue.TaggedOutput("items", path)
        yield beam.pvalue.TaggedOutput(TALLY, tally)


class _CheckIds(_Step):
    def process(self, group: tuple[int, Iterable[BatchRef]]) -> Iterator[Any]:
        return self.tallied(self._check(*group), f"ids-{group[0]:05d}")

    def _check(self, partition: int, refs: Iterable[BatchRef]) -> Iterator[Any]:
        path, tally = steps.check_event_ids(partition, refs, self.job)
        if path:
            yield beam.pvalue.TaggedOutput("again", path)
        yield beam.pvalue.TaggedOutput(TALLY, tally)


class _Join(_Step):
    def process(
        self, group: tuple[int, Iterable[BatchRef]], item_paths: Any, again_paths: Any, plan: Any
    ) -> Iterator[Any]:
        return self.tallied(self._join(*group, item_paths, again_paths, plan), f"join-{group[0]:05d}")

    def _join(
        self, partition: int, refs: Iterable[BatchRef], item_paths: Any, again_paths: Any, plan: Timeline | None
    ) -> Iterator[Any]:
        if plan is None:
            return
        requests, interactions, tally = steps.join_partition(partition, refs, item_paths, again_paths, plan, self.job)
        yield from _tagged("requests", requests)
        yield from _tagged("interactions", interactions)
        yield beam.pvalue.TaggedOutput(TALLY, tally)


class _WriteSearch(_Step):
    def process(self, group: tuple[int, Any], plan: Any) -> Iterator[Any]:
        return self.tallied(self._write(*group, plan), f"write-{group[0]:05d}")

    def _write(self, partition: int, refs: dict[str, Iterable[BatchRef]], plan: Timeline | None) -> Iterator[Any]:
        if plan is None:
            return
        rows = (refs["requests"], refs["interactions"], refs["users"])
        yield beam.pvalue.TaggedOutput(TALLY, steps.write_search(partition, *rows, plan, self.job))


def _tagged(tag: str, elements: Iterable[Any]) -> Iterator[beam.pvalue.TaggedOutput]:
    for element in elements:
        yield beam.pvalue.TaggedOutput(tag, element)


class _SumTallies(beam.CombineFn):
    def create_accumulator(self) -> Tally:
        return Tally()

    def add_input(self, total: Tally, tally: Tally) -> Tally:
        return total + tally

    def merge_accumulators(self, totals: Any) -> Tally:
        return sum(totals, Tally())

    def extract_output(self, total: Tally) -> Tally:
        return total


def _timeline_or_none(tally: Tally, config: IngestConfig) -> Timeline | None:
    """The times, or None where the run is bound to fail: then the later steps do nothing."""
    try:
        check(tally, config)
        return timeline(tally, config)
    except InputError:
        return None


def _write_tally(tally: Tally, path: str) -> None:
    with create(path) as stream:
        stream.write(tally.to_json())
