"""Reads what requests led to, and which of them training kept out."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from schema import features
from schema.features import Stage
from trainer.input import in_validation

_CHUNK = 2048
_AT_ONCE = 2


class Chunk(NamedTuple):
    """Some requests of a log.

    Attributes:
      examples: [requests] string, as they are on the disk.
      queries: [requests] string, empty for none.
      reached: [requests, (items)] string, ids of items that were clicked or better.
      in_validation: [requests] bool, whether training kept the request out.
    """

    examples: tf.Tensor
    queries: tf.Tensor
    reached: tf.RaggedTensor
    in_validation: tf.Tensor


def read_chunks(pattern: str, validation_share: float, seed: int | None = None) -> Iterator[Chunk]:
    """All requests of raw search examples.

    Args:
      pattern: glob of gzip TFRecords.
      validation_share: of the requests that the trainer kept out.
      seed: of the order of the files; None for that of their names.
    """
    files = sorted(tf.io.gfile.glob(pattern))
    if seed is not None:
        files = [files[place] for place in np.random.default_rng(seed).permutation(len(files))]
    spec = {
        **{name: tf.io.RaggedFeature(tf.string) for name in (features.REQUEST_ID, features.QUERY, features.ITEMS)},
        features.STAGES: tf.io.RaggedFeature(tf.int64),
    }

    def read(examples: tf.Tensor) -> Chunk:
        parsed = tf.io.parse_example(examples, spec)
        ids, queries = (tf.strings.reduce_join(parsed[name], axis=1) for name in (features.REQUEST_ID, features.QUERY))
        reached = tf.ragged.boolean_mask(parsed[features.ITEMS], parsed[features.STAGES] >= int(Stage.CLICKED))
        return Chunk(examples, queries, reached, in_validation(ids, validation_share) & (ids != ""))

    # Chunks are parsed while the next one is decompressed; they come in the order of the files all the same.
    yield from (
        tf.data.TFRecordDataset(files, compression_type="GZIP")
        .batch(_CHUNK)
        .map(read, num_parallel_calls=_AT_ONCE)
        .prefetch(1)
    )
