"""Runs requests that come at the same time as one: joined along dimension 0, run once, and split again.

It schedules as TensorFlow Serving's SharedBatchScheduler does: each queue holds requests that can be joined, a batch
is run as soon as it is full or its first request has waited long enough, and batch threads serve all queues.
"""

import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import tensorflow as tf

from schema.settings import InputError
from serving.protos.server_config_pb2 import BatchingParameters
from serving.server import text_protos
from serving.server.errors import RequestError, invalid
from serving.server.loader import LoadedModel
from serving.server.metrics import Metrics
from serving.server.prediction import Arrays, DirectRunner, Tensors, check_deadline, run_counted
from serving.server.registry import InUse

log = logging.getLogger("souk.serve")


@dataclass(frozen=True)
class BatchingOptions:
    """TensorFlow Serving's BatchingParameters, with its defaults.

    Attributes:
      max_batch_size: most rows of a batch, and of a request.
      timeout_s: longest that the first request of a batch waits for others while a thread is free.
      max_enqueued_batches: most batches that wait in one queue.
      threads: batches run at once.
      pool_name: label of these threads in the metrics.
      allowed_sizes: sizes that batches are padded to; empty runs them as they are.
    """

    max_batch_size: int = 1000
    timeout_s: float = 0.0
    max_enqueued_batches: int = 10
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    pool_name: str = "model_server_batch_threads"
    allowed_sizes: tuple[int, ...] = ()


def read_options(path: Path | None) -> BatchingOptions:
    """The options in a file; the defaults without one.

    Raises:
      InputError: if the file cannot be read, or asks for what cannot be done.
    """
    if path is None:
        return BatchingOptions()
    found = text_protos.read(
        path,
        BatchingParameters,
        "--batching-parameters-file",
        "max_batch_size { value: 64 } num_batch_threads { value: 2 }",
    )
    default = BatchingOptions()
    options = BatchingOptions(
        max_batch_size=_at_least(path, found, "max_batch_size", 1, default.max_batch_size),
        timeout_s=_at_least(path, found, "batch_timeout_micros", 0, 0) / 1e6,
        max_enqueued_batches=_at_least(path, found, "max_enqueued_batches", 1, default.max_enqueued_batches),
        threads=_at_least(path, found, "num_batch_threads", 1, default.threads),
        pool_name=found.thread_pool_name.value or default.pool_name,
        allowed_sizes=tuple(found.allowed_batch_sizes),
    )
    sizes = options.allowed_sizes
    if sizes and (list(sizes) != sorted({*sizes}) or sizes[0] < 1 or sizes[-1] != options.max_batch_size):
        raise InputError(
            f"{path}: allowed_batch_sizes must increase and end with max_batch_size ({options.max_batch_size}), "
            f"got {list(sizes)}"
        )
    if sizes:
        log.warning(
            "%s: allowed_batch_sizes are followed here, but in TensorFlow Serving they let one Predict of 0 rows end "
            "the whole server; leave them out of files that it reads",
            path,
        )
    if found.pad_variable_length_inputs:
        raise InputError(
            f"{path}: pad_variable_length_inputs is not supported, as it changes what the model sees; leave it out, "
            "and inputs of different shapes are run in batches of their own"
        )
    return options


def _at_least(path: Path, found: BatchingParameters, name: str, least: int, default: int) -> int:
    if not found.HasField(name):
        return default
    value = int(getattr(found, name).value)
    if value < least:
        raise InputError(f"{path}: {name} must be at least {least}, got {value}")
    return value


@dataclass(eq=False)
class _Task:
    inputs: Tensors
    rows: int
    deadline: float | None
    since: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    outputs: Arrays = field(default_factory=dict)
    error: Exception | None = None
    abandoned: bool = False


@dataclass(eq=False)
class _Batch:
    used: InUse[LoadedModel]
    signature: str
    tasks: list[_Task] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(task.rows for task in self.tasks)


class BatchingRunner:
    """A `Runner` that joins requests. Its threads run from construction until `stop`."""

    def __init__(self, options: BatchingOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._direct = DirectRunner(metrics)
        self._changed = threading.Condition()
        self._queues: dict[Hashable, deque[_Batch]] = {}
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, name=f"souk-batch-{number}", daemon=True)
            for number in range(options.threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, used: InUse[LoadedModel], signature: str, inputs: Tensors, deadline: float | None) -> Arrays:
        """See `Runner`."""
        rows = _rows(inputs)
        if rows is None:
            return self._direct.run(used, signature, inputs, deadline)
        if rows > self._options.max_batch_size:
            raise invalid(f"Task size {rows} is larger than maximum input batch size {self._options.max_batch_size}")
        check_deadline(deadline)
        task = _Task(inputs, rows, deadline)
        self._enqueue(used, signature, task)
        if not task.done.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
            task.abandoned = True
            check_deadline(deadline)
        if task.error is not None:
            raise task.error
        return task.outputs

    def stop(self) -> None:
        """Ends the threads once everything that waits has been run."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _enqueue(self, used: InUse[LoadedModel], signature: str, task: _Task) -> None:
        # The same number may be loaded anew with other weights, hence the identity of the model.
        shapes = tuple((name, tuple(tensor.shape[1:])) for name, tensor in sorted(task.inputs.items()))
        key = (used.name, used.number, id(used.model), signature, shapes)
        with self._changed:
            queue = self._queues.setdefault(key, deque())
            if not queue or queue[-1].rows + task.rows > self._options.max_batch_size:
                if len(queue) >= self._options.max_enqueued_batches:
                    raise RequestError(
                        grpc.StatusCode.UNAVAILABLE,
                        "The batch scheduling queue to which this task was submitted is full",
                    )
                queue.append(_Batch(used, signature))
            queue[-1].tasks.append(task)
            self._changed.notify()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            self._run(batch)
            # While this thread waits, it must not keep a version in memory that is withdrawn meanwhile.
            del batch

    def _next(self) -> _Batch | None:
        """The batch that is due and has waited longest; None when the runner has stopped."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = {key: self._due(queue) for key, queue in self._queues.items()}
                first = min(due, key=due.__getitem__, default=None)
                if first is not None and due[first] <= now:
                    batch = self._queues[first].popleft()
                    if not self._queues[first]:
                        del self._queues[first]
                    return batch
                if first is None and self._stopped:
                    return None
                self._changed.wait(None if first is None else due[first] - now)

    def _due(self, queue: deque[_Batch]) -> float:
        full = len(queue) > 1 or queue[0].rows >= self._options.max_batch_size
        since = queue[0].tasks[0].since
        return since if full or self._stopped else since + self._options.timeout_s

    def _run(self, batch: _Batch) -> None:
        now = time.monotonic()
        for task in batch.tasks:
            self._metrics.queuing_latency.observe((now - task.since) * 1e6, self._options.pool_name)
        waiting = [task for task in batch.tasks if not self._too_late(task)]
        if not waiting:
            return
        try:
            self._metrics.wrapped_run_count.add()
            outputs = self._run_joined(batch, waiting)
        except Exception:
            # One request's input must not fail its neighbors.
            for task in waiting:
                self._run_alone(batch, task)
            return
        for task, own in zip(waiting, outputs, strict=True):
            task.outputs = own
            task.done.set()

    def _run_joined(self, batch: _Batch, tasks: list[_Task]) -> list[Arrays]:
        """Outputs of each task; raises if the model fails, or its outputs have not the rows of its inputs."""
        rows = [task.rows for task in tasks]
        padding = self._padding(sum(rows))
        if len(tasks) == 1 and not padding:
            return [run_counted(batch.used, batch.signature, tasks[0].inputs, self._metrics)]
        joined = {}
        for name, first in tasks[0].inputs.items():
            parts = [task.inputs[name] for task in tasks]
            joined[name] = tf.concat([*parts, *[first[:1]] * padding], axis=0)
        outputs = run_counted(batch.used, batch.signature, joined, self._metrics)
        for name, values in outputs.items():
            if values.ndim == 0 or len(values) != sum(rows) + padding:
                raise ValueError(f"output {name!r} is {list(values.shape)}, of {sum(rows) + padding} rows of input")
        ends = list(itertools.accumulate(rows))
        return [
            {name: values[end - size : end] for name, values in outputs.items()}
            for size, end in zip(rows, ends, strict=True)
        ]

    def _run_alone(self, batch: _Batch, task: _Task) -> None:
        if self._too_late(task):
            return
        try:
            task.outputs = run_counted(batch.used, batch.signature, task.inputs, self._metrics)
        except Exception as error:
            task.error = error
        task.done.set()

    def _padding(self, rows: int) -> int:
        return next((size - rows for size in self._options.allowed_sizes if size >= rows), 0)

    @staticmethod
    def _too_late(task: _Task) -> bool:
        try:
            check_deadline(task.deadline)
        except RequestError as error:
            task.error = error
            task.done.set()
            return True
        return task.abandoned


def _rows(inputs: Tensors) -> int | None:
    """Rows that all inputs have; None if they cannot be joined with others."""
    sizes = {tensor.shape[0] if tensor.shape.rank else 0 for tensor in inputs.values()}
    return sizes.pop() or None if len(sizes) == 1 else None
