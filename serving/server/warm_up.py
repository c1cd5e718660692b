"""Makes a version ready to serve: loads it, and lets each signature answer a request, recorded ones first."""

import logging
import time
from collections.abc import Set
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.server import loader, tensors
from serving.server.loader import LoadedModel
from serving.server.metrics import Metrics

log = logging.getLogger("souk.serve")


def load_and_warm_up(path: Path, warm_up_limit: int, metrics: Metrics) -> LoadedModel:
    """The model in `path`, after it has answered its recorded warm-up requests.

    TensorFlow makes a signature ready when it first runs, which takes seconds; signatures that no recorded request asks
    for are run on one made-up row.

    Raises:
      Exception: if it cannot be loaded, or cannot answer one of them.
    """
    started, loaded = time.perf_counter(), False
    try:
        model = loader.load(path)
        loaded = True
    finally:
        metrics.load_attempt_count.add(str(path), "success" if loaded else "fail")
        metrics.load_latency.add(str(path), by=round((time.perf_counter() - started) * 1e6))
    requests = loader.warm_up_requests(path, warm_up_limit)
    started, warm, warmed = time.perf_counter(), False, set()
    try:
        for request in requests:
            inputs = {name: tensors.from_proto(proto) for name, proto in request.inputs.items()}
            signature = request.model_spec.signature_name or "serving_default"
            model.check(signature, inputs, list(request.output_filter))
            model.run(signature, inputs)
            warmed.add(signature)
        warm = True
    finally:
        if requests:
            microseconds = (time.perf_counter() - started) * 1e6
            metrics.model_warmup_latency.observe(microseconds, str(path), "OK" if warm else "UNKNOWN")
    log.info("version %s: warmed up with %d recorded requests", path.name, len(requests))
    if warm_up_limit:
        run_once(model, warmed)
    return model


def run_once(model: LoadedModel, warmed: Set[str]) -> None:
    """Runs all signatures but those of `warmed` on one made-up row; one that does not take it is left as it is."""
    for name in sorted(model.signatures.keys() - warmed):
        try:
            model.run(name, {key: _one_row(spec) for key, spec in model.signatures[name].inputs.items()})
        except (tf.errors.OpError, ValueError) as error:
            log.info("%s does not take a row of zeros to warm up: %s", name, error)


def _one_row(spec: tf.TensorSpec) -> np.ndarray:
    """Zeros, or empty texts, in a shape that fits."""
    return np.full(
        [size or 1 for size in spec.shape.as_list()], b"" if spec.dtype == tf.string else 0, spec.dtype.as_numpy_dtype
    )
