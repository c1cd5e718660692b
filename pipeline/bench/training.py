"""Trains one system and asks what came out of it the evaluation requests."""

import gc
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from apache_beam.options.pipeline_options import PipelineOptions

from components.index_builder.build import build_servable
from components.index_builder.config import IndexConfig
from components.index_builder.lexical.weight import DEFAULT_DENSE_WEIGHT
from components.recall_gate.config import GateConfig
from evaluation.eval_set import normalize_query
from evaluation.metrics import FloatArray, IntArray
from evaluation.servable import LoadedServable
from pipeline.bench import tutorial_two_tower
from pipeline.bench.data import HASH_BUCKETS, BenchData, EvalDay, read_clicks
from pipeline.bench.trial import Trial, code_fingerprint, fingerprint_of
from pipeline.bench.variants import TUTORIAL
from pipeline.config import PipelineConfig
from schema import features
from schema.artifacts import split_folder
from trainer import artifact
from trainer import train as trainer_train
from trainer.config import TrainerConfig
from trainer.fitted_config import fitted

_ROOT = Path(__file__).resolve().parents[2]
_WARM_UP_CALLS = 10


def index_config(config: PipelineConfig) -> IndexConfig:
    """An index without error that holds every item and answers by vectors, so that models alone are compared."""
    # Any weight will do where no answer is hybrid; without one it would be chosen by measuring.
    lexical = config.index.lexical.model_copy(update={"dense_weight": DEFAULT_DENSE_WEIGHT})
    changes = {
        "kind": "exact",
        "k": config.gate.ks[-1],
        "drop_duplicates": False,
        "retrieval": "dense",
        "lexical": lexical,
    }
    return config.index.model_copy(update=changes)


def variant_fingerprint(train: TrainerConfig, config: PipelineConfig, data: BenchData) -> str:
    """Of all that a trial of a variant depends on but the code."""
    return fingerprint_of(train.to_json(), index_config(config).to_json(), data.fingerprint)


def tutorial_fingerprint(train: TrainerConfig, data: BenchData) -> str:
    """Of all that a trial of the tutorial's model depends on but the code."""
    rates = tutorial_two_tower.LEARNING_RATES
    return fingerprint_of(
        *(TUTORIAL, rates, train.dim, train.batch_size, train.epochs, train.patience),
        *(train.validation_share, train.seed, data.fingerprint),
    )


def variant_code() -> str:
    """Of the source that a variant's answers depend on."""
    return code_fingerprint([_ROOT / "trainer", _ROOT / "components" / "index_builder"])


def tutorial_code() -> str:
    """Of the source that the tutorial's answers depend on."""
    return code_fingerprint([Path(tutorial_two_tower.__file__)])


def run_variant(
    name: str, train: TrainerConfig, config: PipelineConfig, data: BenchData, day: EvalDay, work: Path, code: str
) -> Trial:
    """Trains a variant, builds its servable in `work` and measures it; `code` is that of the source."""
    started = time.perf_counter()
    _forget_graphs()
    model = trainer_train.train(
        train,
        tft.TFTransformOutput(data.transform_dir),
        data.files(features.TRAIN_SPLIT),
        data.files(features.CATALOG_SPLIT),
        str(work / "logs"),
    )
    artifact.save(model, str(work / "model"))
    (work / "parts").mkdir()
    build_servable(
        model_dir=str(work / "model"),
        catalog_pattern=os.path.join(data.examples_dir, split_folder(features.CATALOG_SPLIT), "*"),
        request_pattern=os.path.join(data.examples_dir, split_folder(features.TRAIN_SPLIT), "*"),
        output_dir=str(work / "servable"),
        part_dir=str(work / "parts"),
        config=index_config(config),
        # Given in full: without flags Beam would read those of this program.
        make_pipeline=lambda: beam.Pipeline(
            options=PipelineOptions(["--runner=FnApiRunner", "--sdk_container_image=none"])
        ),
    )
    servable = LoadedServable(work / "servable")
    return Trial(
        system=name,
        seed=train.seed,
        fingerprint=variant_fingerprint(train, config, data),
        code=code,
        settings=train.model_dump(mode="json"),
        history={metric: list(values) for metric, values in model.history.items()},
        examples_per_second=steady(model.history["examples_per_second"]),
        latency_ms=_percentiles(servable.latencies_ms(day.requests.examples[: config.gate.latency_requests])),
        rows=servable.retrieve(day.requests.examples, day.catalog, config.gate.batch_size).rows,
        page_scores=_page_scores(servable, day),
        seconds=time.perf_counter() - started,
    )


def run_tutorial(
    train: TrainerConfig, config: PipelineConfig, data: BenchData, day: EvalDay, work: Path, code: str
) -> Trial:
    """Trains the tutorial's model with the sizes and epochs of `train`, exports it to `work` and measures it."""
    started = time.perf_counter()
    _forget_graphs()
    pairs: list[tuple[str, str]] = []
    validation: list[tuple[str, str]] = []
    training_requests = 0
    known = day.catalog.rows
    for request in read_clicks(data.files(features.TRAIN_SPLIT, transformed=False)):
        clicked = [(normalize_query(request.query), item) for item in request.items if item in known]
        in_validation = request.bucket < int(train.validation_share * HASH_BUCKETS)
        (validation if in_validation else pairs).extend(clicked)
        training_requests += bool(clicked) and not in_validation
    train = fitted(train, training_requests)
    ids, k = day.catalog.item_ids, config.gate.ks[-1]
    trained = tutorial_two_tower.train(
        pairs, validation, ids, train.dim, train.batch_size, train.epochs, train.patience, k, train.seed
    )
    tutorial_two_tower.export(trained.model, ids, min(k, len(ids)), str(work / "servable"))
    queries = [normalize_query(query) for query in day.requests.queries]
    served = tf.saved_model.load(str(work / "servable"))
    rows = _tutorial_rows(served, queries, day, config.gate)
    return Trial(
        system=TUTORIAL,
        seed=train.seed,
        fingerprint=tutorial_fingerprint(train, data),
        code=code,
        settings={
            "learning_rate": trained.learning_rate,
            "validation recall by learning rate": {str(rate): recall for rate, recall in trained.tried.items()},
            "dim": train.dim,
            "batch_size": train.batch_size,
            "epochs": train.epochs,
        },
        history=trained.history,
        examples_per_second=steady(trained.history["pairs_per_second"]) * training_requests / len(pairs),
        latency_ms=_percentiles(_latencies(served, queries[: config.gate.latency_requests])),
        rows=rows,
        page_scores=tutorial_two_tower.pair_scores(trained.model, queries, ids, day.requests.shown),
        seconds=time.perf_counter() - started,
    )


def steady(per_epoch: Sequence[float]) -> float:
    """The median over all epochs but the first, which also traces graphs; of one epoch its own."""
    return float(np.median(per_epoch[1:] if len(per_epoch) > 1 else per_epoch))


def _tutorial_rows(
    served: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], queries: Sequence[str], day: EvalDay, gate: GateConfig
) -> IntArray:
    rows = day.catalog.rows
    answers = []
    for start in range(0, len(queries), gate.batch_size):
        _, ids = served(tf.constant(queries[start : start + gate.batch_size]))
        answers.extend([[rows[item.decode()] for item in row] for row in ids.numpy()])
    return np.array(answers, dtype=np.int64)


def _latencies(served: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], queries: Sequence[str]) -> FloatArray:
    times = []
    for query in [*queries[:_WARM_UP_CALLS], *queries]:
        start = time.perf_counter()
        served(tf.constant([query]))[1].numpy()
        times.append(time.perf_counter() - start)
    return np.array(times[min(_WARM_UP_CALLS, len(queries)) :]) * 1000.0


def _percentiles(times: FloatArray) -> tuple[float, float]:
    middle, high = np.quantile(times, [0.5, 0.95])
    return float(middle), float(high)


def _page_scores(servable: LoadedServable, day: EvalDay) -> FloatArray:
    """Score of the best head for each item of each shown page, [requests, page]; 0 where there is no item."""
    items = servable.encode_items(day.catalog.examples)
    queries = servable.encode_query(day.requests.examples)
    is_item = day.stages > 0
    page = items[np.where(is_item, day.requests.shown, 0)]
    scores = np.einsum("qhd,qpd->qhp", queries, page).max(axis=1)
    return np.where(is_item, scores, 0.0)


def _forget_graphs() -> None:
    """Frees what the training before has left, so that a long bench does not grow."""
    keras.backend.clear_session()
    gc.collect()
