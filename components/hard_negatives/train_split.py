"""Reads of the train split what mining must know: which items were taken for each query, which requests to mine for."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from evaluation.eval_set import normalize_query
from evaluation.example_columns import StrPath
from evaluation.metrics import IntArray
from schema import features

_READ_BATCH = 2048
_SPEC = {
    features.REQUEST_ID: tf.io.RaggedFeature(tf.string),
    features.QUERY: tf.io.RaggedFeature(tf.string),
    features.ITEMS: tf.io.RaggedFeature(tf.string),
    features.STAGES: tf.io.RaggedFeature(tf.int64),
}


@dataclass(frozen=True)
class Request:
    """One search example and what of it mining looks at.

    Attributes:
      example: the serialized tf.Example.
      query: normalized.
      items: all that came of it, clicked or only shown.
      taken: those of `items` that were clicked, carted or ordered.
    """

    example: bytes
    request_id: bytes
    query: str
    items: tuple[bytes, ...]
    taken: tuple[bytes, ...]


@dataclass(frozen=True)
class TrainSplit:
    """What the train split says as a whole.

    Attributes:
      query_ids: a number for each normalized query that an item was taken for.
      taken: ascending codes `query number * groups + item group`, one per query and item taken for it.
      groups: how many item groups there are.
      requests: how many requests took an item.
      last_priority: those of them with a priority up to this are mined for.
    """

    query_ids: Mapping[str, int]
    taken: IntArray
    groups: int
    requests: int
    last_priority: int

    def taken_for(self, query: str) -> IntArray:
        """Groups of the items that anybody clicked, carted or ordered for the normalized `query`."""
        number = self.query_ids.get(query)
        if number is None:
            return np.zeros(0, np.int64)
        first, last = np.searchsorted(self.taken, [number * self.groups, (number + 1) * self.groups])
        return self.taken[first:last] - number * self.groups


def read_requests(file: StrPath) -> Iterator[list[Request]]:
    """Batches of the search examples of one gzip TFRecord file, in its order."""
    dataset = tf.data.TFRecordDataset(os.fspath(file), compression_type="GZIP").batch(_READ_BATCH)
    for batch in dataset:
        parsed = {name: ragged.to_list() for name, ragged in tf.io.parse_example(batch, _SPEC).items()}
        yield [
            Request(
                example,
                request_id[0] if request_id else b"",
                normalize_query(query[0].decode("utf-8", errors="replace")) if query else "",
                tuple(items),
                tuple(item for item, stage in zip(items, stages, strict=True) if stage >= features.Stage.CLICKED),
            )
            for example, request_id, query, items, stages in zip(
                batch.numpy().tolist(), *(parsed[name] for name in _SPEC), strict=True
            )
        ]


def read_train_split(files: list[str], group_of: Mapping[bytes, int], max_requests: int, seed: int) -> TrainSplit:
    """Reads all requests once; keeps two numbers of each and the distinct queries.

    Args:
      files: of the train split.
      group_of: the group of each item of the catalog; other items are left out.
      max_requests: how many of the requests that took an item are to be mined for.
      seed: another seed picks other requests.
    """
    groups = max(group_of.values(), default=0) + 1
    query_ids: dict[str, int] = {}
    codes: list[NDArray[np.int64]] = []
    priorities: list[int] = []
    for file in files:
        for batch in read_requests(file):
            found = []
            for request in batch:
                if not request.taken:
                    continue
                priorities.append(priority(request.request_id, seed))
                number = query_ids.setdefault(request.query, len(query_ids))
                found += [number * groups + group_of[item] for item in request.taken if item in group_of]
            codes.append(np.unique(np.asarray(found, np.int64)))
    order = np.sort(np.asarray(priorities, np.int64))
    return TrainSplit(
        query_ids=query_ids,
        taken=np.unique(np.concatenate([np.zeros(0, np.int64), *codes])),
        groups=groups,
        requests=len(order),
        last_priority=int(order[min(max_requests, len(order)) - 1]) if len(order) else -1,
    )


def priority(request_id: bytes, seed: int) -> int:
    """An even draw by the request's id alone, in [0, 2^63), whatever file and place it stands in."""
    digest = hashlib.blake2b(request_id, digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "big") >> 1
