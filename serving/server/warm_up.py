"""Makes a version ready to serve: loads it, and lets it answer the requests that were recorded with it."""

import logging
import time
from pathlib import Path

from serving.server import loader, tensors
from serving.server.loader import LoadedModel
from serving.server.metrics import Metrics

log = logging.getLogger("souk.serve")


def load_and_warm_up(path: Path, warm_up_limit: int, metrics: Metrics) -> LoadedModel:
    """The model in `path`, after it has answered its recorded warm-up requests.

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
    started, warm = time.perf_counter(), False
    try:
        for request in requests:
            inputs = {name: tensors.from_proto(proto) for name, proto in request.inputs.items()}
            signature = request.model_spec.signature_name or "serving_default"
            model.check(signature, inputs, list(request.output_filter))
            model.run(signature, inputs)
        warm = True
    finally:
        if requests:
            microseconds = (time.perf_counter() - started) * 1e6
            metrics.model_warmup_latency.observe(microseconds, str(path), "OK" if warm else "UNKNOWN")
    log.info("version %s: warmed up with %d recorded requests", path.name, len(requests))
    return model
