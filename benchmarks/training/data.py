"""What Souk's trainer needs to step: requests in memory, item table, sizes; and the models that step on it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from numpy.typing import NDArray

from benchmarks.training.timing import Contender, stepper
from pipeline import config as pipeline_config
from schema import features, transformed
from schema.settings import InputError
from trainer import artifact
from trainer.config import TrainerConfig
from trainer.item_table import ItemTable
from trainer.optimizer import make_optimizer
from trainer.retrieval import RetrievalModel
from trainer.training_data import TrainingData, read_training_data

BATCHES = 40


@dataclass(frozen=True)
class Artifacts:
    """Folders of artifacts that a run of the pipeline left.

    Attributes:
      examples: raw examples.
      transformed: the same after Transform.
      transform: the transform graph.
    """

    examples: str
    transformed: str
    transform: str

    def files(self, split: str, raw: bool = False) -> list[str]:
        """The files of a split."""
        return sorted(tf.io.gfile.glob(os.path.join(self.examples if raw else self.transformed, f"Split-{split}", "*")))


def artifacts_of_run(folder: Path) -> Artifacts:
    """The newest artifacts in the `artifacts` folder of a pipeline.

    Raises:
      InputError: an artifact is missing.
    """
    paths = []
    for name in ("SoukExampleGen/examples", "Transform/transformed_examples", "Transform/transform_graph"):
        versions = sorted(int(path.name) for path in (folder / name).glob("*") if path.name.isdigit())
        if not versions:
            raise InputError(f"{folder} has no {name}; give the `artifacts` folder of a run that got past Transform")
        paths.append(str(folder / name / str(versions[-1])))
    return Artifacts(*paths)


def trainer_config(model: str, settings: Sequence[str] = ()) -> TrainerConfig:
    """The demo's settings for a model, with single ones replaced."""
    changed = [f"train.model={model}", *(f"train.{setting}" for setting in settings)]
    return pipeline_config.load("demo", changed).train


@dataclass(frozen=True)
class Training(TrainingData):
    """What a model is trained on, and how it steps."""

    def model(self, optimizer: keras.optimizers.Optimizer | None = None) -> RetrievalModel:
        """A fresh model; `optimizer` takes the place of the configured one."""
        keras.utils.set_random_seed(self.config.seed)
        towers = artifact.make_towers(self.config, self.sizes)
        artifact.build(towers, self.reader, self.table)
        model = RetrievalModel(towers, self.config, self.table, self.positive_counts, self.word_subwords)
        model.compile(optimizer=optimizer or make_optimizer(self.config.optimizer))
        # As the trainer does: a first step that makes the optimizer's variables is traced twice.
        model.optimizer.build(model.trainable_variables)
        return model

    def batches(self) -> tf.data.Dataset:
        """The same few batches again and again, ready in memory: steps without their input."""
        return self.requests.rebatch(self.config.batch_size, drop_remainder=True).take(BATCHES).cache()

    @property
    def pairs_per_request(self) -> float:
        """(Query, clicked item) pairs in one request, on average."""
        return float(self.positive_counts.sum()) / self.request_count

    def contender(self, name: str, optimizer: keras.optimizers.Optimizer | None = None) -> Contender:
        """A fresh model that steps on `batches`, counted in requests."""
        return Contender(name, stepper(self.model(optimizer), self.batches()), self.config.batch_size)


def read_training(artifacts: Artifacts, config: TrainerConfig) -> Training:
    """What the trainer would read for a model."""
    transform = tft.TFTransformOutput(artifacts.transform)
    files = (artifacts.files(split) for split in (features.TRAIN_SPLIT, features.CATALOG_SPLIT))
    return Training(**vars(read_training_data(config, transform, *files)))


def with_larger_catalog(training: Training, times: int, seed: int = 0) -> Training:
    """The catalog `times` over, the positives spread over all of it."""
    rng = np.random.default_rng(seed)
    table, size = training.table, training.table.size
    columns = {
        name: np.concatenate([np.tile(column[:-1], [times] + [1] * (column.ndim - 1)), column[-1:]])
        for name, column in table.columns.items()
    }
    columns[transformed.ITEM_ROW] = np.append(np.arange(1, size * times + 1, dtype=np.int32), 0).astype(np.int32)
    ids = np.char.mod("%d", np.arange(size * times)).astype("S")

    def spread(chunk: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {
            name: _moved(matrix, size, times, rng) if name in transformed.SEARCH_ITEM_ROWS else matrix
            for name, matrix in chunk.items()
        }

    return replace(
        training,
        sizes=replace(training.sizes, items=size * times + transformed.ITEM_IDS.oov_buckets),
        table=ItemTable(ids, columns),
        requests=_changed(training.requests, spread),
        positive_counts=np.append(np.tile(training.positive_counts[:-1], times), 0),
    )


def with_larger_vocabulary(training: Training, times: int, seed: int = 0) -> Training:
    """`times` as many unigrams and bigrams, each occurrence of one replaced by any of its `times` namesakes."""
    rng = np.random.default_rng(seed)
    sizes = training.sizes
    spaces = {
        **dict.fromkeys((transformed.QUERY_UNIGRAMS, transformed.HISTORY_QUERY_UNIGRAMS), sizes.unigrams),
        **dict.fromkeys((transformed.TITLE_UNIGRAMS, transformed.ATTRIBUTE_UNIGRAMS), sizes.unigrams),
        transformed.CLICKED_UNIGRAMS: sizes.unigrams,
        **dict.fromkeys((transformed.QUERY_BIGRAMS, transformed.TITLE_BIGRAMS), sizes.bigrams),
    }

    def spread(columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {
            name: _moved(matrix, spaces[name], times, rng) if name in spaces else matrix
            for name, matrix in columns.items()
        }

    columns = {name: np.asarray(column) for name, column in spread(dict(training.table.columns)).items()}
    return replace(
        training,
        sizes=replace(sizes, unigrams=sizes.unigrams * times, bigrams=sizes.bigrams * times),
        table=replace(training.table, columns=columns),
        requests=_changed(training.requests, spread),
        word_subwords=np.concatenate([training.word_subwords[:1], *[training.word_subwords[1:]] * times]),
    )


def _moved(ids: tf.Tensor, space: int, times: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Ids above 0, each moved by a random multiple of `space` below `times`."""
    plain = np.asarray(ids)
    return np.where(plain > 0, plain + space * rng.integers(0, times, plain.shape), 0).astype(np.int32)


def _changed(
    requests: tf.data.Dataset, change: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]
) -> tf.data.Dataset:
    """As many requests as `Training.batches` may want, changed."""
    chunks = [change(chunk) for chunk in requests]
    whole = {name: np.concatenate([np.asarray(chunk[name]) for chunk in chunks]) for name in chunks[0]}
    return tf.data.Dataset.from_tensor_slices(whole).batch(2048)
