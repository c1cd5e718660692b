"""Reads tf.Examples of an Examples artifact as columns: all values of a feature flat, and where each row's begin."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evaluation.metrics import IntArray
from schema import features
from schema.artifacts import split_folder
from schema.settings import InputError

StrPath = str | os.PathLike[str]
READ_BATCH = 2048


@dataclass(frozen=True)
class Column:
    """One feature of a batch: all values flat, and where each row's begin."""

    values: NDArray[Any]
    splits: IntArray

    def lengths(self) -> IntArray:
        """Values of each row, [rows]."""
        return np.diff(self.splits)

    def row_ids(self) -> IntArray:
        """The row of each value, [values]."""
        return np.repeat(np.arange(len(self.splits) - 1), self.lengths())

    def rows(self) -> list[NDArray[Any]]:
        """The values of each row."""
        return np.split(self.values, self.splits[1:-1]) if len(self.splits) > 1 else []


def first_texts(column: Column) -> list[str]:
    """The first value of each row as text, "" where a row has none."""
    lengths = column.lengths()
    return [
        text(column.values[start]) if length else "" for start, length in zip(column.splits[:-1], lengths, strict=True)
    ]


def text(value: bytes) -> str:
    """The text of a bytes value; what is not UTF-8 is replaced."""
    return value.decode("utf-8", errors="replace")


def read_columns(
    examples_dir: StrPath, split: str, names: tuple[str, ...]
) -> Iterator[tuple[list[bytes], dict[str, Column]]]:
    """The serialized examples of a split batch by batch, each with the columns of the features `names`."""
    for serialized in read_batches(examples_dir, split):
        yield serialized, parse_columns(serialized, names)


def read_batches(examples_dir: StrPath, split: str) -> Iterator[list[bytes]]:
    """The serialized examples of a split, READ_BATCH at a time.

    Raises:
      InputError: the artifact has no such split.
    """
    folder = os.path.join(os.fspath(examples_dir), split_folder(split))
    if not tf.io.gfile.isdir(folder):
        raise InputError(
            f"{examples_dir} has no folder `Split-{split}`, so it is not an Examples artifact of Souk. "
            "Give the folder that `souk ingest --out` or the pipeline's SoukExampleGen wrote."
        )
    files = sorted(tf.io.gfile.glob(os.path.join(folder, "*.tfrecord*")))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(READ_BATCH)
    for batch in dataset.as_numpy_iterator() if files else ():
        yield batch.tolist()


def parse_columns(serialized: list[bytes], names: tuple[str, ...]) -> dict[str, Column]:
    """The features `names` of serialized examples."""
    if not names:
        return {}
    spec = {name: tf.io.RaggedFeature(_dtype(name), row_splits_dtype=tf.int64) for name in names}
    parsed = tf.io.parse_example(tf.constant(serialized, dtype=tf.string), spec)
    return {name: Column(ragged.flat_values.numpy(), ragged.row_splits.numpy()) for name, ragged in parsed.items()}


def _dtype(name: str) -> tf.DType:
    if name in features.SEARCH_INT_FEATURES:
        return tf.int64
    is_number = name in features.CATALOG_FLOAT_FEATURES or name.startswith(features.NUMERIC_PREFIX)
    return tf.float32 if is_number else tf.string
