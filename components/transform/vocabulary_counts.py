"""How TFT counts the tokens of a vocabulary, with a few large elements in place of one for each occurrence of a token.

What it learns stays the same. Only the occurrences are counted within a batch, and the batches' counts are added up
partition by partition, so that Beam handles a token by itself once, when its count is known.
"""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

import apache_beam as beam
import numpy as np
from tensorflow_transform.analyzer_nodes import VocabularyAccumulate, VocabularyMerge
from tensorflow_transform.beam.common import register_ptransform

# Of the tokens of a vocabulary; one worker holds the counts of a partition.
_PARTITIONS: Final = 32


def register() -> None:
    """Makes the Beam jobs of TFT that this process builds from now on count like this.

    Vocabularies must be ordered by frequency, without weights, and the cache of analyses be off.
    """
    register_ptransform(VocabularyAccumulate)(_CountTokens)
    register_ptransform(VocabularyMerge)(_MergeCounts)


class _CountTokens(beam.PTransform):
    """Batches of tokens to (partition, {token: how often it is there})."""

    def __init__(self, operation: VocabularyAccumulate, extra_args: object):
        super().__init__()

    def expand(self, inputs: tuple[beam.PCollection]) -> beam.PCollection:
        (batches,) = inputs
        return batches | "CountPerBatch" >> beam.FlatMap(_counts_by_partition)


class _MergeCounts(beam.PTransform):
    """Counts of batches to (how often it is in all, token)."""

    def __init__(self, operation: VocabularyMerge, extra_args: object):
        super().__init__()

    def expand(self, inputs: tuple[beam.PCollection]) -> beam.PCollection:
        (counts,) = inputs
        return (
            counts
            | "MergePartition" >> beam.CombinePerKey(_SumOfCounts())
            | "CountAndToken" >> beam.FlatMap(lambda merged: [(count, token) for token, count in merged[1].items()])
        )


class _SumOfCounts(beam.CombineFn):
    """Adds up dictionaries of counts."""

    def create_accumulator(self) -> Counter[bytes]:
        return Counter()

    def add_input(self, mutable_accumulator: Counter[bytes], element: Counter[bytes]) -> Counter[bytes]:
        mutable_accumulator.update(element)
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[Counter[bytes]]) -> Counter[bytes]:
        first, *others = accumulators
        for other in others:
            first.update(other)
        return first

    def extract_output(self, accumulator: Counter[bytes]) -> Counter[bytes]:
        return accumulator


def _counts_by_partition(batch: tuple[np.ndarray]) -> Iterator[tuple[int, Counter[bytes]]]:
    partitions: dict[int, Counter[bytes]] = defaultdict(Counter)
    for token, count in Counter(batch[0].tolist()).items():
        # Python's own hash differs between processes.
        partitions[zlib.crc32(token) % _PARTITIONS][token] = count
    yield from partitions.items()
