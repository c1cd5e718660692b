"""The TFX Trainer's entry point: `run_fn='trainer.run_fn.run_fn'`."""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from schema.features import CATALOG_SPLIT
from trainer import artifact
from trainer.config import CUSTOM_CONFIG_KEY, TrainerConfig
from trainer.train import train


def run_fn(fn_args: FnArgs) -> None:
    """Trains by the `TrainerConfig` in `custom_config` and writes the model for the index builder.

    Args:
      fn_args: what the Trainer passes: transformed train files, transform graph, where to write.
    """
    config = TrainerConfig.from_json(fn_args.custom_config[CUSTOM_CONFIG_KEY])
    train_files = sorted(path for pattern in fn_args.train_files for path in tf.io.gfile.glob(pattern))
    catalog = os.path.join(os.path.dirname(os.path.dirname(fn_args.train_files[0])), f"Split-{CATALOG_SPLIT}", "*")
    model = train(
        config,
        tft.TFTransformOutput(fn_args.transform_output),
        train_files,
        sorted(tf.io.gfile.glob(catalog)),
        log_dir=fn_args.model_run_dir,
    )
    artifact.save(model, fn_args.serving_model_dir)
