"""Settings that go by the size of the log."""

from typing import Final

from trainer.config import MIN_EPOCHS, TrainerConfig

_BATCH_SIZES: Final = (512, 64)
_STEPS_PER_PASS: Final = 50
_EPOCHS: Final = 10
_PATIENCE: Final = 2
_STEPS_OF_PATIENCE: Final = 100


def fitted(config: TrainerConfig, requests: int) -> TrainerConfig:
    """The settings with those that go by the log chosen for one of this many training requests."""
    largest, smallest = _BATCH_SIZES
    size = config.batch_size or largest
    while not config.batch_size and size > smallest and requests < _STEPS_PER_PASS * size:
        size //= 2
    steps = -(-max(1, requests) // size)
    # A small log's epoch is several passes (`trainer.resume.TrainingPlan`).
    steps_per_epoch = max(steps, config.min_steps // MIN_EPOCHS)
    return config.model_copy(
        update={
            "batch_size": size,
            "epochs": config.epochs or max(_EPOCHS, -(-3 * config.min_steps // steps)),
            "patience": config.patience or max(_PATIENCE, -(-_STEPS_OF_PATIENCE // steps_per_epoch)),
        }
    )
