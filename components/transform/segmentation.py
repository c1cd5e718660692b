"""Word segmentation by a learned phrase lexicon: the likeliest cut, found by dynamic programming in the graph.

The model is a unigram language model over segments. A segment is one unit or a phrase of the lexicon, with

    score(segment) = log(count(segment) / total units) - penalty * (units in segment - 1)

and a text's segmentation is the cut with the greatest sum of scores. A phrase is thus kept exactly when its
units occur together `exp(penalty)` times more often than chance. English words and Chinese characters go the
same way. Scores are integers (thousandths of a nat), so that this graph and a plain Python program agree
on every tie; of equal cuts the one whose last segment is longest wins, and so on leftwards.

MGDSPR (arXiv 2106.09297) takes its segments from Taobao's own segmenter; this lexicon is our reading.
"""

import tensorflow as tf

from components.transform.tokens import JOINER

MAX_SEGMENT_UNITS = 4
SCORE_UNIT = 1000.0
IMPOSSIBLE = -(1 << 40)


def segment_scores(counts: tf.Tensor, total_units: tf.Tensor, segment_units: int, phrase_penalty: float) -> tf.Tensor:
    """Scores of segments of one length, in thousandths of a nat.

    Args:
      counts: [...] int64, occurrences; 0 where the segment is not in the lexicon.
      total_units: scalar int64, units in the analyzed text.
      segment_units: how many units these segments have. A single unknown unit scores as if seen
        half a time, so that every text can be cut; an unknown phrase is `IMPOSSIBLE`.
      phrase_penalty: nats per join.

    Returns:
      [...] int64.
    """
    seen = tf.maximum(tf.cast(counts, tf.float64), 0.5)
    total = tf.cast(tf.maximum(total_units, 1), tf.float64)
    nats = tf.math.log(seen / total) - phrase_penalty * (segment_units - 1)
    scores = tf.cast(tf.round(nats * SCORE_UNIT), tf.int64)
    if segment_units == 1:
        return scores
    return tf.where(counts > 0, scores, tf.constant(IMPOSSIBLE, tf.int64))


def dense(units: tf.RaggedTensor, default_value: str | int) -> tf.Tensor:
    """Units, or values of units, by start: [batch, (units)] to [batch, longest + 1].

    One empty column more than the longest text has, so that a batch of empty texts still has a width.
    """
    return tf.pad(units.to_tensor(default_value), [[0, 0], [0, 1]], constant_values=default_value)


def candidate_segments(units: tf.RaggedTensor) -> tuple[list[tf.Tensor], tf.Tensor]:
    """All runs of 1 to `MAX_SEGMENT_UNITS` units, by their start.

    Args:
      units: [batch, (units)] string.

    Returns:
      A list by length - 1 of [batch, max units + 1] string, where [b, i] is the run that starts at unit i
      ("" where it would pass the end), and the lengths of the texts, [batch] int64.
    """
    lengths = units.row_lengths()
    joined = dense(units, default_value="")
    width = tf.shape(joined, out_type=tf.int64)[1]
    starts = tf.range(width)
    single, runs = joined, [joined]
    for length in range(2, MAX_SEGMENT_UNITS + 1):
        shifted = tf.pad(single[:, length - 1 :], [[0, 0], [0, tf.minimum(width, length - 1)]])
        joined = tf.strings.join([joined, shifted], separator=JOINER)
        fits = starts[tf.newaxis, :] + length <= lengths[:, tf.newaxis]
        runs.append(tf.where(fits, joined, ""))
    return runs, lengths


def best_cut(scores: list[tf.Tensor], lengths: tf.Tensor) -> tf.Tensor:
    """The cut with the greatest total score.

    Args:
      scores: by length - 1, [batch, width] int64 scores of the segments that start at each unit; segments
        that pass the end of a text must be `IMPOSSIBLE`.
      lengths: [batch] int64, units of each text.

    Returns:
      [batch, width] int64: the length of the segment that starts at each unit, 0 where none starts.
    """
    by_length = tf.stack(scores, axis=0)
    max_segment, batch, width = tf.unstack(tf.shape(by_length))
    # best[:, b, j] is the top score of the first j units of text b, kept for the last `max_segment` j only:
    # window[k] belongs to j - 1 - k.
    impossible = tf.fill([max_segment - 1, batch], tf.constant(IMPOSSIBLE, tf.int64))
    window = tf.concat([tf.zeros([1, batch], tf.int64), impossible], axis=0)
    last_lengths = tf.TensorArray(tf.int64, size=width, element_shape=[None])

    def extend(end: tf.Tensor, window: tf.Tensor, last: tf.TensorArray) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        # A segment of k + 1 units that ends here started at end - k.
        starts = tf.maximum(end - tf.range(max_segment), 0)
        # Not `gather_nd`, which refuses a batch of no texts.
        ending_here = tf.gather(tf.transpose(by_length, [0, 2, 1]), starts, batch_dims=1)
        totals = tf.maximum(window + ending_here, tf.constant(IMPOSSIBLE, tf.int64))
        # Reversed, so that argmax (the first of equals) takes the longest last segment.
        choice = tf.cast(max_segment, tf.int64) - tf.argmax(tf.reverse(totals, [0]), axis=0)
        best = tf.reduce_max(totals, axis=0)
        return end + 1, tf.concat([best[tf.newaxis], window[:-1]], axis=0), last.write(end, choice)

    _, _, last_lengths = tf.while_loop(lambda end, *_: end < width, extend, [0, window, last_lengths])
    # [batch, width + 1]: the length of the last segment of the first j units.
    back = tf.pad(tf.transpose(tf.reshape(last_lengths.stack(), [width, batch])), [[0, 0], [1, 0]])

    def retrace(end: tf.Tensor, cut: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        length = tf.gather(back, end, batch_dims=1)
        # Position -1 (a text already done) matches no column.
        starts_here = tf.one_hot(tf.where(end > 0, end - length, -1), tf.cast(width, tf.int32), dtype=tf.int64)
        return tf.maximum(end - length, 0), cut + starts_here * length[:, tf.newaxis]

    _, cut = tf.while_loop(
        lambda end, _: tf.reduce_any(end > 0),
        retrace,
        [lengths, tf.zeros([batch, width], tf.int64)],
        shape_invariants=[tf.TensorShape([None]), tf.TensorShape([None, None])],
    )
    return cut


def pick_segments(values: list[tf.Tensor], cut: tf.Tensor) -> tf.RaggedTensor:
    """The chosen segments' values, left to right.

    Args:
      values: by length - 1, [batch, width] values of the candidate segments.
      cut: [batch, width] int64 from `best_cut`.

    Returns:
      [batch, (segments)] of the values' type.
    """
    chosen = tf.gather(tf.stack(values, axis=2), tf.maximum(cut - 1, 0), batch_dims=2)
    return tf.ragged.boolean_mask(chosen, cut > 0)
