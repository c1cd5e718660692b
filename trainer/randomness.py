"""What is drawn in training, so that a checkpoint holds how far the drawing has got."""

from collections.abc import Callable
from typing import Protocol

import tensorflow as tf
import tf_keras as keras


class Random(Protocol):
    """A source of random tensors: `tf.random`, or a `tf.random.Generator`, whose state is in a model's checkpoints."""

    uniform: Callable[..., tf.Tensor]


def dropout_layer(share: float) -> keras.layers.Dropout:
    """Dropout whose random state is in the checkpoints of the model that it is part of."""
    return keras.layers.Dropout(share, force_generator=True)
