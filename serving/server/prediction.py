"""Answers one Predict: picks the version, reads the inputs, runs the signature, counts what happened."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_pb2

from serving.server.errors import RequestError, invalid, of_model
from serving.server.loader import LoadedModel, SignatureError
from serving.server.metrics import Metrics
from serving.server.registry import InUse, ModelRegistry

Tensors = Mapping[str, np.ndarray]
Arrays = dict[str, np.ndarray]

# Any text may come as a model's name; as a label each would stay in memory for good.
_UNKNOWN_MODEL = "(unknown)"
# TensorFlow Serving's label for a SavedModel that it runs in a session, which is how it runs every one by default.
_RUNTIME = "TF1"


@dataclass(frozen=True)
class PredictAnswer:
    """The outputs of a signature, and which model and version gave them."""

    name: str
    number: int
    signature: str
    outputs: Arrays


class Runner(Protocol):
    """Runs a signature on one request's inputs, alone or together with others."""

    def run(self, used: InUse[LoadedModel], signature: str, inputs: Tensors, deadline: float | None) -> Arrays:
        """All outputs by name.

        Args:
          used: the version to run.
          signature: the name of its signature.
          inputs: tensors that fit the signature.
          deadline: time on the monotonic clock after which nobody waits for the answer any more.

        Raises:
          tf.errors.OpError: if the model fails.
          RequestError: if it is too late, or too much waits already.
        """
        ...


class DirectRunner:
    """Runs each request by itself, on its own thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def run(self, used: InUse[LoadedModel], signature: str, inputs: Tensors, deadline: float | None) -> Arrays:
        """See `Runner`."""
        check_deadline(deadline)
        return run_counted(used, signature, inputs, self._metrics)


def run_counted(used: InUse[LoadedModel], signature: str, inputs: Tensors, metrics: Metrics) -> Arrays:
    """One run of a signature, entered in `metrics`."""
    started = time.perf_counter_ns()
    try:
        return used.model.run(signature, inputs)
    finally:
        microseconds = (time.perf_counter_ns() - started) // 1000
        metrics.graph_runs.add()
        metrics.graph_run_time_usecs.add(by=microseconds)
        metrics.runtime_latency.observe(microseconds, used.name, "Predict", _RUNTIME)


def check_deadline(deadline: float | None) -> None:
    """Stops work that nobody waits for any more.

    Raises:
      RequestError: DEADLINE_EXCEEDED if the time is past.
    """
    if deadline is not None and time.monotonic() >= deadline:
        raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


@dataclass(frozen=True)
class Predictor:
    """Predict, whichever way the request came.

    Attributes:
      registry: the models.
      runner: how signatures are run.
      metrics: what counts the requests.
      max_rows: most rows (first dimension of an input) that one request may have.
    """

    registry: ModelRegistry[LoadedModel]
    runner: Runner
    metrics: Metrics
    max_rows: int

    def predict(
        self,
        spec: model_pb2.ModelSpec,
        read_inputs: Callable[[LoadedModel, str], Tensors],
        output_filter: Sequence[str],
        deadline: float | None,
    ) -> PredictAnswer:
        """Runs the signature that `spec` names, or serving_default.

        Args:
          spec: model, version and signature.
          read_inputs: makes tensors out of the request, given the model and the signature's name.
          output_filter: names of the wanted outputs; empty for all.
          deadline: as for `Runner.run`.

        Raises:
          RequestError: if there is no such model, the request is wrong or late, or the model fails.
        """
        check_deadline(deadline)
        signature = spec.signature_name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        with self.registry.use(spec) as used:
            try:
                inputs = read_inputs(used.model, signature)
                wanted = used.model.check(signature, inputs, list(output_filter))
                self._check_rows(inputs)
                outputs = self.runner.run(used, signature, inputs, deadline)
            except SignatureError as error:
                code = grpc.StatusCode.FAILED_PRECONDITION if error.missing else grpc.StatusCode.INVALID_ARGUMENT
                raise RequestError(code, str(error)) from None
            except ValueError as error:
                raise invalid(str(error)) from None
            except tf.errors.OpError as error:
                raise of_model(error) from None
            return PredictAnswer(used.name, used.number, signature, {name: outputs[name] for name in wanted})

    def count(self, name: str, entry_point: str, started: float, code: grpc.StatusCode) -> None:
        """Enters a request that began at `started` (time.perf_counter) and has ended with `code`."""
        known = name if name in self.registry.names() else _UNKNOWN_MODEL
        self.metrics.request_count.add(known, code.name)
        if code is grpc.StatusCode.OK:
            api = "Predict" if entry_point == "GRPC" else "predict"
            self.metrics.request_latency.observe((time.perf_counter() - started) * 1e6, known, api, entry_point)

    def _check_rows(self, inputs: Tensors) -> None:
        for name, tensor in inputs.items():
            if tensor.shape and tensor.shape[0] == 0:
                raise invalid(f"input {name!r} has 0 rows, so there is nothing to answer; send at least one")
            if tensor.shape and tensor.shape[0] > self.max_rows:
                raise invalid(f"input {name!r} has {tensor.shape[0]} rows; this server takes {self.max_rows} at most")
