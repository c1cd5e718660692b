"""A recurrent reading of a sequence of behavior."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from trainer.randomness import Dropout


class ResidualLstm(keras.layers.Layer):
    """Stacked LSTM layers with residual connections (MGDSPR, arXiv 2106.09297: two layers, dropout 0.2).

    Args:
      dim: width of inputs, states and outputs.
      layers: how many are stacked.
      dropout: share of each layer's inputs that is dropped in training.
    """

    def __init__(self, dim: int, layers: int = 2, dropout: float = 0.2, **kwargs: Any):
        super().__init__(**kwargs)
        self.dim, self.layers, self.dropout = dim, layers, dropout
        self._drop = Dropout(dropout)
        self._layers = [keras.layers.LSTM(dim, return_sequences=True) for _ in range(layers)]

    def call(self, newest_first: tf.Tensor, present: tf.Tensor, training: bool = False) -> tf.Tensor:
        """States after each step, read from the oldest to the newest.

        Args:
          newest_first: [batch, steps, dim], with padding after the oldest step.
          present: [batch, steps] bool.
          training: whether dropout is on.

        Returns:
          [batch, steps, dim], newest first; meaningless where not present.
        """
        lengths = tf.reduce_sum(tf.cast(present, tf.int32), axis=1)
        x = tf.reverse_sequence(newest_first, lengths, seq_axis=1)
        # By step: [steps, batch, dim].
        x = tf.transpose(x, [1, 0, 2])
        for lstm in self._layers:
            if not lstm.built:
                lstm.build((None, None, self.dim))
            x += _states(lstm.cell, self._drop(x, training=training))
        return tf.reverse_sequence(tf.transpose(x, [1, 0, 2]), lengths, seq_axis=1)

    def get_config(self) -> dict[str, Any]:
        """Settings to make the layer again."""
        return {**super().get_config(), "dim": self.dim, "layers": self.layers, "dropout": self.dropout}


def _states(cell: keras.layers.LSTMCell, inputs: tf.Tensor) -> tf.Tensor:
    """States after each step, [steps, batch, dim] to the same: Keras' LSTM, as one op in place of a loop of many."""
    _, batch, dim = tf.unstack(tf.shape(inputs))
    start, no_peephole = tf.zeros([batch, dim]), tf.zeros([dim])
    return tf.raw_ops.BlockLSTM(
        seq_len_max=tf.shape(inputs, tf.int64)[0],
        x=inputs,
        cs_prev=start,
        h_prev=start,
        w=_in_the_order_of_the_op(tf.concat([cell.kernel, cell.recurrent_kernel], axis=0)),
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=_in_the_order_of_the_op(cell.bias),
        forget_bias=0.0,
        cell_clip=0.0,
        use_peephole=False,
    ).h


def _in_the_order_of_the_op(weights: tf.Tensor) -> tf.Tensor:
    into, forget, candidate, out = tf.split(weights, 4, axis=-1)
    return tf.concat([into, candidate, forget, out], axis=-1)
