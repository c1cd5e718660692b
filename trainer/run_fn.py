"""The TFX Trainer's entry point: `run_fn='trainer.run_fn.run_fn'`."""

import os

from schema.artifacts import split_folder

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import hashlib
import json
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from schema.features import CATALOG_SPLIT
from trainer import artifact
from trainer.config import CUSTOM_CONFIG_KEY, TrainerConfig
from trainer.train import train

# Raised when what a checkpoint of a training means changes: the state of an older one is then not taken up.
_STATE_LAYOUT = 2


def run_fn(fn_args: FnArgs) -> None:
    """Trains by the `TrainerConfig` in `custom_config` and writes the model for the index builder.

    Args:
      fn_args: what the Trainer passes: transformed train files, transform graph, where to write, and the model to start
        from if there is one.
    """
    config = TrainerConfig.from_json(fn_args.custom_config[CUSTOM_CONFIG_KEY])
    data = [*fn_args.train_files, fn_args.transform_output, fn_args.base_model or ""]
    state_dir = state_directory(fn_args.serving_model_dir, config, data)
    train_files = sorted(path for pattern in fn_args.train_files for path in tf.io.gfile.glob(pattern))
    catalog = os.path.join(os.path.dirname(os.path.dirname(fn_args.train_files[0])), split_folder(CATALOG_SPLIT), "*")
    model = train(
        config,
        tft.TFTransformOutput(fn_args.transform_output),
        train_files,
        sorted(tf.io.gfile.glob(catalog)),
        log_dir=fn_args.model_run_dir,
        state_dir=state_dir,
        earlier=artifact.load(fn_args.base_model) if fn_args.base_model else None,
    )
    artifact.save(model, fn_args.serving_model_dir)
    # All of them: what other settings or older data left there when they were killed would never be taken up.
    tf.io.gfile.rmtree(os.path.dirname(state_dir))


def state_directory(model_dir: str, config: TrainerConfig, data: Sequence[str]) -> str:
    """Where the state of a training is: found again by the next run of the same training, and by no other.

    Args:
      model_dir: `<the Trainer's folder>/model/<execution>/Format-Serving`, another for each run.
      config: how it is trained.
      data: paths of what it is trained on; an artifact's path is never used for another artifact.
    """
    trainer_dir = os.path.dirname(os.path.dirname(os.path.dirname(model_dir)))
    training = json.dumps([_STATE_LAYOUT, config.to_json(), *data]).encode()
    return os.path.join(trainer_dir, "unfinished", hashlib.blake2b(training, digest_size=16).hexdigest())
