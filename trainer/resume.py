"""Training that goes on where a killed one stopped.

Keras' `BackupAndRestore` restores weights, optimizer slots and random generators, and the epoch and step. It knows
nothing of the input, of the other callbacks and of what an epoch has measured so far; that is added here.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from absl import logging

from trainer.models.towers import Towers
from trainer.recall import NDCG, EpochMetrics

# Where `BackupAndRestore` keeps its checkpoints below its folder, and how it names its variables in them.
_CHECKPOINTS = "chief"
_EPOCH, _BATCH = (f"ckpt_saved_{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("epoch", "batch"))
_BEST = "best-"


@dataclass(frozen=True)
class TrainingPlan:
    """How training goes through the requests.

    Attributes:
      passes: over the requests, an epoch.
      steps: of an epoch.
      epochs: how many at most.
      min_epochs: how many at least.
    """

    passes: int
    steps: int
    epochs: int
    min_epochs: int


@dataclass(frozen=True)
class Position:
    """The next step of a training: its epoch and its place in it, both from 0."""

    epoch: int = 0
    batch: int = 0


def saved_position(directory: str, steps_per_epoch: int) -> Position:
    """Where the training whose state is in `directory` goes on; the beginning where there is none."""
    path = tf.train.latest_checkpoint(os.path.join(directory, _CHECKPOINTS))
    if path is None:
        return Position()
    state = tf.train.load_checkpoint(path)
    epoch, batch = int(state.get_tensor(_EPOCH)), int(state.get_tensor(_BATCH))
    return Position(epoch + 1) if batch == steps_per_epoch - 1 else Position(epoch, batch + 1)


class Resumption(keras.callbacks.BackupAndRestore):
    """Saves the state of a training every few steps and at each epoch's end, and restores it when training begins.

    It must be the last of the callbacks: others reset themselves when training begins and add to an epoch's metrics.

    Args:
      directory: where the state is; the caller removes it when nothing more is to be resumed.
      checkpoint_steps: how often it is saved; 0 for at the end of each epoch alone.
      plan: of the training.
      epoch_metrics: measures each epoch.
      patience: epochs without a better NDCG before training stops.
    """

    def __init__(
        self,
        directory: str,
        checkpoint_steps: int,
        plan: TrainingPlan,
        epoch_metrics: EpochMetrics,
        patience: int,
    ):
        super().__init__(directory, save_freq=checkpoint_steps or plan.epochs * plan.steps + 1, delete_checkpoint=False)
        self.history: dict[str, list[float]] = {}
        self._plan = plan
        self._epoch_metrics = epoch_metrics
        self._early_stopping = _EarlyStopping(plan.min_epochs, directory, NDCG, mode="max", patience=patience)
        self._notes = _Notes(self)

    @property
    def followed(self) -> list[keras.callbacks.Callback]:
        """The callbacks whose state this one saves, to be put before it."""
        return [self._epoch_metrics, self._early_stopping]

    def restore_best(self, towers: Towers) -> None:
        """Gives the towers the weights of the best epoch; leaves them where none had an NDCG, for want of requests."""
        path = self._early_stopping.best_prefix()
        if tf.io.gfile.exists(path + ".index"):
            tf.train.Checkpoint(towers=towers).read(path).assert_existing_objects_matched()

    def state(self) -> dict[str, Any]:
        """What is saved besides weights and variables, as JSON has it."""
        stopping = self._early_stopping
        return {
            "history": self.history,
            "losses": self._epoch_metrics.losses,
            "wait": stopping.wait,
            "best": float(stopping.best),
            "best_epoch": stopping.best_epoch,
        }

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restores what was saved."""
        # Attached to the model, it is in the same checkpoint as the weights: the two are never of different steps.
        self.model.training_notes = self._notes
        super().on_train_begin(logs)
        found = self._notes.restored
        if found is None:
            return
        self.history = found["history"]
        self._epoch_metrics.resume(found["losses"])
        self._early_stopping.wait, self._early_stopping.best_epoch = found["wait"], found["best_epoch"]
        self._early_stopping.best = np.float64(found["best"])

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Saves, unless the epoch's end, which saves too, is next: its metrics must not be lost."""
        if batch < self._plan.steps - 1:
            super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Saves, with the epoch's metrics."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        self._epoch_metrics.losses.clear()
        # What early stopping has ended is not to be taken up again: it is saved as the end of the last epoch.
        self.on_epoch_begin(self._plan.epochs - 1 if self.model.stop_training else epoch)
        self._backup(epoch=epoch, batch=self._plan.steps - 1)
        best = self._early_stopping.best_prefix()
        for path in tf.io.gfile.glob(os.path.join(self.backup_dir, _BEST + "*")):
            if not path.startswith(best + "."):
                tf.io.gfile.remove(path)


class _EarlyStopping(keras.callbacks.EarlyStopping):
    """Early stopping after a minimum of epochs, with the towers' weights of the best epoch kept in a file.

    Keras' own `start_from_epoch` would not see the best of those epochs, and its `ModelCheckpoint` saves the optimizer
    too, which is most of the state, and which nobody reads of an epoch that is over.
    """

    def __init__(self, min_epochs: int, directory: str, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._min_epochs, self._directory = min_epochs, directory

    def best_prefix(self) -> str:
        # A file per epoch: were there one for all, a kill while it is written would leave neither the old nor the new.
        return os.path.join(self._directory, f"{_BEST}{self.best_epoch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if self.wait == 0:
            tf.train.Checkpoint(towers=self.model.towers).write(self.best_prefix())
        if epoch + 1 < self._min_epochs:
            self.model.stop_training = False


class _Notes(tf.train.experimental.PythonState):
    """Puts the state of a `Resumption` into the model's checkpoints."""

    def __init__(self, resumption: Resumption):
        self._resumption = resumption
        self.restored: dict[str, Any] | None = None

    def serialize(self) -> str:
        return json.dumps(self._resumption.state())

    def deserialize(self, string_value: bytes) -> None:
        self.restored = json.loads(string_value)


def log_position(position: Position, steps_per_epoch: int) -> None:
    """Says that a training goes on, if it does."""
    if position != Position():
        logging.info(
            "going on where an earlier run stopped: epoch %d, after %d of %d steps",
            position.epoch + 1,
            position.batch,
            steps_per_epoch,
        )
