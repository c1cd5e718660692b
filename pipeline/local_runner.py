"""Runs the pipeline on this machine with TFX's BeamDagRunner, and shows how it gets on."""

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata as tfx_metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.beam import beam_dag_runner
from tfx.orchestration.portable.mlmd import context_lib, execution_lib

from pipeline.beam import data_paths
from pipeline.config import PipelineConfig
from pipeline.exit_codes import ExitCode, code_of
from pipeline.output_capture import LatestMessage, captured_output
from pipeline.pipeline import create_pipeline
from pipeline.progress import State, StepList
from pipeline.relocation import follow_move, keys_without
from pipeline.run_lock import run_lock
from pipeline.runs import history, metadata
from schema.file_errors import StorageError, causes, file_error, naming
from schema.settings import DataError, InputError

_logger = logging.getLogger(__name__)


class StepFailedError(Exception):
    """A step failed; the message says which, why, and where the log is.

    Attributes:
      step: the step's name.
      reason: what it said.
      log_path: everything that was printed and logged in the run.
    """

    def __init__(self, step: str, reason: str, log_path: Path):
        super().__init__(f"{step} failed: {reason}\nThe whole log is in {log_path}.")
        self.step = step
        self.reason = reason
        self.log_path = log_path


@dataclass
class _Watch:
    """The run that this process is at work on; `folder` is that of its artifacts."""

    steps: StepList
    folder: str
    failed_step: str = ""
    error: BaseException | None = field(default=None)


# Beam pickles the node functions and runs them in threads of this process, so they find their run here.
_watches: Final[list[_Watch]] = []


@beam.typehints.with_input_types(Any)
@beam.typehints.with_output_types(Any)
class _WatchedNode(beam_dag_runner.PipelineNodeAsDoFn):
    """A node that says when it starts and how it ends, and keeps in ML Metadata why it failed."""

    def _run_node(self) -> None:
        watch = _watches[-1]
        watch.steps.start(self._node_id)
        try:
            super()._run_node()
            state = self._recorded_state()
            if state not in ("done", "cached"):
                raise RuntimeError("its inputs could not be found in ML Metadata")
        except BaseException as error:
            watch.failed_step, watch.error = self._node_id, error
            interrupted = _is_interrupt(error)
            if not interrupted:
                self._record_failure(error)
            watch.steps.end(self._node_id, "cancelled" if interrupted else "failed")
            raise
        watch.steps.end(self._node_id, state)

    def _executions(self, store: tfx_metadata.Metadata) -> list[metadata_store_pb2.Execution]:
        contexts = context_lib.prepare_contexts(store, self._pipeline_node.contexts)
        return execution_lib.get_executions_associated_with_all_contexts(store, contexts)

    def _recorded_state(self) -> State:
        with tfx_metadata.Metadata(self._mlmd_connection_config) as store:
            executions = self._executions(store)
            return metadata.state_of(executions[-1]) if executions else "waiting"

    def _record_failure(self, error: BaseException) -> None:
        found = _input_error(error, _watches[-1].folder)
        code = ExitCode.FAILED if found is None else code_of(found)
        with tfx_metadata.Metadata(self._mlmd_connection_config) as store:
            executions = self._executions(store)
            for execution in executions:
                execution.last_known_state = metadata_store_pb2.Execution.FAILED
                execution.custom_properties[metadata.FAILURE].string_value = str(found or _reason(error))
                execution.custom_properties[metadata.FAILURE_CODE].int_value = code
            store.store.put_executions(executions)


class _WatchedRunner(beam_dag_runner.BeamDagRunner):
    _PIPELINE_NODE_DO_FN_CLS = _WatchedNode


def run(
    config: PipelineConfig,
    use_cache: bool = True,
    create: Callable[[PipelineConfig, bool], tfx_pipeline.Pipeline] = create_pipeline,
) -> metadata.Run:
    """Runs every step whose inputs or settings changed since it last succeeded; takes the rest from cache.

    Args:
      config: of the pipeline.
      use_cache: False runs every step anew.
      create: makes the pipeline of the configuration; another one is a part of it.

    Raises:
      InputError: something the user gave is wrong, be it found before the run or by one of its steps.
      StepFailedError: a step failed for another reason.
      KeyboardInterrupt: the user interrupted it.
    """
    with naming(config.root), run_lock(config.root):
        if former := follow_move(config.metadata_path, config.root):
            print(f"{config.root} was {former} in earlier runs: their cache and history now name it.", file=sys.stderr)
        clear_up(config.metadata_path, config.artifacts_root)
        dag = create(config, use_cache)
        log_path = Path(config.root) / "logs" / time.strftime("run-%Y%m%d-%H%M%S.log")
        earlier = metadata.count_runs(config.metadata_path, config.name)
        try:
            # What these name is part of the keys by its content.
            named = [*(path for _, path in data_paths(config.ingest)), config.schema_gate.schema_path]
            run_dag(dag, log_path, [*named, config.root])
        finally:
            _keep_record(config, log_path, earlier)
        return metadata.read_runs(config.metadata_path, config.name, last=1)[-1]


def _keep_record(config: PipelineConfig, log_path: Path, earlier: int) -> None:
    """Keeps what the run that is over ran with, and writes its summary; a run that recorded no step has neither."""
    if metadata.count_runs(config.metadata_path, config.name) == earlier:
        return
    metadata.describe_last_run(config.metadata_path, config.name, config.to_json(), str(log_path))
    try:
        history.write_summaries(history.RunHistory.read(config))
    except InputError as error:
        _logger.warning("the run has no summary: %s", error)


def run_dag(dag: tfx_pipeline.Pipeline, log_path: Path, movable: Sequence[str] = ()) -> None:
    """Runs the steps of any TFX pipeline and shows them on standard error; see `run` for what it raises.

    Args:
      dag: the pipeline.
      log_path: gets everything that is printed and logged.
      movable: paths that may be others when the cache is asked again, see `relocation.keys_without`.
    """
    watch = _Watch(StepList([str(node.id) for node in dag.components]), dag.pipeline_info.pipeline_root)
    _watches.append(watch)
    arguments = sys.argv
    # Beam reads the program's own arguments as its options where it is given none. Without a runner's name it looks
    # for the Prism runner, whose program it would fetch from the network.
    sys.argv = [*arguments[:1], "--runner=FnApiRunner"]
    try:
        with captured_output(log_path) as screen, watch.steps.shown(screen), _notes_to(watch.steps):
            try:
                with keys_without(movable):
                    _WatchedRunner().run(dag)
            except Exception:
                _logger.exception("The run failed")
                raise
    except Exception:
        if watch.error is None:
            raise
        if _is_interrupt(watch.error):
            raise KeyboardInterrupt from None
        told = _input_error(watch.error, watch.folder)
        if told is not None and not isinstance(told, StorageError):
            raise told from None
        raise StepFailedError(watch.failed_step, str(told or _reason(watch.error)), log_path) from None
    finally:
        sys.argv = arguments
        _watches.remove(watch)


@contextmanager
def _notes_to(steps: StepList) -> Iterator[None]:
    handler = LatestMessage(steps.note)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def clear_up(metadata_path: str, artifacts_root: str) -> None:
    """Settles what a killed run left: its executions are marked as cancelled, its half-written outputs removed."""
    for step, execution_id in metadata.cancel_unfinished(metadata_path):
        for directory in Path(artifacts_root, step).glob(f"*/{execution_id}") if step else ():
            shutil.rmtree(directory, ignore_errors=True)


def _is_interrupt(error: BaseException) -> bool:
    """Whether `error` stems from Ctrl-C, which Beam, running a step in the main thread, wraps like any error."""
    return any(isinstance(cause, KeyboardInterrupt) for cause in causes(error, with_context=True))


def _input_error(error: BaseException, path: str = "") -> InputError | None:
    """The `InputError` that `error` stems from, or what the file system refused, of `path` if the error names none.

    An `InputError` of a Beam worker arrives as text within another error.
    """
    for cause in causes(error, with_context=True):
        for kind in (DataError, InputError):
            if isinstance(cause, kind) or f"{kind.__name__}: " in str(cause):
                return kind(_reason(cause).rpartition(f"{kind.__name__}: ")[2])
    return file_error(error, path)


def _reason(error: BaseException) -> str:
    """The message of an error, without the frames and the label that Beam adds to errors of its workers."""
    text = str(error).strip()
    if text.startswith("Traceback (most recent call last)") and "\n" in text:
        text = text.splitlines()[-1]
    return text.partition(" [while running")[0].strip() or type(error).__name__
