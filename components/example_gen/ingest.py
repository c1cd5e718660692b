"""The ingestion job: logs, catalog and profiles in, an Examples artifact with three splits out.

    read_split --events-->    join_partition --requests, interactions-->  write_search --> train, eval, user states
           \\---items----> write_catalog --item ids--^                      ^
           \\---profiles----------------------------------------------------/

Only references to Arrow batches move (see `partition`); what runs between is columnar (see `steps`). Beam moves them
where there are other workers; where the pipeline would run in this process alone, it is left out.
"""

import os
import posixpath
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from components.example_gen import job as kinds
from components.example_gen import stages
from components.example_gen.config import IngestConfig
from components.example_gen.files import create, is_remote, make_directory, open_raw, remove_tree
from components.example_gen.job import IngestJob, plan_catalog_job, plan_job
from components.example_gen.output_folder import replaced
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
from components.example_gen.timeline import timeline
from components.example_gen.ubi import event_type_of
from schema import features
from schema.artifacts import INGESTION_FILE
from schema.settings import DataError, refuse_credentials

_TALLY_FILE: Final = "tally.json"
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
    pipeline = make_pipeline()
    threads = _threads(pipeline)
    with watch(job, progress):
        if threads:
            tally = stages.run_here(job, threads)
        else:
            with pipeline:
                build(pipeline, job)
            with open_raw(job.scratch(_TALLY_FILE)) as stream:
                tally = Tally.from_json(stream.read())
    check(tally, job.config)
    return tally


def _threads(pipeline: beam.Pipeline) -> int:
    """How many threads of this process the pipeline would use; 0 where it runs elsewhere."""
    options = pipeline.options.view_as(DirectOptions)
    if not isinstance(pipeline.runner, FnApiRunner) or options.direct_running_mode == "multi_processing":
        return 0
    return 1 if options.direct_running_mode == "in_memory" else options.direct_num_workers or os.cpu_count() or 1


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
    read = splits | "Read" >> _step(stages.read, job)
    catalog = (
        read[kinds.CATALOG] | "GroupItems" >> beam.GroupByKey() | "WriteCatalog" >> _step(stages.write_catalog, job)
    )
    tallies = [read[stages.TALLY], catalog[stages.TALLY]]
    if job.partitions:
        tallies += _build_search(read, catalog[stages.ITEMS], job)
    (
        tallies
        | "AllTallies" >> beam.Flatten()
        | "SumOfAll" >> _Total()
        | "WriteTally" >> beam.Map(_write_tally, job.scratch(_TALLY_FILE))
    )


def _build_search(read: Any, item_paths: beam.PCollection, job: IngestJob) -> list[beam.PCollection]:
    """Adds the steps for the log and the profiles; returns their tallies."""
    plan = beam.pvalue.AsSingleton(
        read[stages.TALLY] | "SumOfRead" >> _Total() | "PlanTimes" >> beam.Map(stages.timeline_or_none, job.config)
    )
    checked = read[stages.IDS] | "GroupIds" >> beam.GroupByKey() | "CheckIds" >> _step(stages.check_ids, job)
    paths = (beam.pvalue.AsList(item_paths), beam.pvalue.AsList(checked[stages.AGAIN]))
    joined = read[kinds.EVENTS] | "GroupRequests" >> beam.GroupByKey() | "Join" >> _step(stages.join, job, *paths, plan)
    given = {name: joined[name] for name in (stages.REQUESTS, stages.INTERACTIONS)} | {kinds.USERS: read[kinds.USERS]}
    searched = given | "GroupUsers" >> beam.CoGroupByKey() | "WriteSearch" >> _step(stages.write_search, job, plan)
    return [checked[stages.TALLY], joined[stages.TALLY], searched[stages.TALLY]]


def _step(stage: stages.Stage, job: IngestJob, *side_inputs: Any) -> beam.PTransform:
    return beam.ParDo(_Step(stage, job), *side_inputs).with_outputs()


class _Step(beam.DoFn):
    """Runs a stage for one input split or partition."""

    def __init__(self, stage: stages.Stage, job: IngestJob):
        self._stage = stage
        self._job = job

    def process(self, element: Any, *side_inputs: Any) -> Iterator[Any]:
        for name, output in self._stage(self._job, element, *side_inputs):
            yield beam.pvalue.TaggedOutput(name, output)


class _Total(beam.PTransform):
    """The sum of tallies: by one key, which takes fewer stages than a sum that may be of nothing."""

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        return pcoll | beam.WithKeys(None) | beam.CombinePerKey(stages.total) | beam.Values()


def _write_tally(tally: Tally, path: str) -> None:
    with create(path) as stream:
        stream.write(tally.to_json())
