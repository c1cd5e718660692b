"""What is drawn in training, so that a checkpoint holds how far the drawing has got."""

import random
from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf
import tf_keras as keras


class Random(Protocol):
    """A source of random tensors: `tf.random`, or a `tf.random.Generator`, whose state is in a model's checkpoints."""

    uniform: Callable[..., tf.Tensor]


class Dropout(keras.layers.Layer):
    """Dropout whose random state is in the checkpoints of the model that it is part of; that of Keras' own is not.

    Args:
      share: of the inputs that are dropped in training; the others are scaled up to the same sum.
    """

    def __init__(self, share: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.share = share
        # Python's generator, which `keras.utils.set_random_seed` seeds, as Keras seeds its own layers.
        self._random = tf.random.Generator.from_seed(random.randrange(2**31)) if share else None

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The inputs, some of them 0 in training; keeps the shape."""
        if not training or self._random is None:
            return inputs
        seed = self._random.make_seeds()[:, 0]
        return tf.nn.experimental.stateless_dropout(inputs, self.share, seed, rng_alg="philox")

    def get_config(self) -> dict[str, Any]:
        """Settings to make the layer again."""
        return {**super().get_config(), "share": self.share}
