"""Ragged tensors in few ops: no checks, and row splits alone. A request runs all of them, each for a few values."""

import tensorflow as tf


def of_rows(values: tf.Tensor, rows: tf.Tensor, count: tf.Tensor) -> tf.RaggedTensor:
    """Values by the row that each is in.

    Args:
      values: [values].
      rows: [values] int64, ascending.
      count: how many rows there are, int64.
    """
    return tf.RaggedTensor.from_row_splits(values, splits_of(rows, count), validate=False)


def splits_of(rows: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Row splits [count + 1] of values that are in these rows, [values] int64 ascending."""
    # `tf.math.bincount` takes eight ops more, to find a size that is known here.
    lengths = tf.raw_ops.DenseBincount(input=rows, size=count, weights=tf.constant([], tf.int64))
    return tf.pad(tf.cumsum(lengths), [[1, 0]])


def rows_of(ragged: tf.RaggedTensor) -> tf.Tensor:
    """Which row each value is in, [values] int64."""
    places = tf.range(tf.size(ragged.values, tf.int64))
    ends = ragged.row_splits[1:]
    return tf.raw_ops.UpperBound(
        sorted_inputs=tf.expand_dims(ends, 0), values=tf.expand_dims(places, 0), out_type=tf.int64
    )[0]


def first_of_rows(ragged: tf.RaggedTensor, most: int) -> tf.RaggedTensor:
    """The first values of each row, at most so many."""
    starts, ends = ragged.row_splits[:-1], ragged.row_splits[1:]
    places = tf.ragged.range(starts, tf.minimum(ends, starts + most))
    return places.with_values(tf.gather(ragged.values, places.values))


def kept(ragged: tf.RaggedTensor, mask: tf.Tensor) -> tf.RaggedTensor:
    """The values for which `mask` [values] holds."""
    before = tf.pad(tf.cumsum(tf.cast(mask, tf.int64)), [[1, 0]])
    values = tf.gather(ragged.values, tf.squeeze(tf.where(mask), 1))
    return tf.RaggedTensor.from_row_splits(values, tf.gather(before, ragged.row_splits), validate=False)


def split_at_spaces(texts: tf.Tensor) -> tf.RaggedTensor:
    """Words of texts [batch] string, parted by ASCII white space."""
    indices, words, shape = tf.raw_ops.StringSplitV2(input=texts, sep="")
    return of_rows(words, indices[:, 0], shape[0])
