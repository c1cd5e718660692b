"""Optimizers whose step costs what the batch touches, not what the vocabulary holds."""

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

import tensorflow as tf
import tf_keras as keras

from trainer.config import OptimizerConfig

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices

# A matrix of fewer rows is moved whole: that is one op in place of twenty small ones.
SMALL: Final = 2048
_LARGEST_UNIT: Final = 1e4


def make_optimizer(config: OptimizerConfig) -> keras.optimizers.Optimizer:
    """The configured optimizer, with gradients clipped by their global norm."""
    kinds = {"adagrad": RowAdagrad, "adam": RowAdam}
    return kinds[config.name](learning_rate=config.learning_rate, global_clipnorm=config.clip_norm, jit_compile=False)


def is_moved_by_rows(variable: tf.Variable) -> bool:
    """Whether the variable is a large embedding matrix (`PaddedEmbedding`), which never has a dense gradient."""
    return getattr(variable, "read_by_rows", False) and variable.shape[0] >= SMALL


def sum_by_row(gradient: Gradient) -> Gradient:
    """The gradient of an embedding matrix with each row once, dense for a small one; a dense gradient as it is."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    shape = None if gradient.dense_shape is None else tf.get_static_value(gradient.dense_shape)
    if shape is not None and shape[0] < SMALL:
        return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, int(shape[0]))
    rows, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


class _SumsBeforeClipping:
    """Sums the gradients that one row has from several places before their norm is taken, not after.

    Keras does it the other way round: it moves more memory, and the norm is not that of the gradient.
    """

    def _clip_gradients(self, grads: Sequence[Gradient]) -> list[Gradient]:
        return super()._clip_gradients([sum_by_row(gradient) for gradient in grads])  # type: ignore[misc]

    def _deduplicate_sparse_grad(self, grads: Sequence[Gradient]) -> Sequence[Gradient]:
        return grads


class RowAdagrad(_SumsBeforeClipping, keras.optimizers.Adagrad):
    """Adagrad, which by itself touches only the rows that have a gradient."""


class RowAdam(_SumsBeforeClipping, keras.optimizers.Adam):
    """Adam (arXiv 1412.6980) that touches only the rows of an embedding matrix that have a gradient.

    Keras' Adam decays both moments of every row and moves every row at every step, which is most of a step where
    matrices are large. Here dense weights and small matrices learn by Adam. A row of a large matrix keeps no first
    moment: its gradient counts at once in full, where Adam would spread it over the ten steps or so that follow, most
    of which do not touch the row. The second moment is Adam's, decayed at every step.
    (TensorFlow Addons' LazyAdam keeps the first moment; a rare row then moves a tenth of the way that Adam moves it.)

    The second moment of rows is kept in units that grow as it decays, so that a step leaves alone the rows that it does
    not touch, and adds to the others as Adagrad does, for which TensorFlow has one op: with `u = v / beta_2^t` and
    `h = g sqrt(1 - beta_2) / beta_2^(t/2)`, Adam's `v' = beta_2 v + (1 - beta_2) g^2` is `u' = u + h^2`.
    """

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Makes the moments."""
        if getattr(self, "_built", False):
            return
        # Not that of Keras' Adam, which makes a first moment of matrices that are to have none.
        super(keras.optimizers.Adam, self).build(var_list)
        self._momentums, self._velocities = [], []
        for variable in var_list:
            shape = [0] if is_moved_by_rows(variable) else variable.shape
            self._momentums.append(self.add_variable_from_reference(variable, "m", shape=shape))
            self._velocities.append(self.add_variable_from_reference(variable, "v"))
        self._built = True

    def update_step(self, gradient: Gradient, variable: tf.Variable) -> None:
        """Moves one variable."""
        index = self._index_dict[self._var_key(variable)]
        velocity = self._velocities[index]
        rate = tf.cast(self.learning_rate, variable.dtype)
        step = tf.cast(self.iterations + 1, variable.dtype)
        if isinstance(gradient, tf.IndexedSlices):
            self._move_rows(gradient, variable, velocity, rate * tf.sqrt(1.0 - tf.pow(self.beta_2, step)))
            return
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=velocity.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def _move_rows(
        self, gradient: tf.IndexedSlices, variable: tf.Variable, velocity: tf.Variable, rate: tf.Tensor
    ) -> None:
        # After so many steps the unit has grown to `_LARGEST_UNIT` and starts at 1 again.
        period = int(math.log(_LARGEST_UNIT) / -math.log(self.beta_2))
        age = tf.cast((self.iterations + 1) % period, variable.dtype)
        tf.cond(
            tf.equal(age, 0.0),
            # In place, where an assignment would read the whole matrix.
            lambda: tf.raw_ops.ResourceScatterMul(
                resource=velocity.handle, indices=tf.range(velocity.shape[0]), updates=self.beta_2**period
            ),
            tf.no_op,
        )
        root_of_unit = tf.pow(self.beta_2, -age / 2.0)
        tf.raw_ops.ResourceSparseApplyAdagradV2(
            var=variable.handle,
            accum=velocity.handle,
            lr=rate / math.sqrt(1.0 - self.beta_2),
            epsilon=self.epsilon * root_of_unit,
            grad=gradient.values * (math.sqrt(1.0 - self.beta_2) * root_of_unit),
            indices=gradient.indices,
        )
