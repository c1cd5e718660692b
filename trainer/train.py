"""Training from transformed examples to a `TrainedModel`."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from absl import logging

from schema import features, transformed
from schema.settings import InputError
from schema.transformed import Vocabulary
from trainer import artifact, query_evidence, warm_start
from trainer.artifact import TrainedModel
from trainer.config import TrainerConfig
from trainer.input import SearchReader, positive_counts, read_requests, training_batches
from trainer.item_table import read_item_table
from trainer.models import InputSizes
from trainer.models.towers import start_from_catalogue
from trainer.optimizer import make_optimizer
from trainer.recall import EpochMetrics
from trainer.resume import Resumption, log_position, saved_position
from trainer.retrieval import RetrievalModel


def input_sizes(transform: tft.TFTransformOutput) -> InputSizes:
    """Sizes of the id spaces of a transform graph."""

    def size(vocabulary: Vocabulary) -> int:
        return transform.vocabulary_size_by_name(vocabulary.name) + vocabulary.oov_buckets

    spec = transform.transformed_feature_spec()
    profile = sorted(name for name in spec if name.startswith(features.PROFILE_PREFIX))
    return InputSizes(
        unigrams=size(transformed.UNIGRAMS),
        bigrams=size(transformed.BIGRAMS),
        phrases=size(transformed.PHRASES),
        items=size(transformed.ITEM_IDS),
        brand=size(transformed.BRANDS),
        leaf_category=size(transformed.LEAF_CATEGORIES),
        top_category=size(transformed.TOP_CATEGORIES),
        shop=size(transformed.SHOPS),
        profile={name: size(transformed.profile_vocabulary(name)) for name in profile},
    )


def train(
    config: TrainerConfig,
    transform: tft.TFTransformOutput,
    train_files: Sequence[str],
    catalog_files: Sequence[str],
    log_dir: str,
    state_dir: str | None = None,
    earlier: TrainedModel | None = None,
) -> TrainedModel:
    """Trains a model and returns it with the weights of its best epoch.

    Args:
      config: the model and how to train it.
      transform: graph and vocabularies that made the examples.
      train_files: transformed examples of the train split.
      catalog_files: transformed examples of the catalog split.
      log_dir: where TensorBoard logs go.
      state_dir: where the training's state is kept, and found by the next training of the same settings and data if
        this one is killed; the caller removes it once the model is saved. None: a killed training is lost.
      earlier: a model of any type, from whose weights training starts as far as the two have them in common.

    Raises:
      InputError: where no training request led to a click or an order.
    """
    keras.utils.set_random_seed(config.seed)
    sizes = input_sizes(transform)
    reader = SearchReader(config, tuple(sizes.profile))
    table = read_item_table(catalog_files, transform.vocabulary_by_name(transformed.ITEM_IDS.name), config.title_units)
    requests = read_requests(reader, train_files, validation=False)
    validation = read_requests(reader, train_files, validation=True)
    counts = positive_counts(requests, table.size)
    request_count = sum(int(tf.shape(batch[features.ITEMS])[0]) for batch in requests)
    if request_count == 0:
        raise InputError(
            "no request of the train split led to a click, a cart or an order, so there is nothing to learn from. "
            "Check the event types of the log, and that `ingest.eval_start` leaves days before it"
        )
    logging.info("training on %d requests, %d items", request_count, table.size)
    understanding = query_evidence.learn(requests, table, sizes, config.query_understanding)
    logging.info("query terms that say something of a field: %s", understanding.terms())

    towers = artifact.make_towers(config, sizes)
    artifact.build(towers, reader, table)
    start_from_catalogue(towers, table)
    if earlier is not None:
        warm_start.start_from(towers, transform, earlier)
    model = RetrievalModel(towers, config, table, counts)
    model.compile(optimizer=make_optimizer(config.optimizer))
    passes = passes_per_epoch(config, request_count)
    epoch_metrics = EpochMetrics(towers, table, validation, passes * request_count, config.recall_k)
    with _state_dir(state_dir) as directory:
        history = _fit(model, config, requests, request_count, epoch_metrics, log_dir, directory)
    return TrainedModel(config, sizes, towers, table, transform, _plain(history), understanding)


def passes_per_epoch(config: TrainerConfig, request_count: int) -> int:
    """Passes over the training requests that make an epoch of at least `min_epoch_steps`."""
    return -(-config.min_epoch_steps // -(-request_count // config.batch_size))


def _fit(
    model: RetrievalModel,
    config: TrainerConfig,
    requests: tf.data.Dataset,
    request_count: int,
    epoch_metrics: EpochMetrics,
    log_dir: str,
    state_dir: str,
) -> dict[str, list[float]]:
    """Trains `model`, from where `state_dir` says, gives it the weights of its best epoch and returns its history."""
    passes = passes_per_epoch(config, request_count)
    steps = passes * -(-request_count // config.batch_size)
    # What is restored needs its place: with no step left to do, nothing else would make the optimiser's variables.
    model.optimizer.build(model.trainable_variables)
    position = saved_position(state_dir, steps)
    log_position(position, steps)
    resumption = Resumption(
        state_dir, config.checkpoint_steps, config.epochs, steps, epoch_metrics, patience=config.patience
    )
    model.fit(
        training_batches(requests, config, passes, position.epoch, position.batch),
        epochs=config.epochs,
        steps_per_epoch=steps,
        verbose=0,
        callbacks=[
            *resumption.followed,
            keras.callbacks.TensorBoard(log_dir, write_graph=False),
            keras.callbacks.LambdaCallback(on_epoch_end=_log_epoch),
            resumption,
        ],
    )
    # Too small a log leaves no validation requests, hence no best epoch; the last one is kept.
    if resumption.best_weights is not None:
        model.load_weights(resumption.best_weights)
    return resumption.history


@contextmanager
def _state_dir(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="souk-training-") as directory:
        yield directory


def _log_epoch(epoch: int, logs: dict[str, float]) -> None:
    shown = ", ".join(f"{name} {values[0]:.4g}" for name, values in _plain({n: [v] for n, v in logs.items()}).items())
    logging.info("epoch %d: %s", epoch + 1, shown)


def _plain(history: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Without what TFRS adds for regularisation, of which there is none."""
    added = ("regularization_loss", "total_loss")
    return {name: [float(value) for value in values] for name, values in history.items() if name not in added}
