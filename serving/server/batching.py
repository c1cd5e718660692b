"""Runs requests that come at the same time as one: joined along dimension 0, run once, and split again.

No request waits for company, and none changes its thread to be run. As many requests as there are processors run at
once; those that come meanwhile queue, and the first of them runs all that can be joined with it.
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
import numpy as np

from schema.settings import InputError
from serving.protos.server_config_pb2 import BatchingParameters
from serving.server import text_protos
from serving.server.errors import RequestError
from serving.server.loader import LoadedModel
from serving.server.metrics import Metrics
from serving.server.prediction import Arrays, Tensors, check_deadline, run_counted
from serving.server.registry import InUse

log = logging.getLogger("souk.serve")


@dataclass(frozen=True)
class BatchingOptions:
    """What is followed of TensorFlow Serving's BatchingParameters.

    Attributes:
      max_batch_size: most rows of a batch; a request of more rows is run alone.
      max_enqueued_batches: most full batches that wait in one queue.
      threads: batches run at once.
      pool_name: label of these threads in the metrics.
    """

    max_batch_size: int = 64
    max_enqueued_batches: int = 10
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    pool_name: str = "model_server_batch_threads"


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
    if found.allowed_batch_sizes:
        raise InputError(
            f"{path}: allowed_batch_sizes is not supported, and lets one Predict of 0 rows end TensorFlow Serving; "
            "leave it out, and batches are run as they are"
        )
    if found.pad_variable_length_inputs:
        raise InputError(
            f"{path}: pad_variable_length_inputs is not supported, as it changes what the model sees; leave it out, "
            "and inputs of different shapes are run in batches of their own"
        )
    if _at_least(path, found, "batch_timeout_micros", 0, 0):
        log.warning("%s: batch_timeout_micros has no effect here; a batch is run as soon as a thread is free", path)
    default = BatchingOptions()
    return BatchingOptions(
        max_batch_size=_at_least(path, found, "max_batch_size", 1, default.max_batch_size),
        max_enqueued_batches=_at_least(path, found, "max_enqueued_batches", 1, default.max_enqueued_batches),
        threads=_at_least(path, found, "num_batch_threads", 1, default.threads),
        pool_name=found.thread_pool_name.value or default.pool_name,
    )


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
    since: float = field(default_factory=time.monotonic)
    # Set when the outputs are there, and when it is this task's turn to run a batch.
    told: threading.Event = field(default_factory=threading.Event)
    batch: list["_Task"] = field(default_factory=list)
    outputs: Arrays = field(default_factory=dict)
    error: Exception | None = None


class BatchingRunner:
    """A `Runner` that joins requests."""

    def __init__(self, options: BatchingOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._lock = threading.Lock()
        # What waits, by what can be joined. No queue is empty; the one whose turn it is comes first.
        self._queues: dict[Hashable, deque[_Task]] = {}
        self._running = 0

    def run(self, used: InUse[LoadedModel], signature: str, inputs: Tensors, deadline: float | None) -> Arrays:
        """See `Runner`."""
        check_deadline(deadline)
        rows = _rows(inputs)
        if rows is None or rows > self._options.max_batch_size:
            return run_counted(used, signature, inputs, self._metrics)
        # The same number may be loaded anew with other weights, hence the identity of the model.
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(inputs.items()))
        key = (used.name, used.number, id(used.model), signature, shapes)
        task = _Task(inputs, rows)
        self._enqueue(key, task)
        if not task.told.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
            self._leave(key, task)
        if task.batch:
            try:
                self._run(used, signature, task.batch)
            finally:
                self._pass_on()
                # It holds itself.
                task.batch = []
        if task.error is not None:
            raise task.error
        return task.outputs

    def _enqueue(self, key: Hashable, task: _Task) -> None:
        with self._lock:
            if self._running < self._options.threads:
                self._running += 1
                task.batch = [task]
                task.told.set()
                return
            queue = self._queues.setdefault(key, deque())
            most = self._options.max_batch_size * self._options.max_enqueued_batches
            if queue and sum(waiting.rows for waiting in queue) + task.rows > most:
                raise RequestError(
                    grpc.StatusCode.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full",
                )
            queue.append(task)

    def _leave(self, key: Hashable, task: _Task) -> None:
        """Ends the wait of a task whose time is up; one that is running by now is run to its end, unless others run it.

        Raises:
          RequestError: DEADLINE_EXCEEDED.
        """
        with self._lock:
            if task.batch:
                return
            queue = self._queues.get(key, deque())
            if task in queue:
                queue.remove(task)
                if not queue:
                    del self._queues[key]
        raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _pass_on(self) -> None:
        """Tells the task that waits longest in the next queue to run all that fits into a batch with it."""
        with self._lock:
            key = next(iter(self._queues), None)
            if key is None:
                self._running -= 1
                return
            queue = self._queues.pop(key)
            leader = queue.popleft()
            batch, rows = [leader], leader.rows
            while queue and (rows := rows + queue[0].rows) <= self._options.max_batch_size:
                batch.append(queue.popleft())
            if queue:
                self._queues[key] = queue
            leader.batch = batch
        leader.told.set()

    def _run(self, used: InUse[LoadedModel], signature: str, batch: list[_Task]) -> None:
        now = time.monotonic()
        for task in batch:
            self._metrics.queuing_latency.observe((now - task.since) * 1e6, self._options.pool_name)
        self._metrics.wrapped_run_count.add()
        try:
            outputs = self._run_joined(used, signature, batch)
        except Exception:
            # One request's input must not fail its neighbors.
            for task in batch:
                try:
                    task.outputs = run_counted(used, signature, task.inputs, self._metrics)
                except Exception as error:
                    task.error = error
                task.told.set()
            return
        for task, own in zip(batch, outputs, strict=True):
            task.outputs = own
            task.told.set()

    def _run_joined(self, used: InUse[LoadedModel], signature: str, batch: list[_Task]) -> list[Arrays]:
        """Outputs of each task; raises if the model fails, or its outputs have not the rows of its inputs."""
        if len(batch) == 1:
            return [run_counted(used, signature, batch[0].inputs, self._metrics)]
        joined = {name: np.concatenate([task.inputs[name] for task in batch]) for name in batch[0].inputs}
        outputs = run_counted(used, signature, joined, self._metrics)
        ends = list(itertools.accumulate(task.rows for task in batch))
        for name, values in outputs.items():
            if values.ndim == 0 or len(values) != ends[-1]:
                raise ValueError(f"output {name!r} is {list(values.shape)}, of {ends[-1]} rows of input")
        return [
            {name: values[end - task.rows : end] for name, values in outputs.items()}
            for task, end in zip(batch, ends, strict=True)
        ]


def _rows(inputs: Tensors) -> int | None:
    """Rows that all inputs have; None if they cannot be joined with others."""
    sizes = {array.shape[0] if array.shape else 0 for array in inputs.values()}
    return sizes.pop() or None if len(sizes) == 1 else None
