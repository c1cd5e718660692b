"""The tables of several embeddings in one matrix, from which a request reads all its lists at once.

Training has a table for each id space, of which a step updates few rows. A request reads a few dozen rows in all, and
what it costs is the number of its ops: those that find, gather and sum the ids of one list do so for all lists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from trainer.layers.embedding import PaddedEmbedding

# The row of what is counted and has no vector.
_NOTHING = 0


@dataclass(frozen=True)
class IdList:
    """A padded list of ids of one table for each request.

    Attributes:
      embedding: has the table.
      parts: the list side by side, each [batch, width] int32 ids, 0 is padding, and what is added to its ids.
      space: name of the id space by which the list takes part in the lexical match; None for a list that does not.
    """

    embedding: PaddedEmbedding
    parts: tuple[tuple[tf.Tensor, int], ...]
    space: str | None = None

    @property
    def ids(self) -> tf.Tensor:
        """The whole list, [batch, width] int32."""
        parts = [tf.where(ids > 0, ids + more, 0) if more else ids for ids, more in self.parts]
        return tf.concat(parts, axis=1) if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class Sums:
    """What lists hold.

    Attributes:
      means: [batch, lists, dim]; zero for an empty list.
      weighted: [batch, lists, dim], sums weighted by the terms' weights; None without such.
    """

    means: tf.Tensor
    weighted: tf.Tensor | None


class SharedTables(tf.Module):
    """All rows of some embeddings, which from then on read theirs here.

    Args:
      embeddings: of one width; they give up their own tables.
      weights: by place among `embeddings`, what each of its ids counts in weighted sums, [size + 1]; 0 where absent.
    """

    def __init__(self, embeddings: Sequence[PaddedEmbedding], weights: Mapping[int, np.ndarray]):
        super().__init__()
        sizes = [embedding.size + 1 for embedding in embeddings]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        rows = np.zeros((starts[-1], embeddings[0].dim), np.float32)
        row_weights = np.zeros((starts[-1], 1), np.float32)
        for place, embedding in enumerate(embeddings):
            start, end = starts[place : place + 2]
            # The first is that of padding.
            rows[start + 1 : end] = embedding.table.numpy()[1:]
            row_weights[start + 1 : end, 0] = weights[place][1:] if place in weights else 0.0
        self.table = tf.Variable(rows, trainable=False, name="tables")
        self._weights = tf.Variable(row_weights, trainable=False, name="weights") if weights else None
        self.variables_read = [self.table, *([self._weights] if weights else [])]
        for place, embedding in enumerate(embeddings):
            embedding.read_from(self.table, int(starts[place]))

    def pack(self, columns: Sequence[np.ndarray], embeddings: Sequence[PaddedEmbedding]) -> np.ndarray:
        """The fields of items as rows of the table, `_NOTHING` where an item lacks one.

        Args:
          columns: [items + 1] int32 each, ids of a field.
          embeddings: of these fields.

        Returns:
          [items + 2, fields] int32 by the item's row shifted by one, 0 for padding.
        """
        pairs = zip(columns, embeddings, strict=True)
        packed = [np.where(ids > 0, ids + embedding.first_row, _NOTHING) for ids, embedding in pairs]
        return np.pad(np.stack(packed, axis=1), [[1, 0], [0, 0]]).astype(np.int32)

    def read(self, lists: Sequence[IdList], rows: Sequence[tf.Tensor] = (), items: tf.Tensor | None = None) -> Sums:
        """Sums of all lists, and after them of lists of items, each the sum of its fields.

        Args:
          lists: of ids.
          rows: lists of items, [batch, width] int32 each, as `pack` numbers them.
          items: what `pack` gave.
        """
        parts, first, of_list = [], [], []
        for number, one in enumerate(lists):
            for ids, more in one.parts:
                parts.append(ids)
                first += [one.embedding.first_row + more] * ids.shape[1]
                of_list += [number] * ids.shape[1]
        scale, counts = [1] * len(first), [1.0] * len(first)
        if rows and items is not None:
            together = tf.concat(rows, axis=1)
            fields = items.shape[1]
            numbers = [len(lists) + n for n, part in enumerate(rows) for _ in range(part.shape[1])]
            # An item counts once, whichever of its fields it has.
            parts += [together, tf.reshape(tf.gather(items, together), [-1, len(numbers) * fields])]
            of_list += numbers + [number for number in numbers for _ in range(fields)]
            first += [_NOTHING] * len(numbers) * (1 + fields)
            scale += [0] * len(numbers) + [1] * len(numbers) * fields
            counts += [1.0] * len(numbers) + [0.0] * len(numbers) * fields
        every = len(lists) + len(rows)
        ids = tf.concat(parts, axis=1)
        there = tf.where(ids > 0)
        request, column = tf.unstack(tf.cast(there, tf.int32), axis=1)
        row = tf.gather_nd(ids, there) * tf.gather(tf.constant(scale), column) + tf.gather(tf.constant(first), column)
        segment = request * every + tf.gather(tf.constant(of_list), column)
        segments = tf.shape(ids)[0] * every
        vectors = tf.gather(self.table, row)
        count = tf.raw_ops.DenseBincount(input=segment, size=segments, weights=tf.gather(tf.constant(counts), column))
        means = (
            tf.math.unsorted_segment_sum(vectors, segment, segments) * tf.math.reciprocal_no_nan(count)[:, tf.newaxis]
        )
        shape = [-1, every, self.table.shape[1]]
        weighted = None
        if self._weights is not None:
            weighted = tf.math.unsorted_segment_sum(vectors * tf.gather(self._weights, row), segment, segments)
            weighted = tf.reshape(weighted, shape)
        return Sums(tf.reshape(means, shape), weighted)
