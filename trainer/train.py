"""Training from transformed examples to a `TrainedModel`."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from absl import logging

from schema import transformed
from trainer import artifact, query_evidence, warm_start
from trainer.artifact import TrainedModel
from trainer.config import MIN_EPOCHS, TextEncoderConfig, TrainerConfig
from trainer.input import training_batches
from trainer.models.catalog_start import start_from_catalog
from trainer.optimizer import make_optimizer
from trainer.recall import EpochMetrics
from trainer.resume import Resumption, TrainingPlan, log_position, saved_position
from trainer.retrieval import RetrievalModel
from trainer.text_encoder import load_encoder, term_vectors
from trainer.training_data import read_training_data

_SEED_IN_PLACE_OF_0 = 2**30


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
    # Where the global seed is 0, a data set can't be shuffled by a seed that is a tensor, as that of a pass is.
    keras.utils.set_random_seed(config.seed or _SEED_IN_PLACE_OF_0)
    data = read_training_data(config, transform, train_files, catalog_files)
    config, sizes, table = data.config, data.sizes, data.table
    logging.info(
        "training on %d requests, %d items: %d requests a step, %d epochs at most, patience of %d",
        *(data.request_count, table.size, config.batch_size, config.epochs, config.patience),
    )
    understanding = query_evidence.learn(data.requests, table, sizes, config.query_understanding)
    logging.info("query terms that say something of a field: %s", understanding.terms())

    towers = artifact.make_towers(config, sizes)
    artifact.build(towers, data.reader, table)
    start_from_catalog(towers, table, encoded_words(transform, config.text_encoder))
    if earlier is not None:
        warm_start.start_from(towers, transform, earlier)
    model = RetrievalModel(towers, config, table, data.positive_counts, data.word_subwords)
    model.compile(optimizer=make_optimizer(config.optimizer))
    planned = plan(config, data.request_count)
    epoch_metrics = EpochMetrics(towers, table, data.validation, planned.passes * data.request_count, config.recall_k)
    with _state_dir(state_dir) as directory:
        history = _fit(model, config, data.requests, planned, epoch_metrics, log_dir, directory)
    return TrainedModel(config, sizes, towers, table, transform, _plain(history), understanding, data.validation_share)


def encoded_words(transform: tft.TFTransformOutput, config: TextEncoderConfig) -> np.ndarray | None:
    """What the configured text encoder knows of the words of the vocabulary, [words, `config.dim`]; None for none."""
    if not config.folder:
        return None
    counted = [line.split(b" ") for line in transform.vocabulary_by_name(transformed.UNIGRAMS.name)]
    terms, counts = [term.decode() for *_, term in counted], [int(count) for count, _ in counted]
    return term_vectors(load_encoder(config.folder), terms, config.dim, counts, config.cache_dir)


def plan(config: TrainerConfig, request_count: int) -> TrainingPlan:
    """A pass is an epoch, but for logs so small that most of training would be validation.

    Args:
      config: `fitted` to the log.
      request_count: training requests.
    """
    steps_per_pass = -(-request_count // config.batch_size)
    passes = -(-config.min_steps // (MIN_EPOCHS * steps_per_pass))
    min_epochs = -(-config.min_steps // (passes * steps_per_pass))
    return TrainingPlan(passes, passes * steps_per_pass, max(-(-config.epochs // passes), min_epochs), min_epochs)


def _fit(
    model: RetrievalModel,
    config: TrainerConfig,
    requests: tf.data.Dataset,
    planned: TrainingPlan,
    epoch_metrics: EpochMetrics,
    log_dir: str,
    state_dir: str,
) -> dict[str, list[float]]:
    """Trains `model`, from where `state_dir` says, gives it the weights of its best epoch and returns its history."""
    # What is restored needs its place: with no step left to do, nothing else would make the optimizer's variables.
    model.optimizer.build(model.trainable_variables)
    position = saved_position(state_dir, planned.steps)
    log_position(position, planned.steps)
    resumption = Resumption(state_dir, config.checkpoint_steps, planned, epoch_metrics, config.patience)
    passes = range(position.epoch * planned.passes, planned.epochs * planned.passes)
    model.fit(
        training_batches(requests, config, passes, position.batch),
        epochs=planned.epochs,
        steps_per_epoch=planned.steps,
        verbose=0,
        callbacks=[
            *resumption.followed,
            keras.callbacks.TensorBoard(log_dir, write_graph=False),
            keras.callbacks.LambdaCallback(on_epoch_end=_log_epoch),
            resumption,
        ],
    )
    resumption.restore_best(model.towers)
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
    """Without what TFRS adds for regularization, of which there is none."""
    added = ("regularization_loss", "total_loss")
    return {name: [float(value) for value in values] for name, values in history.items() if name not in added}
