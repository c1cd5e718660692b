"""The one data set of a bench: transformed examples to train on, the evaluation day to measure on."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.example_gen.fingerprint import fingerprint
from components.recall_gate.config import GateConfig
from evaluation.eval_set import EvalCatalog, EvalRequests, normalize_query, read_catalog, read_requests
from evaluation.metrics import IntArray
from evaluation.slices import Slice, make_slices
from evaluation.training_counts import TrainingCounts, read_training
from pipeline import local_runner
from pipeline.bench.ambiguity import ambiguous_queries, clicks_by_category
from pipeline.bench.oracles import Oracles
from pipeline.bench.page_order import page_stages
from pipeline.config import PipelineConfig
from pipeline.pipeline import create_data_pipeline
from pipeline.runs import metadata
from schema import features
from schema.artifacts import split_folder
from schema.features import Stage
from schema.settings import InputError

_SLICE_GROUPS = ("query_frequency", "history", "items")
_READ_BATCH = 4096
HASH_BUCKETS = 10_000


@dataclass(frozen=True)
class BenchData:
    """Where the data lies.

    Attributes:
      examples_dir: Examples artifact, raw.
      transformed_dir: the same after Transform.
      transform_dir: the transform graph.
      fingerprint: changes with the logs and with any setting that shapes what is trained or measured on.
    """

    examples_dir: str
    transformed_dir: str
    transform_dir: str
    fingerprint: str

    def files(self, split: str, transformed: bool = True) -> list[str]:
        """The files of a split."""
        folder = self.transformed_dir if transformed else self.examples_dir
        return sorted(tf.io.gfile.glob(os.path.join(folder, split_folder(split), "*")))


@dataclass(frozen=True)
class EvalDay:
    """What every system is measured on.

    Attributes:
      catalog: the items; requests: the sample of the evaluation day; training: counts of the train split.
      stages: [requests, page] how far each shown item got, 0 for none.
      slices: groups of requests, among them `meaning=ambiguous`.
      oracles: the truth about the requests; None unless a simulation made them.
      no_oracles: why a simulated shop has none, "" for no reason.
    """

    catalog: EvalCatalog
    requests: EvalRequests
    training: TrainingCounts
    stages: IntArray
    slices: tuple[Slice, ...]
    oracles: Oracles | None = None
    no_oracles: str = ""


def prepare(config: PipelineConfig) -> BenchData:
    """Runs the pipeline up to Transform, unchanged steps from cache; raises what `local_runner.run` does."""
    run = local_runner.run(config, create=create_data_pipeline)
    gate = config.gate
    shaping = (
        fingerprint(config.ingest),
        config.transform.to_json(),
        f"{gate.max_eval_requests} {gate.seed} {gate.ks[-1]}",
    )
    digest = hashlib.blake2b("\n".join(shaping).encode(), digest_size=16).hexdigest()
    return BenchData(
        examples_dir=_uri(run, "SoukExampleGen", "examples"),
        transformed_dir=_uri(run, "Transform", "transformed_examples"),
        transform_dir=_uri(run, "Transform", "transform_graph"),
        fingerprint=digest,
    )


def _uri(run: metadata.Run, step: str, key: str) -> str:
    artifact = run.output(step, key)
    if artifact is None:
        raise LookupError(f"the run ended well, but ML Metadata has no {key} of {step}")
    return artifact.uri


def shop_file(catalog_file: Path) -> Path | None:
    """What describes the simulated shop that a catalog is of; None of a catalog that is not simulated."""
    beside = catalog_file.parent / "shop.json"
    return beside if catalog_file.is_file() and beside.is_file() else None


def read_eval_day(data: BenchData, gate: GateConfig, catalog_file: Path) -> EvalDay:
    """The evaluation day with its slices.

    Args:
      data: where it lies.
      gate: how it is sampled.
      catalog_file: what the catalog was read from; with a `shop.json` beside it the shop is simulated.

    Raises:
      InputError: no request of it led to a click, a cart or an order.
    """
    examples_dir = data.examples_dir
    catalog = read_catalog(examples_dir)
    requests = read_requests(examples_dir, catalog, gate.max_eval_requests, gate.seed, gate.gains)
    if not len(requests):
        raise InputError(
            f"none of the {requests.read:,} requests of the evaluation days led to a click, a cart or an order, so "
            "there is nothing to measure on; take more days with `ingest.eval_days`"
        )
    training = read_training(examples_dir, catalog)
    slices = [piece for piece in make_slices(requests, catalog, training, categories=0) if piece.group in _SLICE_GROUPS]
    clicks = read_clicks(data.files(features.TRAIN_SPLIT, transformed=False))
    ambiguous = ambiguous_queries(clicks_by_category(_clicked_categories(clicks, catalog)))
    is_ambiguous = np.array([normalize_query(query) in ambiguous for query in requests.queries])
    if is_ambiguous.any():
        slices.append(Slice("meaning", "ambiguous", is_ambiguous))
    oracles, no_oracles = None, ""
    if (shop := shop_file(catalog_file)) is not None:
        try:
            oracles = Oracles.read(shop, catalog, requests)
        except InputError as error:
            no_oracles = str(error)
    stages = page_stages(requests, len(catalog))
    return EvalDay(catalog, requests, training, stages, tuple(slices), oracles, no_oracles)


@dataclass(frozen=True)
class Clicks:
    """What came of one training request.

    Attributes:
      bucket: hash of the example, below HASH_BUCKETS; tells validation requests from others.
      query: as typed; "" if it has none.
      items: ids of what was clicked, carted or ordered.
    """

    bucket: int
    query: str
    items: tuple[str, ...]


def read_clicks(files: list[str]) -> Iterator[Clicks]:
    """Every request of raw search examples."""
    names = {features.QUERY: tf.string, features.ITEMS: tf.string, features.STAGES: tf.int64}
    spec = {name: tf.io.RaggedFeature(dtype) for name, dtype in names.items()}
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_READ_BATCH):
        parsed = tf.io.parse_example(batch, spec)
        reached = parsed[features.STAGES] >= int(Stage.CLICKED)
        items = tf.ragged.boolean_mask(parsed[features.ITEMS], reached).to_list()
        buckets = tf.strings.to_hash_bucket_fast(batch, HASH_BUCKETS).numpy().tolist()
        for bucket, query, chosen in zip(buckets, parsed[features.QUERY].to_list(), items, strict=True):
            yield Clicks(bucket, _text(query[0]) if query else "", tuple(map(_text, chosen)))


def _clicked_categories(clicks: Iterator[Clicks], catalog: EvalCatalog) -> Iterator[tuple[str, str]]:
    for request in clicks:
        for item in request.items:
            if (row := catalog.rows.get(item)) is not None:
                leaf = features.CATEGORY_SEPARATOR.join(catalog.category_paths[row])
                yield normalize_query(request.query), leaf


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")
