"""A training on the small shop in a process of its own, which kills itself at a given point.

Arguments: the shop's folder, the folder of the training's state, the settings as JSON, and at which step to be killed.
"""

import os
import signal
import sys

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow_transform as tft

from trainer import train as training
from trainer.config import TrainerConfig
from trainer.recall import EpochMetrics


def kill_at_step(step: int) -> None:
    """Before the step counts as done by any callback."""
    whole = EpochMetrics.on_train_batch_end

    def on_train_batch_end(metrics, batch, logs=None):
        if int(metrics.model.optimizer.iterations) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(metrics, batch, logs)

    EpochMetrics.on_train_batch_end = on_train_batch_end


def main(folder: str, state_dir: str, config: str, step: str) -> None:
    kill_at_step(int(step))
    training.train(
        TrainerConfig.from_json(config),
        tft.TFTransformOutput(folder),
        [f"{folder}/transformed/Split-train/part.gz"],
        [f"{folder}/transformed/Split-catalog/part.gz"],
        log_dir=f"{state_dir}-log",
        state_dir=state_dir,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
